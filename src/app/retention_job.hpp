// RetentionJob: drops the contents of audit events that are due, again and again, and counts what it did. On
// the data plane; status() from any thread.
#pragma once
#include <mutex>
#include <optional>

#include "app/config.hpp"
#include "audit/retention.hpp"
#include "base/clock.hpp"

namespace citadel::app {

// Of the runs of this daemon.
struct RetentionStatus {
  std::optional<WallTime> ran_at;  // the last in which no month failed
  std::uint64_t dropped_total = 0, failures_total = 0;
  std::uint64_t held = 0;  // months that are due, and that a hold keeps
  std::optional<Error> last_error;
};

class RetentionJob {
 public:
  // `clock` outlives it.
  RetentionJob(const RetentionConfig& config, const Clock& clock);

  // Runs at once and then each config.interval, until it is cancelled. `database` outlives it.
  Task<> loop(store::Database& database);
  // One run. With config.enabled false, months are made and none is dropped.
  Task<Result<audit::RetentionRun>> run(store::Database& database, audit::Caller caller, Deadline deadline);

  const audit::KeepTimes& keep() const { return keep_; }
  RetentionStatus status() const;

 private:
  void note(const Result<audit::RetentionRun>& run);

  const RetentionConfig config_;
  const audit::KeepTimes keep_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  RetentionStatus status_;  // guarded by mutex_
};

}  // namespace citadel::app
