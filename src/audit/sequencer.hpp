// Sequencer: gives events their place in the log. One at a time over all daemons: it holds the head's row and
// an advisory lock for its transaction, so whoever dies loses both together with everything it wrote.
//
// append() compares the tiles with the head's root before it builds on them (corrupt where somebody changed
// one: nothing is appended until that is mended), gives contiguous indexes in the order of the journal, then
// to what waits in audit.pending, and writes entries, content, tiles and head. Each frame becomes exactly one
// entry: see audit/draft.hpp for what stands in the place of repeats, conflicts and what cannot be read.
//
// Errors: what GrowthPermit says; unavailable where something that was prepared is gone (run prepare()
// again); corrupt for a tampered log, and for events whose data key no known master key opens where none in
// the daemon's life has opened yet: the master key is then more likely wrong than the event.
//
// All calls on the database's executor; calls may interleave.
#pragma once
#include <memory>
#include <set>

#include "audit/audit_keys.hpp"
#include "audit/batch.hpp"
#include "audit/log_head.hpp"
#include "base/clock.hpp"
#include "drain/sink.hpp"

namespace citadel::audit {

struct SequencerOptions {
  std::size_t pending_max = 1'000;  // rows of audit.pending a transaction
  // How far in the future of its arrival an event's id may lie; bounds the search for repeats.
  std::chrono::microseconds id_future_max = std::chrono::minutes(10);
};

class Sequencer {
 public:
  // `clock` outlives it.
  Sequencer(std::shared_ptr<const AuditKeys> keys, std::shared_ptr<GrowthPermit> permit,
            SequencerOptions options, const Clock& clock);
  ~Sequencer();
  Sequencer(const Sequencer&) = delete;

  // Makes partitions and subjects' keys for these frames and for what waits in audit.pending; commits on its
  // own.
  Task<Result<void>> prepare(store::Database& database, std::span<const journal::Frame> frames,
                             Deadline deadline);
  // Of frames that prepare() has seen. Where it fails, the transaction is rolled back.
  Task<Result<drain::SinkOutcome>> append(pg::Transaction& transaction, drain::Origin origin,
                                          std::span<const journal::Frame> frames, Deadline deadline);
  // The entry in the place of a frame that PostgreSQL refused; its bytes are in citadel.dead_letter.
  Task<Result<void>> append_refused(pg::Transaction& transaction, drain::Origin origin,
                                    const journal::Frame& frame, const Error& reason, Deadline deadline);
  // Takes what waits in audit.pending into the log, in transactions of its own, until nothing waits. How many
  // it took. Nothing is locked where nothing waits.
  Task<Result<std::uint64_t>> append_pending(store::Database& database, drain::Origin origin,
                                             Deadline deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::audit
