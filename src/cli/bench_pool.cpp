// bench pool: what a session costs beside the work done on it.
#include <boost/asio/io_context.hpp>

#include "aio/run.hpp"
#include "app/settings.hpp"
#include "base/random.hpp"
#include "cli/bench_support.hpp"
#include "store/database.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr int batch = 10'000;
constexpr int warm_batches = 5;
constexpr double goal_ns = 1'000;

// Acquire, leave of the breaker, release; nobody else is there. Nanoseconds each, the median of batches.
Task<Result<double>> uncontended(store::Database& database, std::chrono::seconds seconds) {
  std::vector<double> batches_ns;
  const auto end = Monotonic::now() + seconds;
  for (int number = 0; Monotonic::now() < end; ++number) {
    const auto began = Monotonic::now();
    for (int i = 0; i < batch; ++i) {
      auto permit = database.breaker().acquire();
      if (!permit) co_return std::unexpected(permit.error());
      const auto call_began = Monotonic::now();
      CITADEL_CO_ASSIGN(const auto lease, co_await database.pool().acquire(Deadline::after(1s)));
      permit->succeeded(Monotonic::now() - call_began);
    }
    const auto took = std::chrono::duration<double, std::nano>(Monotonic::now() - began).count();
    if (number >= warm_batches) batches_ns.push_back(took / batch);
  }
  co_return median(std::move(batches_ns));
}

}  // namespace

Result<Metrics> bench_pool(const Context& context, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto servers, BenchServers::start(context));
  CITADEL_ASSIGN(const auto config, servers.config());
  asio::io_context io{1};
  store::Database database(io.get_executor(), app::database_options(config), system_clock(), random_seed());
  const auto started = aio::run(io, database.start(Deadline::after(20s)));
  Result<double> cost = 0;
  if (started) cost = aio::run(io, uncontended(database, options.seconds));
  const auto closed = aio::run(io, database.close(Deadline::after(10s)));
  CITADEL_TRY(started);
  CITADEL_TRY(cost);
  CITADEL_TRY(closed);
  return Metrics{{"acquire_breaker_release", "ns", *cost, std::nullopt, "", GoalKind::ours_below, goal_ns}};
}

}  // namespace citadel::cli
