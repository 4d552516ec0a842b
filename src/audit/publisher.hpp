// Publisher: signs the log's head, after proving that it extends what was signed before.
//
// After each batch that the drain committed, and at an interval, it takes what waits in audit.pending into
// the log, reads the head, proves from the log's tiles that the head extends the checkpoint in the store,
// signs, and stores the new checkpoint outside the database. Where the head is behind the stored checkpoint,
// or does not extend it, that is a fork: a restore or a failover lost the tail, or somebody rewrote the log.
// Then nothing is signed, the sequencer's permit is refused, and status().fork says so, until accept_fork().
// The same is looked at again at each interval, so a tile that is mended ends it too. Until the first look
// succeeds the permit is not granted.
//
// Where there are witnesses, they are asked once the checkpoint is stored and before it is published: for
// WitnessOptions::timeout at most. What they gave is stored and published with it, and whoever did not answer
// is asked again for the same checkpoint, as long as it is the latest. No witness holds the log up or stops
// it, nor does a disk without room for what they gave: the checkpoint is published without.
//
// Waiting for an acknowledgement: wait_drained() until a journal's position is in the database,
// wait_published() until a checkpoint covers an index. Both end by their deadline (deadline_exceeded; the
// event is not lost), and at close() (cancelled); overloaded where waiters_max wait.
//
// All calls on the database's executor; file I/O runs on a thread of its own.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audit/checkpoint_store.hpp"
#include "audit/log_head.hpp"
#include "audit/sequencer.hpp"
#include "audit/witnesses.hpp"
#include "base/clock.hpp"
#include "tlog/note.hpp"

namespace citadel::audit {

struct PublisherOptions {
  std::string origin;     // the log's name, the first line of its checkpoints
  drain::Origin journal;  // of this daemon's audit journal: who appends what waits in audit.pending
  std::chrono::milliseconds interval{1'000};
  std::chrono::milliseconds publish_timeout{10'000};  // one look at the head, with all that follows
  std::size_t waiters_max = 10'000;
  std::shared_ptr<Witnesses> witnesses = {};  // none are asked where it is null
};

struct PublisherStatus {
  std::optional<StoredCheckpoint> published;  // the latest that is known, and that the log extends
  // The last one that was signed, as the store has it; another than `published` where a fork was found.
  std::optional<StoredCheckpoint> stored;
  std::optional<WallTime> published_at;  // by this daemon
  std::uint64_t published_total = 0, failures_total = 0, pending_total = 0;
  std::optional<Error> fork;        // why nothing is signed or appended
  std::optional<Error> last_error;  // of the last look; empty after a success
  std::size_t waiters = 0;
  std::optional<WitnessesStatus> witnesses;  // where there are some
  std::size_t cosignatures = 0;              // of `published`
  bool quorum_met = true;
};

class Publisher {
 public:
  // `signer` has the origin's key; `older_keys` also verify what is in the store (after a key was rotated).
  // `database`, `sequencer` and `clock` outlive it.
  Publisher(store::Database& database, Sequencer& sequencer, std::shared_ptr<GrowthPermit> permit,
            CheckpointStore store, tlog::NoteSigner signer, std::vector<tlog::NoteVerifier> older_keys,
            PublisherOptions options, const Clock& clock);
  ~Publisher();  // after close()
  Publisher(const Publisher&) = delete;

  void start();
  // What drain::Drain::on_drained() calls.
  void drained(journal::Position position);
  void kick();
  Task<Result<void>> close(Deadline deadline);

  // One look, now: what start() does again and again.
  Task<Result<void>> publish(Deadline deadline);

  Task<Result<void>> wait_drained(journal::Position position, Deadline deadline);
  // The checkpoint whose tree has the entry.
  Task<Result<StoredCheckpoint>> wait_published(std::uint64_t index, Deadline deadline);

  // Goes on with the log as the database has it: records that as an entry, keeps the old checkpoint in the
  // store's history, and signs the head. conflict where there is no fork.
  Task<Result<void>> accept_fork(std::string reason, std::string who, Deadline deadline);

  // Whether a quorum of the witnesses has cosigned it; true where none are asked.
  bool is_witnessed(const StoredCheckpoint& checkpoint) const;

  PublisherStatus status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::audit
