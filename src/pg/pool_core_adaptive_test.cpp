// How PoolCore keeps to its adaptive limit, and when it does not.
#include <map>

#include "pg/pool_core_testing.hpp"

namespace citadel::pg {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

PoolLimits adaptive(std::size_t size_max) {
  auto limits = plain(size_max);
  limits.adaptive = true;
  limits.opening_max = size_max;
  limits.patience = 50ms;
  return limits;
}

TEST(PoolCore, LendsNoMoreThanTheAdaptiveLimitToTheImpatient) {
  StillPool pool(adaptive(100));
  const auto limit = pool.core.limit();
  ASSERT_LT(limit, 100u);
  for (int i = 0; i < 100; ++i) (void)pool.wait();
  while (const auto action = pool.core.next_action()) {
    if (action->what == Do::open) pool.core.opened(action->slot, pool.now);
  }
  EXPECT_EQ(pool.core.count(State::lent), limit);
  EXPECT_EQ(pool.core.next_wake(), pool.now + 50ms) << "when patience is at its end";
}

TEST(PoolCore, PatienceServesBeyondTheAdaptiveLimitUpToTheMaximum) {
  StillPool pool(adaptive(100));
  for (int i = 0; i < 120; ++i) (void)pool.wait();
  for (int round = 0; round < 2; ++round) {
    while (const auto action = pool.core.next_action()) {
      if (action->what == Do::open) pool.core.opened(action->slot, pool.now);
    }
    pool.tick_after(50ms);
  }
  while (const auto action = pool.core.next_action()) {
    if (action->what == Do::open) pool.core.opened(action->slot, pool.now);
  }
  EXPECT_EQ(pool.core.count(State::lent), 100u);
  EXPECT_EQ(pool.core.waiting(), 20u);
}

// A connect that is lost takes seconds to fail; those after it may find their way.
TEST(PoolCore, WhereOpensHangPatienceTriesOneMoreEachTime) {
  StillPool pool(adaptive(100));
  const auto limit = pool.core.limit();
  for (int i = 0; i < 100; ++i) (void)pool.wait();
  EXPECT_EQ(pool.actions().size(), limit);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(pool.core.next_wake(), pool.now + 50ms);
    pool.tick_after(49ms);
    EXPECT_THAT(pool.actions(), IsEmpty());
    pool.tick_after(1ms);
    EXPECT_EQ(pool.actions().size(), 1u);
  }
  EXPECT_EQ(pool.core.count(State::opening), limit + 2);
  // One comes: the others are waited for again.
  pool.tick_after(30ms);
  pool.core.opened(static_cast<Slot>(limit), pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand {} to 0", limit)));
  pool.tick_after(49ms);
  EXPECT_THAT(pool.actions(), IsEmpty());
}

TEST(PoolCore, IdleSessionsBeyondTheAdaptiveLimitAreNotLentToTheImpatient) {
  StillPool pool(adaptive(100));
  const auto limit = pool.core.limit();
  pool.core.pause();
  for (std::size_t i = 0; i < limit + 5; ++i) (void)pool.wait();
  pool.now += 50ms;
  pool.core.resume(pool.now);
  std::vector<Slot> lent;
  while (const auto action = pool.core.next_action()) {
    if (action->what == Do::open) pool.core.opened(action->slot, pool.now);
    if (action->what == Do::hand) lent.push_back(action->slot);
  }
  ASSERT_EQ(lent.size(), limit + 5);
  for (const Slot slot : lent) pool.core.release(slot, Return::unused, pool.now);
  for (std::size_t i = 0; i < limit; ++i) (void)pool.take();
  (void)pool.wait();
  EXPECT_THAT(pool.actions(), IsEmpty());
  pool.tick_after(50ms);
  EXPECT_EQ(pool.actions().size(), 1u);
}

// A hundred callers in a closed loop against a server whose calls take as long as `duration(lent)` says.
// Opens take `open_time`, one after the other.
struct Load {
  double busy = 0;           // on average, in the last 15 of 30 s
  std::uint64_t opened = 0;  // sessions, in all
};
Load run_load(PoolLimits limits, double (*milliseconds)(double lent), Monotonic::duration open_time = 0ms) {
  StillPool pool(limits);
  std::multimap<MonotonicTime, Slot> busy;
  std::multimap<MonotonicTime, Slot> opening;
  const auto begin = [&](Slot slot) {
    const std::chrono::duration<double, std::milli> length(
        milliseconds(static_cast<double>(pool.core.count(State::lent))));
    busy.emplace(pool.now + std::chrono::duration_cast<Monotonic::duration>(length), slot);
  };
  const auto drain = [&] {
    while (const auto action = pool.core.next_action()) {
      if (action->what == Do::open) {
        opening.emplace(opening.empty() ? pool.now + open_time : opening.rbegin()->first + open_time,
                        action->slot);
      }
      if (action->what == Do::hand) begin(action->slot);
    }
  };
  for (int i = 0; i < 100; ++i) (void)pool.wait();
  drain();
  double sum = 0;
  int samples = 0;
  const auto end = pool.now + 30s;
  while (pool.now < end) {
    const auto when = busy.empty() ? MonotonicTime::max() : busy.begin()->first;
    if (!opening.empty() && opening.begin()->first <= std::min(when, pool.core.next_wake())) {
      const auto [ready, opened] = *opening.begin();
      opening.erase(opening.begin());
      pool.now = std::max(pool.now, ready);
      pool.core.opened(opened, pool.now);
      drain();
      continue;
    }
    if (const auto wake = pool.core.next_wake(); wake <= when) {
      pool.now = std::max(pool.now, wake);
      pool.core.tick(pool.now);
      drain();
      continue;
    }
    pool.now = when;
    const Slot slot = busy.begin()->second;
    busy.erase(busy.begin());
    pool.core.release(slot, Return::idle, pool.now);
    if (const auto asked = pool.core.acquire(pool.now, {}); asked.kind == Kind::granted) begin(asked.slot);
    drain();
    if (pool.now < end - 15s) continue;
    sum += static_cast<double>(pool.core.count(State::lent));
    ++samples;
  }
  return {sum / samples, pool.core.totals().opened};
}

// Eight at once are fast; more only lengthen each other's calls, and cost a little of throughput besides.
double degrading(double lent) {
  return std::max(1.0, lent / 8) * (1 + lent / 200);
}

TEST(PoolCore, ShortCallsStayNearTheOptimum) {
  const auto busy = run_load(adaptive(100), degrading).busy;
  EXPECT_LT(busy, 30);
  EXPECT_GT(busy, 3);
}

TEST(PoolCore, WhereTheServerHasRoomEverySessionGetsBusy) {
  auto limits = adaptive(100);
  limits.patience = 24h;
  EXPECT_GT(run_load(limits, [](double) { return 5.0; }).busy, 60);
}

// While sessions are being opened, a higher limit changes nothing, and so looks harmless.
TEST(PoolCore, SessionsThatOpenSlowlyDoNotDriveTheLimitUp) {
  const auto load = run_load(adaptive(100), degrading, 30ms);
  EXPECT_LT(load.busy, 30);
  EXPECT_LT(load.opened, 45u);
}

TEST(PoolCore, WhereTheServerHasRoomEverySessionGetsBusyThoughTheyOpenSlowly) {
  EXPECT_GT(run_load(adaptive(100), [](double) { return 5.0; }, 30ms).busy, 60);
}

}  // namespace
}  // namespace citadel::pg
