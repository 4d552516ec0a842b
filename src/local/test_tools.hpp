// For this room's unit tests, which cannot use tests/support: that is built on this room.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "base/check.hpp"
#include "base/deadline.hpp"
#include "local/account.hpp"

namespace citadel::local {

inline constexpr std::chrono::seconds patience{20};

class Folder {
 public:
  Folder() { CITADEL_CHECK(::mkdtemp(path_.data()) != nullptr, "no temporary folder"); }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(std::string_view name) const { return std::filesystem::path(path_) / name; }
  std::filesystem::path path() const { return path_; }

 private:
  std::string path_ = "/tmp/citadel-local-XXXXXX";
};

// Asks again until it is so: for what other processes do in their own time.
inline bool eventually(const std::function<bool()>& condition) {
  for (const auto deadline = Deadline::after(patience); !deadline.expired();) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // sleep: polls, until a deadline
  }
  return condition();
}

// This process's own user.
inline Account self() {
  return {.name = "self", .uid = ::geteuid(), .gid = ::getegid(), .groups = {}, .drop = false};
}

}  // namespace citadel::local
