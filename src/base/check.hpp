// CITADEL_CHECK: for bugs, never for input or the environment. It is on in every build. When the condition is
// false it prints the place and the message and aborts, because going on would risk acknowledged data.
#pragma once

namespace citadel {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* message);
}

#define CITADEL_CHECK(condition, message)                                    \
  do {                                                                       \
    if (!(condition)) [[unlikely]]                                           \
      ::citadel::check_failed(#condition, __FILE_NAME__, __LINE__, message); \
  } while (false)
