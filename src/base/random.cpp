#include "base/random.hpp"

#include <sys/random.h>

#include <cerrno>

#include "base/check.hpp"

namespace citadel {

void fill_secret_random(std::span<unsigned char> out) {
  while (!out.empty()) {
    const auto got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    CITADEL_CHECK(got > 0, "the kernel gives no random bytes");
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  fill_secret_random({reinterpret_cast<unsigned char*>(&seed), sizeof seed});
  return seed;
}

}  // namespace citadel
