// A seeded random walk over PoolCore, beside books of its own. Replay: CITADEL_SEED=n.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "pg/pool_core_testing.hpp"

namespace citadel::pg {
namespace {

// Of 150 walks, the address sanitizer, under which one takes a third of a second, goes the first 30.
#if __has_feature(address_sanitizer)
constexpr std::uint64_t walks = 30;
#else
constexpr std::uint64_t walks = 150;
#endif
constexpr int events_in_a_walk = 4000;

// Plays driver, server and callers at random, and keeps its own books.
class Walk {
 public:
  explicit Walk(std::uint64_t seed) : random_(seed), limits_(choose_limits()), core_(limits_, seed, now_) {}

  void run(int events) {
    if (random_.below(2) == 0) core_.start(now_);
    for (int i = 0; i < events; ++i) {
      step();
      carry_out();
      check();
      if (testing::Test::HasFailure()) return;
    }
    finish();
  }

 private:
  PoolLimits choose_limits() {
    PoolLimits limits;
    limits.size_max = 1 + random_.below(12);
    limits.size_min = random_.below(limits.size_max + 1);
    limits.queue_max = random_.below(20);
    limits.opening_max = 1 + random_.below(4);
    limits.lifetime = std::chrono::milliseconds(50 + random_.below(2000));
    limits.idle_timeout = std::chrono::milliseconds(20 + random_.below(1000));
    limits.validate_after = std::chrono::milliseconds(5 + random_.below(200));
    limits.leak_after = std::chrono::milliseconds(20 + random_.below(200));
    limits.patience = std::chrono::milliseconds(random_.below(50));
    limits.adaptive = random_.below(2) == 0;
    return limits;
  }

  template <class Set>
  auto any_of(Set& set) {
    auto chosen = set.begin();
    std::advance(chosen, static_cast<long>(random_.below(set.size())));
    return chosen;
  }

  void step() {
    now_ += std::chrono::microseconds(random_.below(3000));
    const auto dice = random_.below(100);
    if (dice < 35) return ask();
    if (dice < 60) return come_back();
    if (dice < 80) return end_work();
    if (dice < 88) return leave();
    if (dice < 97) {
      core_.tick(now_);
      EXPECT_GT(core_.next_wake(), now_) << "the driver would spin";
      return;
    }
    if (dice == 97 && random_.below(2) == 0) return core_.flush(now_);
    if (dice == 98 && random_.below(4) == 0) return core_.pause();
    core_.resume(now_);
  }

  void ask() {
    const bool could_wait = queue_.size() < limits_.queue_max;
    const auto asked = core_.acquire(now_, {});
    if (asked.kind == Kind::granted) {
      EXPECT_TRUE(queue_.empty()) << "a waiter was overtaken";
      EXPECT_FALSE(core_.paused());
      lent(asked.slot);
    } else if (asked.kind == Kind::queued) {
      queue_.push_back(asked.waiter);
    } else {
      EXPECT_FALSE(could_wait);
    }
  }

  void come_back() {
    if (lent_.empty()) return;
    const auto slot = any_of(lent_);
    const auto dice = random_.below(40);
    const auto generation = core_.generation();
    core_.release(*slot,
                  dice < 24   ? Return::idle
                  : dice < 28 ? Return::unused
                  : dice < 36 ? Return::unsettled
                  : dice < 39 ? Return::broken
                              : Return::demoted,
                  now_);
    if (core_.generation() != generation) EXPECT_EQ(core_.count(State::idle), 0u) << "flushed, and yet";
    lent_.erase(slot);
  }

  void end_work() {
    if (working_.empty()) return;
    const auto work = any_of(working_);
    const auto [slot, what] = *work;
    working_.erase(work);
    const bool good = random_.below(4) != 0;
    if (what == Do::validate) return core_.validated(slot, good, now_);
    if (what == Do::recover) return core_.recovered(slot, good, now_);
    if (!good) return core_.open_failed(slot, Error(Code::unavailable, "connection refused"), now_);
    EXPECT_TRUE(sessions_.insert(slot).second);
    core_.opened(slot, now_);
  }

  void leave() {
    if (queue_.empty()) return;
    const auto waiter = any_of(queue_);
    if (random_.below(2) == 0) {
      core_.cancel(*waiter);
    } else {
      (void)core_.expire(*waiter);
    }
    queue_.erase(waiter);
  }

  void lent(Slot slot) {
    EXPECT_TRUE(sessions_.contains(slot)) << "lent what is not open";
    EXPECT_TRUE(lent_.insert(slot).second) << "lent twice";
    EXPECT_FALSE(working_.contains(slot)) << "lent while something is done with it";
  }

  void carry_out() {
    while (const auto action = core_.next_action()) {
      switch (action->what) {
        case Do::hand:
          ASSERT_FALSE(queue_.empty());
          ASSERT_EQ(queue_.front(), action->waiter) << "not first come first served";
          queue_.pop_front();
          lent(action->slot);
          break;
        case Do::refuse:
          ASSERT_FALSE(queue_.empty());
          EXPECT_EQ(queue_.front(), action->waiter);
          queue_.pop_front();
          break;
        case Do::close:
          EXPECT_EQ(sessions_.erase(action->slot), 1u) << "closed what is not open";
          EXPECT_FALSE(lent_.contains(action->slot)) << "closed what is lent";
          break;
        case Do::report_leak:
          EXPECT_TRUE(lent_.contains(action->slot));
          break;
        case Do::open:
          EXPECT_FALSE(sessions_.contains(action->slot));
          [[fallthrough]];
        case Do::validate:
        case Do::recover:
          EXPECT_TRUE(working_.emplace(action->slot, action->what).second);
          break;
      }
    }
  }

  void check() {
    core_.check_books();
    EXPECT_LE(limits_.size_max - core_.count(State::free), limits_.size_max);
    EXPECT_LE(core_.count(State::opening), limits_.opening_max);
    EXPECT_EQ(core_.waiting(), queue_.size());
    EXPECT_EQ(core_.count(State::lent), lent_.size());
    EXPECT_EQ(core_.count(State::opening) + core_.count(State::validating) + core_.count(State::recovering),
              working_.size());
    EXPECT_EQ(core_.count(State::idle) + lent_.size() + core_.count(State::validating) +
                  core_.count(State::recovering),
              sessions_.size());
    const auto& totals = core_.totals();
    EXPECT_EQ(totals.opened - totals.closed, sessions_.size());
    EXPECT_TRUE(queue_.empty() || core_.paused() || core_.next_wake() < MonotonicTime::max() ||
                !working_.empty())
        << "waiters wait for nothing";
  }

  void finish() {
    // Nobody is forgotten: left alone, with a server that works, the pool serves everybody who waits.
    core_.resume(now_);
    for (int i = 0; i < 2000 && !queue_.empty(); ++i) {
      carry_out();
      while (!working_.empty()) {
        const auto [slot, what] = *working_.begin();
        working_.erase(working_.begin());
        if (what == Do::open) sessions_.insert(slot), core_.opened(slot, now_);
        if (what == Do::validate) core_.validated(slot, true, now_);
        if (what == Do::recover) core_.recovered(slot, true, now_);
      }
      carry_out();
      for (const Slot slot : std::exchange(lent_, {})) core_.release(slot, Return::idle, now_);
      now_ += 5ms;
      core_.tick(now_);
    }
    EXPECT_TRUE(queue_.empty()) << "a waiter was lost";
    for (int i = 0; i < 5; ++i) {
      ask();
      carry_out();
    }
    core_.close();
    carry_out();
    EXPECT_TRUE(queue_.empty());
    for (const Slot slot : std::exchange(lent_, {})) core_.release(slot, Return::idle, now_);
    while (!working_.empty()) end_work();
    carry_out();
    EXPECT_TRUE(core_.ended());
    EXPECT_TRUE(sessions_.empty()) << "something is left after close";
  }

  SeededRandom random_;
  MonotonicTime now_{1h};
  PoolLimits limits_;
  PoolCore core_;
  std::deque<Waiter> queue_;
  std::set<Slot> lent_, sessions_;
  std::map<Slot, Do> working_;
};

TEST(PoolCore, RandomWalkKeepsItsPromises) {
  const char* given = std::getenv("CITADEL_SEED");
  const std::uint64_t base = given ? std::stoull(given) : random_seed();
  for (std::uint64_t i = 0; i < (given ? 1 : walks); ++i) {
    SCOPED_TRACE(fmt::format("replay with CITADEL_SEED={}", base + i));
    Walk(base + i).run(events_in_a_walk);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace citadel::pg
