// Drain: moves what the journal holds into PostgreSQL, in order, each record exactly once.
//
// One batch is one transaction: lock the producer's watermark row, drop frames at or below it, let each Sink
// write its kind, move the watermark, commit. Then the journal's cursor is synced, then drained segments are
// unlinked. A COMMIT whose answer was lost needs no special case: the next attempt reads the watermark, which
// is the authority.
//
// A transient failure (database away, deadlock, disk full there) is retried for ever with backoff, and so is
// an exception of a sink's; meanwhile the journal fills. A record that PostgreSQL refuses for its content
// (SQLSTATE class 22 or 23) is found by halving the batch and set aside in citadel.dead_letter, so that it
// blocks nobody and is not lost.
//
// A watermark that is further than this process has brought it, in the epoch that it writes, means that a
// second journal goes on with the same epoch. Nothing is written then: `conflict`, until somebody has looked.
//
// All calls on the database's executor, save kick(); file I/O runs on a thread of its own.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "aio/task.hpp"
#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "drain/sink.hpp"
#include "journal/journal.hpp"
#include "store/database.hpp"

namespace citadel::drain {

struct Options {
  std::size_t batch_rows = 10'000;
  std::size_t batch_bytes = 8 << 20;
  // How long records may gather before a batch that is not full is written.
  std::chrono::milliseconds interval{200};
  // The longest that one batch may take; it is rolled back and tried again then.
  std::chrono::milliseconds batch_timeout{60'000};
  std::chrono::milliseconds backoff_initial{50};
  std::chrono::milliseconds backoff_ceiling{2'000};
};

struct Status {
  std::uint64_t batches_total = 0, failures_total = 0;
  std::uint64_t stored_total = 0, repeated_total = 0, conflicting_total = 0, undecodable_total = 0,
                dead_letter_total = 0, replayed_total = 0;
  journal::Position drained;
  bool idle = false;  // all is drained; waits for the journal
  std::optional<WallTime> last_success;
  std::optional<Error> last_error;  // of the attempt under way; empty after a success
  double batch_seconds_total = 0;
};

class Drain {
 public:
  // `database`, `journal` and `clock` outlive the drain.
  Drain(store::Database& database, journal::Journal& journal, std::vector<std::unique_ptr<Sink>> sinks,
        Options options, const Clock& clock, std::uint64_t seed);
  ~Drain();  // after close()
  Drain(const Drain&) = delete;

  void start();
  // Writes what is there without waiting for `interval`, or for the pause after a failure. From any thread.
  void kick();
  // Calls back with the last position of each batch that is committed; again with a batch that had to be read
  // again. On the database's executor, before start().
  void on_drained(std::function<void(journal::Position)> callback);
  // Drains what time allows, then stops. deadline_exceeded where records are left; they stay in the journal.
  Task<Result<void>> close(Deadline deadline);

  Status status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::drain
