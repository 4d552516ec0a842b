// Random: where chance comes from: injected, so that a run repeats from its seed. For jitter and sampling,
// never for secrets: those come from fill_secret_random. Not thread-safe.
#pragma once
#include <cstdint>
#include <span>

namespace citadel {

class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;
  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  // Uniform in [0, bound); 0 where bound is 0.
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
};

// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and the same on every machine for the same seed.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

// Bytes from the kernel's generator (getrandom); aborts if there are none. Thread-safe.
void fill_secret_random(std::span<unsigned char> out);
// A seed from the kernel's generator.
std::uint64_t random_seed();

}  // namespace citadel
