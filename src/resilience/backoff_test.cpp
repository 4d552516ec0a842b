#include "resilience/backoff.hpp"

#include <gtest/gtest.h>

namespace citadel::resilience {
namespace {

using namespace std::chrono_literals;

// Always gives the same share of the range.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(std::uint64_t value) : value_(value) {}
  std::uint64_t next() override { return value_; }

 private:
  std::uint64_t value_;
};

TEST(Backoff, TheBoundDoublesUpToTheCeiling) {
  SeededRandom random(1);
  Backoff backoff({.initial = 50ms, .ceiling = 300ms, .multiplier = 2.0}, random);
  std::vector<Monotonic::duration> bounds;
  for (int i = 0; i < 5; ++i) {
    bounds.push_back(backoff.bound());
    EXPECT_LT(backoff.next(), bounds.back());
  }
  EXPECT_EQ(bounds, (std::vector<Monotonic::duration>{50ms, 100ms, 200ms, 300ms, 300ms}));
  EXPECT_EQ(backoff.attempts(), 5);
}

TEST(Backoff, JitterIsFullAndEven) {
  SeededRandom random(7);
  double sum = 0;
  Monotonic::duration least = 1h, most = 0s;
  for (int i = 0; i < 10'000; ++i) {
    Backoff backoff({.initial = 100ms, .ceiling = 100ms}, random);
    const auto wait = backoff.next();
    least = std::min(least, wait);
    most = std::max(most, wait);
    sum += std::chrono::duration<double, std::milli>(wait).count();
  }
  EXPECT_LT(least, 1ms);
  EXPECT_GT(most, 99ms);
  EXPECT_NEAR(sum / 10'000, 50.0, 1.5);
}

TEST(Backoff, TheSameSeedGivesTheSameWaits) {
  SeededRandom one(42), two(42), three(43);
  Backoff a({}, one), b({}, two), c({}, three);
  bool differs = false;
  for (int i = 0; i < 20; ++i) {
    const auto wait = a.next();
    EXPECT_EQ(wait, b.next());
    differs = differs || wait != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Backoff, BeginsAnewAfterReset) {
  SeededRandom random(1);
  Backoff backoff({.initial = 10ms, .ceiling = 1s}, random);
  for (int i = 0; i < 6; ++i) (void)backoff.next();
  backoff.reset();
  EXPECT_EQ(backoff.bound(), 10ms);
  EXPECT_EQ(backoff.attempts(), 0);
}

TEST(Backoff, ALargeMultiplierMeetsTheCeilingAndDoesNotOverflow) {
  FixedRandom random(~0ull);
  Backoff backoff({.initial = 1ms, .ceiling = 24h, .multiplier = 1e300}, random);
  EXPECT_LT(backoff.next(), 1ms);
  EXPECT_EQ(backoff.bound(), 24h);
  EXPECT_LT(backoff.next(), 24h);
  EXPECT_EQ(backoff.bound(), 24h);
}

TEST(BackoffDeathTest, RefusesOptionsThatShrink) {
  SeededRandom random(1);
  EXPECT_DEATH(Backoff({.initial = 0ms}, random), "does not shrink");
  EXPECT_DEATH(Backoff({.initial = 2s, .ceiling = 1s}, random), "does not shrink");
  EXPECT_DEATH(Backoff({.initial = 1s, .ceiling = 2s, .multiplier = 0.5}, random), "does not shrink");
}

}  // namespace
}  // namespace citadel::resilience
