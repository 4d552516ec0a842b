#include "base/crash_point.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace citadel {
namespace detail {

constinit std::atomic<bool> crash_point_armed{false};

namespace {

constinit std::atomic<std::size_t> armed_point{0};
constinit std::atomic<std::uint64_t> passings_left{0};

[[noreturn]] void refuse(const char* text) {
  std::fprintf(
      stderr, "CITADEL_CRASH_POINT=%s is not NAME or NAME:COUNT with a name of base/crash_point.hpp\n", text);
  std::_Exit(2);
}

void arm(const char* text) {
  std::string_view name(text);
  std::uint64_t passings = 1;
  if (const auto colon = name.find(':'); colon != name.npos) {
    const auto count = name.substr(colon + 1);
    const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), passings);
    if (error != std::errc() || end != count.data() + count.size() || passings == 0) refuse(text);
    name = name.substr(0, colon);
  }
  const auto found = std::ranges::find(crash_point_names, name);
  if (found == crash_point_names.end()) refuse(text);
  armed_point = static_cast<std::size_t>(found - crash_point_names.begin());
  passings_left = passings;
  crash_point_armed = true;
}

// Runs before main; this file is linked wherever a crash point is.
[[maybe_unused]] const bool read_environment = [] {
  if (const char* text = std::getenv("CITADEL_CRASH_POINT"); text != nullptr && *text != '\0') arm(text);
  return true;
}();

}  // namespace

bool pass_crash_point(CrashPoint point) {
  return static_cast<std::size_t>(point) == armed_point && passings_left.fetch_sub(1) == 1;
}

}  // namespace detail

void crash_now() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

}  // namespace citadel
