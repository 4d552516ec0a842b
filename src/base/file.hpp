// File descriptors that close themselves, and the few whole-file operations that must be durable or private.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace citadel {

// Owns one file descriptor; -1 is none. Not thread-safe.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// The whole content; refuses more than `size_bytes_max` bytes with invalid_argument.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t size_bytes_max);

// All of `content`, however many calls that takes. `path` is for the error's text.
Result<void> write_all(int fd, std::string_view content, const std::filesystem::path& path);

// Replaces the file at once and durably: written as `path`.new with `mode`, fsynced, renamed, and the folder
// fsynced. After a crash the file has the old content or the new, never a part. After an error `path`.new is
// gone; whether `path` is the new one is unknown only where the folder's fsync failed. One writer a path at a
// time.
Result<void> write_file_durably(const std::filesystem::path& path, std::string_view content, mode_t mode);

// Makes the names in a folder durable. An error is final: the caller cannot assume that a retry helped.
Result<void> sync_folder(const std::filesystem::path& folder);

// A secret from a file: its first line, without the line's end. Refuses a file that is empty, over 64 KiB, or
// readable by others than its owner and group.
Result<std::string> read_secret_file(const std::filesystem::path& path);

}  // namespace citadel
