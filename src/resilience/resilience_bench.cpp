// What the guard of a database call costs, uncontended: it stands on the path of every query.
#include <benchmark/benchmark.h>

#include "resilience/adaptive_limiter.hpp"
#include "resilience/backoff.hpp"
#include "resilience/circuit_breaker.hpp"
#include "resilience/retry_budget.hpp"

namespace citadel::resilience {
namespace {

using namespace std::chrono_literals;

void breaker_acquire_and_release(benchmark::State& state, WindowKind window) {
  SeededRandom random(1);
  CircuitBreaker breaker({.window = window}, system_clock(), random);
  for (auto _ : state) {
    auto permit = breaker.acquire();
    permit->succeeded(1ms);
  }
}
BENCHMARK_CAPTURE(breaker_acquire_and_release, count_window, WindowKind::count);
BENCHMARK_CAPTURE(breaker_acquire_and_release, time_window, WindowKind::time);

void breaker_refuses(benchmark::State& state) {
  SeededRandom random(1);
  CircuitBreaker breaker({}, system_clock(), random);
  breaker.force(BreakerState::forced_open, "benchmark");
  for (auto _ : state) benchmark::DoNotOptimize(breaker.acquire());
}
BENCHMARK(breaker_refuses);

void limiter_on_finish(benchmark::State& state) {
  auto now = MonotonicTime(1h);
  AdaptiveLimiter limiter({}, now);
  for (auto _ : state) {
    now += 100us;
    limiter.on_finish(now, 1ms, 9, true);
    benchmark::DoNotOptimize(limiter.limit());
  }
}
BENCHMARK(limiter_on_finish);

void retry_budget_request(benchmark::State& state) {
  RetryBudget budget({}, system_clock());
  for (auto _ : state) budget.on_request();
}
BENCHMARK(retry_budget_request);

void retry_budget_retry(benchmark::State& state) {
  RetryBudget budget({}, system_clock());
  for (auto _ : state) benchmark::DoNotOptimize(budget.try_retry());
}
BENCHMARK(retry_budget_retry);

void backoff_next(benchmark::State& state) {
  SeededRandom random(1);
  Backoff backoff({}, random);
  for (auto _ : state) benchmark::DoNotOptimize(backoff.next());
}
BENCHMARK(backoff_next);

}  // namespace
}  // namespace citadel::resilience
