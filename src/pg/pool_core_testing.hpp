// What the tests of PoolCore share: a core with a clock of its own, and limits that leave everything out.
#pragma once
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pg/pool_core.hpp"

namespace citadel::pg {

using namespace std::chrono_literals;
using Do = PoolCore::Do;
using State = PoolCore::State;
using Return = PoolCore::Return;
using Slot = PoolCore::Slot;
using Waiter = PoolCore::Waiter;
using Kind = PoolCore::Asked::Kind;

// A core with a clock that stands still, whose actions are read as text: "open 0", "hand 0 to 3".
class StillPool {
 public:
  explicit StillPool(PoolLimits limits) : core(limits, 1, now) {}

  std::vector<std::string> actions() {
    std::vector<std::string> all;
    while (const auto action = core.next_action()) all.push_back(text(*action));
    core.check_books();
    return all;
  }
  static std::string text(const PoolCore::Action& action) {
    switch (action.what) {
      case Do::hand:
        return fmt::format("hand {} to {}", action.slot, action.waiter);
      case Do::refuse:
        return fmt::format("refuse {}", action.waiter);
      case Do::open:
        return fmt::format("open {}", action.slot);
      case Do::validate:
        return fmt::format("validate {}", action.slot);
      case Do::recover:
        return fmt::format("recover {}", action.slot);
      case Do::close:
        return fmt::format("close {}", action.slot);
      case Do::report_leak:
        return fmt::format("leak {}", action.slot);
    }
    return "?";
  }

  Waiter wait() {
    const auto asked = core.acquire(now, {std::source_location::current()});
    EXPECT_EQ(asked.kind, Kind::queued);
    return asked.waiter;
  }
  Slot take() {
    const auto asked = core.acquire(now, {std::source_location::current()});
    EXPECT_EQ(asked.kind, Kind::granted);
    return asked.slot;
  }
  // `count` sessions opened and idle.
  void fill(std::size_t count) {
    std::vector<Slot> lent;
    for (std::size_t i = 0; i < count; ++i) {
      const auto asked = core.acquire(now, {});
      if (asked.kind == Kind::granted) lent.push_back(asked.slot);
    }
    while (const auto action = core.next_action()) {
      if (action->what == Do::open) core.opened(action->slot, now);
      if (action->what == Do::hand) lent.push_back(action->slot);
    }
    ASSERT_EQ(lent.size(), count);
    for (const Slot slot : lent) core.release(slot, Return::unused, now);
    ASSERT_EQ(core.count(State::idle), count);
  }
  void tick_after(Monotonic::duration duration) {
    now += duration;
    core.tick(now);
  }

  MonotonicTime now{1h};
  PoolCore core;
};

// Nothing ages, nothing adapts, nobody is patient: each test turns on what it is about.
inline PoolLimits plain(std::size_t size_max) {
  PoolLimits limits;
  limits.size_min = 0;
  limits.size_max = size_max;
  limits.lifetime = limits.idle_timeout = limits.validate_after = limits.leak_after = 24h;
  limits.adaptive = false;
  return limits;
}
// The same, but that it adapts, and callers are patient for 50 ms.
inline PoolLimits adaptive(std::size_t size_max) {
  auto limits = plain(size_max);
  limits.adaptive = true;
  limits.opening_max = size_max;
  limits.patience = 50ms;
  return limits;
}

}  // namespace citadel::pg
