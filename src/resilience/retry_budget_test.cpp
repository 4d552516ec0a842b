#include "resilience/retry_budget.hpp"

#include <gtest/gtest.h>

#include "base/random.hpp"

namespace citadel::resilience {
namespace {

using namespace std::chrono_literals;

TEST(RetryBudget, TenRequestsPayForOneRetry) {
  ManualClock clock;
  RetryBudget budget({.ratio = 0.1, .per_second = 0, .burst = 1}, clock);
  EXPECT_TRUE(budget.try_retry());  // what it began with
  for (int i = 0; i < 9; ++i) {
    budget.on_request();
    EXPECT_FALSE(budget.try_retry()) << i;
  }
  budget.on_request();
  EXPECT_TRUE(budget.try_retry());
  EXPECT_FALSE(budget.try_retry());
  EXPECT_EQ(budget.requests_total(), 10u);
  EXPECT_EQ(budget.retries_total(), 2u);
  EXPECT_EQ(budget.refused_total(), 10u);
}

TEST(RetryBudget, TimePaysForTheIdle) {
  ManualClock clock;
  RetryBudget budget({.ratio = 0.1, .per_second = 2, .burst = 3}, clock);
  while (budget.try_retry()) {
  }
  clock.advance(400ms);
  EXPECT_FALSE(budget.try_retry());
  clock.advance(100ms);
  EXPECT_TRUE(budget.try_retry());
  EXPECT_FALSE(budget.try_retry());
}

TEST(RetryBudget, HoldsNoMoreThanItsBurst) {
  ManualClock clock;
  RetryBudget budget({.ratio = 0.1, .per_second = 1, .burst = 5}, clock);
  for (int i = 0; i < 10'000; ++i) budget.on_request();
  clock.advance(1h);
  EXPECT_DOUBLE_EQ(budget.tokens(), 5.0);
  int retries = 0;
  while (budget.try_retry()) ++retries;
  EXPECT_EQ(retries, 5);
}

TEST(RetryBudget, RetriesStayWithinTheBoundUnderAnyLoad) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SeededRandom random(seed);
    ManualClock clock;
    const RetryBudgetOptions options{.ratio = 0.1, .per_second = 1, .burst = 10};
    RetryBudget budget(options, clock);
    const auto begin = clock.monotonic();
    for (int i = 0; i < 20'000; ++i) {
      clock.advance(std::chrono::microseconds(random.below(2000)));
      if (random.below(3) == 0) budget.on_request();
      if (random.below(2) == 0) (void)budget.try_retry();
      const double seconds = std::chrono::duration<double>(clock.monotonic() - begin).count();
      ASSERT_LE(static_cast<double>(budget.retries_total()),
                options.ratio * static_cast<double>(budget.requests_total()) + options.per_second * seconds +
                    options.burst + 1e-6)
          << "seed " << seed;
    }
    EXPECT_GT(budget.retries_total(), 500u);
  }
}

TEST(RetryBudgetDeathTest, RefusesToHoldLessThanOneRetry) {
  ManualClock clock;
  EXPECT_DEATH(RetryBudget({.burst = 0.5}, clock), "at least one retry");
  EXPECT_DEATH(RetryBudget({.ratio = -1}, clock), "not negative");
}

}  // namespace
}  // namespace citadel::resilience
