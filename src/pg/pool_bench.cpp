// What a session costs beside the work done on it: acquire and release, uncontended.
#include <benchmark/benchmark.h>

#include "aio/run.hpp"
#include "pg/pool.hpp"
#include "pg/pool_core.hpp"
#include "support/servers.hpp"

namespace citadel::pg {
namespace {

using namespace std::chrono_literals;

// The decisions alone, with `idle` sessions that are not there, and the clock read twice as the pool does.
void core_acquire_and_release(benchmark::State& state) {
  const auto idle = static_cast<std::size_t>(state.range(0));
  const auto& clock = system_clock();
  PoolCore core({.size_min = idle, .size_max = 100, .opening_max = 100}, 1, clock.monotonic());
  core.start(clock.monotonic());
  while (const auto action = core.next_action()) core.opened(action->slot, clock.monotonic());
  for (auto _ : state) {
    const auto asked = core.acquire(clock.monotonic(), {.name = "bench"});
    core.release(asked.slot, PoolCore::Return::idle, clock.monotonic());
    benchmark::DoNotOptimize(core.next_action());
  }
}
BENCHMARK(core_acquire_and_release)->Arg(1)->Arg(100);

Task<> loop(Pool& pool, benchmark::State& state) {
  while (state.KeepRunning()) {
    auto lease = co_await pool.acquire(Deadline::after(10s));
    if (!lease) {
      state.SkipWithError(lease.error().to_string().c_str());
      break;
    }
    benchmark::DoNotOptimize(&**lease);
  }
}

Task<> with_pool(asio::io_context& context, benchmark::State& state) {
  auto& servers = support::shared_servers();
  PoolOptions options;
  options.connect.host = servers->pooled().host;
  options.connect.port = servers->pooled().port;
  options.connect.database = servers->pooled().database;
  options.connect.user = local::app_role;
  options.connect.password = servers->app_password();
  Pool pool(context.get_executor(), options, system_clock(), 1);
  if (auto started = co_await pool.start(Deadline::after(10s)); !started) {
    state.SkipWithError(started.error().to_string().c_str());
  } else {
    co_await loop(pool, state);
  }
  (void)co_await pool.close(Deadline::after(10s));
}

// All of it: a real session, a coroutine each time, the deadline made and the lease destroyed.
void pool_acquire_and_release(benchmark::State& state) {
  asio::io_context context{1};
  aio::run(context, with_pool(context, state));
}
BENCHMARK(pool_acquire_and_release);

}  // namespace
}  // namespace citadel::pg
