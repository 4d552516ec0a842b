#include "resilience/adaptive_limiter.hpp"

#include <gtest/gtest.h>

#include "base/random.hpp"

namespace citadel::resilience {
namespace {

using namespace std::chrono_literals;

TEST(AdaptiveLimiter, StaysWithinItsBounds) {
  AdaptiveLimiter limiter({.min = 3, .max = 7, .initial = 5}, MonotonicTime(1h));
  SeededRandom random(1);
  auto now = MonotonicTime(1h);
  for (int i = 0; i < 200'000; ++i) {
    now += std::chrono::microseconds(random.below(500));
    limiter.on_finish(now, std::chrono::microseconds(random.below(5000)), random.below(7),
                      random.below(2) == 0);
    ASSERT_GE(limiter.limit(), 3u);
    ASSERT_LE(limiter.limit(), 7u);
  }
}

TEST(AdaptiveLimiter, ALimitThatCannotMoveStays) {
  AdaptiveLimiter limiter({.min = 4, .max = 4, .initial = 4}, MonotonicTime(1h));
  auto now = MonotonicTime(1h);
  for (int i = 0; i < 10'000; ++i) {
    now += 1ms;
    limiter.on_finish(now, 3ms, 3, true);
    ASSERT_EQ(limiter.limit(), 4u);
  }
}

TEST(AdaptiveLimiterDeathTest, RefusesBoundsThatContradict) {
  EXPECT_DEATH(AdaptiveLimiter({.min = 5, .max = 4, .initial = 5}, MonotonicTime(1h)),
               "min <= initial <= max");
  EXPECT_DEATH(AdaptiveLimiter({.min = 0, .max = 4, .initial = 1}, MonotonicTime(1h)),
               "min <= initial <= max");
}

}  // namespace
}  // namespace citadel::resilience
