// How many sessions PoolCore finds busy, with a hundred callers in virtual time.
#include <map>

#include "pg/pool_core_testing.hpp"

namespace citadel::pg {
namespace {

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
