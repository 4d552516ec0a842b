#include "base/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace citadel {

void check_failed(const char* condition, const char* file, int line, const char* message) {
  std::fprintf(stderr, "CHECK failed: %s at %s:%d: %s\n", condition, file, line, message);
  std::abort();
}

}  // namespace citadel
