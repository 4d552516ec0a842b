#include "app/retention_job.hpp"

#include "aio/wait.hpp"
#include "app/retention_times.hpp"
#include "base/log.hpp"

namespace citadel::app {
namespace {

// Of one run: it counts what it drops.
constexpr auto run_time = std::chrono::minutes(10);

}  // namespace

RetentionJob::RetentionJob(const RetentionConfig& config, const Clock& clock)
    : config_(config), keep_(effective_keep(config)), clock_(clock) {}

Task<> RetentionJob::loop(store::Database& database) {
  for (;;) {
    const auto done =
        co_await run(database, {.actor = "system:citadel", .from = {}}, Deadline::after(run_time, clock_));
    if (!done) {
      log::warning("audit", "a retention run failed; the next one tries again", {{"error", done.error()}});
    }
    co_await aio::sleep_for(config_.interval);
  }
}

Task<Result<audit::RetentionRun>> RetentionJob::run(store::Database& database, audit::Caller caller,
                                                    Deadline deadline) {
  const auto drops = config_.enabled ? audit::RetentionDrops::due : audit::RetentionDrops::nothing;
  auto done = co_await audit::run_retention(database, keep_, static_cast<int>(config_.months_ahead), drops,
                                            std::move(caller), clock_.wall(), deadline);
  note(done);
  co_return done;
}

void RetentionJob::note(const Result<audit::RetentionRun>& run) {
  {
    const std::lock_guard lock(mutex_);
    if (!run) {
      ++status_.failures_total;
      status_.last_error = run.error();
      return;
    }
    status_.dropped_total += run->dropped.size();
    status_.held = run->held.size();
    for (const auto& leftovers : run->leftovers) ++(leftovers.held_by ? status_.held : status_.dropped_total);
    if (run->failed.empty()) {
      status_.ran_at = clock_.wall();
      status_.last_error.reset();
    } else {
      ++status_.failures_total;
      status_.last_error = run->failed.front().error;
    }
  }
  for (const auto& month : run->dropped) {
    log::info("audit", "contents were dropped, because their time is over",
              {{"month", audit::to_string(month.month)}, {"events", month.events}});
  }
  for (const auto& leftovers : run->leftovers) {
    if (leftovers.held_by) continue;
    log::info("audit", "conflicts or dead letters were dropped, because their time is over",
              {{"what", leftovers.name}, {"rows", leftovers.rows}});
  }
  for (const auto& failed : run->failed) {
    log::warning("audit", "contents that are due could not be dropped; the next run tries again",
                 {{"month", failed.name}, {"error", failed.error}});
  }
}

RetentionStatus RetentionJob::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace citadel::app
