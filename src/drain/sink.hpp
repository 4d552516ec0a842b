// Sink: where the drain hands frames of one kind over to the room that knows what they mean.
//
// A batch goes: prepare() outside any transaction, then write() inside the transaction that holds the lock on
// the producer's watermark and moves it. So what write() does happens exactly once, whatever dies in between.
// Both may be called again with the same frames, after an error or when a commit had to be resolved; write()
// may get fewer than prepare() did, where some were written already. All calls on the database's executor.
#pragma once
#include <cstdint>
#include <span>

#include "aio/task.hpp"
#include "base/deadline.hpp"
#include "journal/journal.hpp"
#include "pg/transaction.hpp"
#include "store/database.hpp"

namespace citadel::drain {

struct SinkOutcome {
  std::uint64_t stored = 0;       // new rows
  std::uint64_t repeated = 0;     // the same record was there already
  std::uint64_t conflicting = 0;  // the id was there with other content; kept apart
  std::uint64_t undecodable = 0;  // kept apart as bytes
};

// One batch's origin: all frames are of one journal and one epoch.
struct Origin {
  Uuid producer;
  std::uint64_t epoch = 0;
};

class Sink {
 public:
  virtual ~Sink() = default;
  virtual journal::Kind kind() const = 0;

  // What must exist before the batch: partitions, for example. Idempotent; commits on its own.
  virtual Task<Result<void>> prepare(store::Database& database, std::span<const journal::Frame> frames,
                                     Deadline deadline) = 0;

  // Writes all frames, or fails and leaves nothing. May be rolled back after it returned: what it remembers
  // (caches) must stay true then.
  virtual Task<Result<SinkOutcome>> write(pg::Transaction& transaction, Origin origin,
                                          std::span<const journal::Frame> frames, Deadline deadline) = 0;

  // PostgreSQL refused this frame for its content: the drain keeps it in citadel.dead_letter, and in the same
  // transaction the room may leave what stands in its place. Does nothing by default.
  virtual Task<Result<void>> refused(pg::Transaction& transaction, Origin origin, const journal::Frame& frame,
                                     const Error& reason, Deadline deadline);
};

}  // namespace citadel::drain
