#include "base/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace citadel {
namespace {

constexpr std::size_t secret_bytes_max = 64 << 10;

// Writes, syncs and renames; what is left in `beside` after an error is the caller's to remove.
Result<void> replace_by(const std::filesystem::path& beside, const std::filesystem::path& path,
                        std::string_view content, mode_t mode) {
  // Never through what another one has put there: the file is made anew.
  ::unlink(beside.c_str());
  const UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) return fail_errno(errno, fmt::format("create {}", beside.string()));
  // The umask may have taken from the mode.
  if (::fchmod(fd.get(), mode) != 0) return fail_errno(errno, fmt::format("chmod {}", beside.string()));
  CITADEL_TRY(write_all(fd.get(), content, beside));
  if (::fsync(fd.get()) != 0) return fail_errno(errno, fmt::format("fsync {}", beside.string()));
  if (::rename(beside.c_str(), path.c_str()) != 0)
    return fail_errno(errno, fmt::format("rename to {}", path.string()));
  return {};
}

// Everything that `fd` gives, up to the limit.
Result<std::string> read_all(int fd, const std::filesystem::path& path, std::size_t size_bytes_max) {
  std::string content;
  char buffer[16384];
  for (;;) {
    const auto got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, fmt::format("read {}", path.string()));
    if (got == 0) return content;
    content.append(buffer, static_cast<std::size_t>(got));
    if (content.size() > size_bytes_max) {
      return fail(Code::invalid_argument,
                  fmt::format("{} is larger than {} bytes", path.string(), size_bytes_max));
    }
  }
}

}  // namespace

void UniqueFd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t size_bytes_max) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, fmt::format("open {}", path.string()));
  return read_all(fd.get(), path, size_bytes_max);
}

Result<void> write_all(int fd, std::string_view content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const auto written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail_errno(written == 0 ? EIO : errno, fmt::format("write {}", path.string()));
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> write_file_durably(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  auto beside = path;
  beside += ".new";
  if (auto replaced = replace_by(beside, path, content, mode); !replaced) {
    ::unlink(beside.c_str());
    return replaced;
  }
  return sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, fmt::format("open {}", folder.string()));
  if (::fsync(fd.get()) != 0) return fail_errno(errno, fmt::format("fsync {}", folder.string()));
  return {};
}

Result<std::string> read_secret_file(const std::filesystem::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, fmt::format("secret file {}", path.string()));
  // Of the descriptor, so that the file that is read is the one that was checked.
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(errno, fmt::format("secret file {}", path.string()));
  // Before its mode is looked at: a folder that everybody reads needs no chmod.
  if (S_ISDIR(info.st_mode)) {
    return fail(Code::invalid_argument,
                fmt::format("secret file {} is a folder: name the file in it", path.string()));
  }
  if ((info.st_mode & S_IRWXO) != 0) {
    return fail(Code::permission_denied,
                fmt::format("secret file {} may be read by everybody; chmod 0600 it", path.string()));
  }
  CITADEL_ASSIGN(auto content, read_all(fd.get(), path, secret_bytes_max));
  content.resize(std::min(content.find_first_of("\r\n"), content.size()));
  if (content.empty())
    return fail(Code::invalid_argument, fmt::format("secret file {} is empty", path.string()));
  return content;
}

}  // namespace citadel
