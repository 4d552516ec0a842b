#include "resilience/circuit_breaker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace citadel::resilience {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct Transition {
  BreakerState from, to;
  friend bool operator==(const Transition&, const Transition&) = default;
};

class CircuitBreakerTest : public testing::Test {
 protected:
  CircuitBreaker& make(BreakerOptions options) {
    breaker_ = std::make_unique<CircuitBreaker>(options, clock_, random_);
    breaker_->on_transition([this](BreakerState from, BreakerState to, std::string_view reason) {
      transitions_.push_back({from, to});
      last_reason_ = reason;
    });
    return *breaker_;
  }

  static BreakerOptions by_count() {
    return {.window = WindowKind::count, .window_calls = 10, .calls_min = 4, .slow_call = 1s};
  }
  static BreakerOptions by_time() {
    return {.window = WindowKind::time, .window_time = 10s, .calls_min = 4, .slow_call = 1s};
  }

  void call(Outcome outcome, Monotonic::duration took = 1ms) {
    auto permit = breaker_->acquire();
    ASSERT_TRUE(permit) << permit.error().to_string();
    permit->record(outcome, took);
  }
  void succeed(int times) {
    for (int i = 0; i < times; ++i) call(Outcome::success);
  }
  void fail_times(int times) {
    for (int i = 0; i < times; ++i) call(Outcome::failure);
  }
  // From closed to half_open.
  void open_and_wait() {
    fail_times(static_cast<int>(breaker_->options().calls_min));
    ASSERT_EQ(breaker_->state(), BreakerState::open);
    clock_.advance(breaker_->status().retry_after);
  }

  ManualClock clock_;
  SeededRandom random_{1};
  std::unique_ptr<CircuitBreaker> breaker_;
  std::vector<Transition> transitions_;
  std::string last_reason_;
};

TEST_F(CircuitBreakerTest, StaysClosedBelowTheMinimumOfCalls) {
  auto& breaker = make(by_count());
  fail_times(3);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  fail_times(1);
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST_F(CircuitBreakerTest, OpensAtTheRateOfFailuresAndNotBelow) {
  auto& breaker = make(by_count());
  succeed(6);
  fail_times(4);
  EXPECT_EQ(breaker.state(), BreakerState::closed);  // 4 of 10
  EXPECT_DOUBLE_EQ(breaker.status().failure_rate, 0.4);
  fail_times(1);  // the ring drops the oldest, a success: 5 of 10
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST_F(CircuitBreakerTest, TheCountWindowForgetsOldCalls) {
  auto& breaker = make(by_count());
  succeed(6);
  fail_times(4);
  succeed(4);  // drops successes
  EXPECT_DOUBLE_EQ(breaker.status().failure_rate, 0.4);
  succeed(6);  // drops the rest of them and the failures
  EXPECT_DOUBLE_EQ(breaker.status().failure_rate, 0.0);
  EXPECT_EQ(breaker.status().calls, 10u);
}

TEST_F(CircuitBreakerTest, TheTimeWindowForgetsOldCalls) {
  auto& breaker = make(by_time());
  fail_times(3);
  clock_.advance(5s);
  succeed(2);
  EXPECT_DOUBLE_EQ(breaker.status().failure_rate, 0.6);
  clock_.advance(5s);
  EXPECT_EQ(breaker.status().calls, 2u);
  EXPECT_DOUBLE_EQ(breaker.status().failure_rate, 0.0);
  clock_.advance(6s);
  EXPECT_EQ(breaker.status().calls, 0u);
  fail_times(3);  // the three before no longer help them to open it
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(CircuitBreakerTest, TheTimeWindowOpens) {
  auto& breaker = make(by_time());
  succeed(2);
  clock_.advance(3s);
  fail_times(2);
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST_F(CircuitBreakerTest, SlowCallsOpenItThoughTheySucceed) {
  auto& breaker = make(by_count());
  for (int i = 0; i < 3; ++i) call(Outcome::success, 1s);
  call(Outcome::success, 999ms);
  EXPECT_EQ(breaker.state(), BreakerState::closed);  // 3 of 4
  call(Outcome::success, 2s);                        // 4 of 5
  EXPECT_EQ(breaker.state(), BreakerState::open);
  EXPECT_THAT(breaker.status().reason, HasSubstr("slow call rate 0.80"));
  EXPECT_EQ(breaker.status().slow_total, 4u);
}

// A database that hangs: few calls end, and a window full of successes would hide them.
TEST_F(CircuitBreakerTest, CallsThatAllFailForLongOpenItBeforeTheRateDoes) {
  auto& breaker = make({.calls_min = 20});
  succeed(1000);
  fail_times(5);
  clock_.advance(999ms);
  fail_times(5);  // enough, but not for long
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  clock_.advance(1ms);
  fail_times(1);
  EXPECT_EQ(breaker.state(), BreakerState::open);
  EXPECT_THAT(breaker.status().reason, HasSubstr("the last 11 failed"));
}

TEST_F(CircuitBreakerTest, ASuccessBetweenBeginsTheRowAnew) {
  auto& breaker = make({.calls_min = 20});
  succeed(1000);
  for (int i = 0; i < 20; ++i) {
    fail_times(9);
    clock_.advance(200ms);
    succeed(1);
  }
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  fail_times(9);
  clock_.advance(2s);
  EXPECT_EQ(breaker.state(), BreakerState::closed);  // for long, but not enough
}

// All sessions dropped in one moment, and the server is back: no reason to stay away.
TEST_F(CircuitBreakerTest, AMomentOfFailuresDoesNotOpenABusyOne) {
  auto& breaker = make({.calls_min = 20});
  succeed(1000);
  fail_times(100);
  clock_.advance(100ms);
  succeed(1);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(CircuitBreakerTest, WhatSaysNothingOfTheDatabaseCountsForNothing) {
  auto& breaker = make(by_count());
  for (int i = 0; i < 100; ++i) call(Outcome::ignored, 10s);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.status().calls, 0u);
  EXPECT_EQ(breaker.status().ignored_total, 100u);
}

TEST_F(CircuitBreakerTest, OpenRefusesAndSaysWhyAndForHowLong) {
  auto& breaker = make(by_count());
  for (int i = 0; i < 4; ++i) breaker.acquire()->failed(Error(Code::connection_lost, "end of file"), 1ms);
  const auto refused = breaker.acquire();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::unavailable);
  EXPECT_EQ(refused.error().retry, Retry::safe);
  EXPECT_THAT(refused.error().message, HasSubstr("failure rate 1.00"));
  EXPECT_THAT(refused.error().message, HasSubstr("connection_lost: end of file"));
  EXPECT_THAT(refused.error().message, HasSubstr(" ms"));
  EXPECT_FALSE(breaker.would_permit());
  EXPECT_EQ(breaker.status().refused_total, 1u);
  EXPECT_GE(breaker.status().retry_after, 400ms);
  EXPECT_LE(breaker.status().retry_after, 500ms);
}

TEST_F(CircuitBreakerTest, HalfOpenLendsNoMoreThanItsPermits) {
  auto& breaker = make(by_count());
  open_and_wait();
  EXPECT_TRUE(breaker.would_permit());
  std::vector<CircuitBreaker::Permit> permits;
  for (std::size_t i = 0; i < breaker.options().half_open_permits; ++i) permits.push_back(*breaker.acquire());
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  EXPECT_FALSE(breaker.would_permit());
  EXPECT_FALSE(breaker.acquire());
  permits.pop_back();  // dropped without an outcome: the place is free again
  EXPECT_TRUE(breaker.would_permit());
  EXPECT_TRUE(breaker.acquire());
}

TEST_F(CircuitBreakerTest, GoodTrialCallsCloseIt) {
  auto& breaker = make(by_count());
  open_and_wait();
  succeed(5);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.status().calls, 0u);
  EXPECT_EQ(transitions_, (std::vector<Transition>{{BreakerState::closed, BreakerState::open},
                                                   {BreakerState::open, BreakerState::half_open},
                                                   {BreakerState::half_open, BreakerState::closed}}));
  EXPECT_EQ(breaker.status().entered_total[static_cast<int>(BreakerState::half_open)], 1u);
}

TEST_F(CircuitBreakerTest, IgnoredTrialCallsDecideNothing) {
  auto& breaker = make(by_count());
  open_and_wait();
  for (int i = 0; i < 50; ++i) call(Outcome::ignored);
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  succeed(5);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(CircuitBreakerTest, EnoughBadTrialCallsOpenItAgainBeforeAllHaveAnswered) {
  auto& breaker = make(by_count());
  open_and_wait();
  fail_times(2);  // 2 of 5
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  fail_times(1);
  EXPECT_EQ(breaker.state(), BreakerState::open);
  EXPECT_THAT(breaker.status().reason, HasSubstr("3 of 3 trial calls failed"));
}

TEST_F(CircuitBreakerTest, SlowTrialCallsOpenItAgain) {
  auto& breaker = make(by_count());
  open_and_wait();
  for (int i = 0; i < 4; ++i) call(Outcome::success, 5s);
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST_F(CircuitBreakerTest, EachOpeningInARowLastsLongerUpToTheCeiling) {
  auto options = by_count();
  options.open_initial = 1s;
  options.open_ceiling = 5s;
  auto& breaker = make(options);
  fail_times(4);
  for (const auto longest : {1000ms, 2000ms, 4000ms, 5000ms, 5000ms}) {
    const auto open_for = breaker.status().retry_after;
    EXPECT_LE(open_for, longest);
    EXPECT_GE(open_for, longest * 8 / 10);
    clock_.advance(open_for);
    fail_times(3);
    ASSERT_EQ(breaker.state(), BreakerState::open);
  }
  // It closes, but opens again at once: still in a row.
  clock_.advance(breaker.status().retry_after);
  succeed(5);
  clock_.advance(1s);
  fail_times(4);
  EXPECT_GE(breaker.status().retry_after, 4s);
  // It closes, and holds: the next opening is a first one.
  clock_.advance(breaker.status().retry_after);
  succeed(5);
  clock_.advance(6s);
  fail_times(4);
  EXPECT_LE(breaker.status().retry_after, 1s);
}

TEST_F(CircuitBreakerTest, APermitFromAnEarlierStateDecidesNothing) {
  auto& breaker = make(by_count());
  std::vector<CircuitBreaker::Permit> late;
  for (int i = 0; i < 8; ++i) late.push_back(*breaker.acquire());
  open_and_wait();
  auto trial = *breaker.acquire();
  ASSERT_EQ(breaker.state(), BreakerState::half_open);
  for (auto& permit : late) permit.record(Outcome::failure, 1ms);
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  EXPECT_EQ(breaker.status().failure_total, 12u);  // they are counted, all the same
  trial.succeeded(1ms);
  succeed(4);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(CircuitBreakerTest, APermitIsReturnedOnceHoweverItMoves) {
  auto& breaker = make(by_count());
  {
    auto one = *breaker.acquire();
    auto two = std::move(one);
    one.record(Outcome::failure, 1ms);  // NOLINT: what was moved from does nothing
    EXPECT_EQ(breaker.status().permits_out, 1u);
    auto three = *breaker.acquire();
    three = std::move(two);
    EXPECT_EQ(breaker.status().permits_out, 1u);
    three.succeeded(1ms);
    three.succeeded(1ms);
    EXPECT_EQ(breaker.status().permits_out, 0u);
  }
  EXPECT_EQ(breaker.status().permits_out, 0u);
  EXPECT_EQ(breaker.status().success_total, 1u);
  EXPECT_EQ(breaker.status().failure_total, 0u);
  EXPECT_EQ(breaker.status().ignored_total, 1u);
}

TEST_F(CircuitBreakerTest, ForcedOpenRefusesAll) {
  auto& breaker = make(by_count());
  breaker.force(BreakerState::forced_open, "maintenance");
  const auto refused = breaker.acquire();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().retry, Retry::never);
  EXPECT_THAT(refused.error().message, HasSubstr("forced_open: maintenance"));
  clock_.advance(24h);
  EXPECT_FALSE(breaker.would_permit());
  breaker.force(BreakerState::closed, "maintenance is over");
  EXPECT_TRUE(breaker.acquire());
}

TEST_F(CircuitBreakerTest, ForcedClosedLendsAllAndCountsNothing) {
  auto& breaker = make(by_count());
  breaker.force(BreakerState::forced_closed, "off");
  fail_times(100);
  EXPECT_EQ(breaker.state(), BreakerState::forced_closed);
  EXPECT_EQ(breaker.status().calls, 0u);
}

TEST_F(CircuitBreakerTest, ObserveOnlyLendsAllAndCountsWhatItWouldHaveDone) {
  auto& breaker = make(by_count());
  breaker.force(BreakerState::observe_only, "trial run");
  fail_times(8);
  EXPECT_EQ(breaker.state(), BreakerState::observe_only);
  EXPECT_EQ(breaker.status().would_open_total, 2u);
  EXPECT_THAT(breaker.status().reason, HasSubstr("would have opened"));
}

TEST_F(CircuitBreakerTest, AListenerMayForceIt) {
  auto& breaker = make(by_count());
  breaker.on_transition([&](BreakerState, BreakerState to, std::string_view) {
    if (to == BreakerState::open) breaker.force(BreakerState::forced_closed, "by the listener");
  });
  fail_times(4);
  EXPECT_EQ(breaker.state(), BreakerState::forced_closed);
}

TEST_F(CircuitBreakerTest, EachStateHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < breaker_state_count; ++i) names.insert(to_string(static_cast<BreakerState>(i)));
  EXPECT_EQ(names.size(), breaker_state_count);
}

using CircuitBreakerDeathTest = CircuitBreakerTest;

TEST_F(CircuitBreakerDeathTest, RefusesOptionsThatNeverDecide) {
  EXPECT_DEATH(make({.calls_min = 0}), "at least one call");
  EXPECT_DEATH(make({.window = WindowKind::count, .window_calls = 10, .calls_min = 11}), "never fits");
  EXPECT_DEATH(make({.window_time = 0ms}), "positive time");
  EXPECT_DEATH(make({.open_initial = 2s, .open_ceiling = 1s}), "does not shrink");
}

TEST_F(CircuitBreakerDeathTest, OutlivesItsPermits) {
  EXPECT_DEATH(
      {
        auto breaker = std::make_unique<CircuitBreaker>(by_count(), clock_, random_);
        auto permit = *breaker->acquire();
        breaker.reset();
      },
      "destroyed before its permits");
}

TEST_F(CircuitBreakerDeathTest, OpenCannotBeForcedAsIfItWereItsOwnDecision) {
  make(by_count());
  EXPECT_DEATH(breaker_->force(BreakerState::half_open, ""), "own decisions");
}

Error with_sqlstate(Code code, const char* sqlstate) {
  Error error(code, "text");
  std::memcpy(error.sqlstate, sqlstate, 6);
  return error;
}

TEST(Classify, ADatabaseThatCannotBeReachedIsAFailure) {
  for (const auto code : {Code::unavailable, Code::connection_lost, Code::commit_unknown, Code::io_error,
                          Code::corrupt, Code::unauthenticated}) {
    EXPECT_EQ(classify(Error(code, ""), 1ms, {}), Outcome::failure) << to_string(code);
    EXPECT_EQ(classify(with_sqlstate(code, "57P01"), 1ms, {}), Outcome::failure) << to_string(code);
  }
}

TEST(Classify, AnAnswerIsAnAnswerThoughItSaysNo) {
  EXPECT_EQ(classify(with_sqlstate(Code::conflict, "23505"), 1ms, {}), Outcome::success);
  EXPECT_EQ(classify(with_sqlstate(Code::constraint, "23503"), 1ms, {}), Outcome::success);
  EXPECT_EQ(classify(with_sqlstate(Code::deadlock, "40P01"), 1ms, {}), Outcome::success);
  EXPECT_EQ(classify(with_sqlstate(Code::serialization_failure, "40001"), 1ms, {}), Outcome::success);
  EXPECT_EQ(classify(with_sqlstate(Code::permission_denied, "42501"), 1ms, {}), Outcome::success);
  EXPECT_EQ(classify(with_sqlstate(Code::storage_full, "53100"), 1ms, {}), Outcome::success);
  EXPECT_EQ(classify(with_sqlstate(Code::statement_timeout, "57014"), 1h, {}), Outcome::success);
}

TEST(Classify, WhatIsLocalIsIgnored) {
  for (const auto code : {Code::overloaded, Code::cancelled, Code::invalid_argument, Code::not_found,
                          Code::conflict, Code::unsupported, Code::internal, Code::storage_full}) {
    EXPECT_EQ(classify(Error(code, ""), 1h, {}), Outcome::ignored) << to_string(code);
  }
  EXPECT_EQ(classify(with_sqlstate(Code::overloaded, "53300"), 1h, {}), Outcome::ignored);
}

TEST(Classify, ADeadlineIsTheDatabasesFaultOnlyWhereItHadTime) {
  const BreakerOptions options{.answer_within = 2s};
  EXPECT_EQ(classify(Error(Code::deadline_exceeded, ""), 1999ms, options), Outcome::ignored);
  EXPECT_EQ(classify(Error(Code::deadline_exceeded, ""), 2s, options), Outcome::failure);
}

}  // namespace
}  // namespace citadel::resilience
