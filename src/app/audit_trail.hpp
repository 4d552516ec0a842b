// AuditTrail: the audit trail's parts in a daemon, started in order and stopped in reverse: its own journal
// and drain, the sequencer, the publisher, and what the daemon itself records. The C++ API of recording.
//
//   CITADEL_CO_TRY(trail.redactor().apply(event));                       // what must never be stored
//   CITADEL_CO_TRY(audit::check_event(event, event_limits(config)));
//   const std::vector events{event};
//   CITADEL_CO_ASSIGN(const auto taken, co_await trail.record(events, deadline));  // on this disk
//   // On the data plane, as far as the caller waits:
//   CITADEL_CO_TRY(co_await trail.publisher().wait_drained(taken.front().position, deadline));  // in the log
//   CITADEL_CO_ASSIGN(const auto found, co_await audit::find_indexes(database, {event.id}, deadline));
//   CITADEL_CO_ASSIGN(const auto signed_head,                            // under a signed checkpoint
//                     co_await trail.publisher().wait_published(found.front().second, deadline));
//
// What each step promises: record(), that the event survives kill -9 and a power cut of this machine, and
// comes into the log exactly once, however long the database is away. wait_drained(), that what was recorded
// up to that position is in PostgreSQL: find_indexes() then gives its index, which never changes. An event
// that was set aside has none: where it cannot be stored (citadel.dead_letter), nothing is found; where its
// id is that of another event, longer ago than `recent_max` (audit.conflict), that other one is.
// wait_published(), that a checkpoint covers the index, so that audit::prove_inclusion() makes a proof of it,
// for which verifier() is enough; cosigned by witnesses as far as Publisher::is_witnessed() says. Deadlines
// are points of the clock given to open(); a wait that does not end by then takes nothing back.
//
// open() takes the audit journal or fails: a daemon that cannot record does not start. attach(), start(),
// close() and detach() are called in this order, on the data plane; publisher(), tiles() and retention() are
// used there, too, between attach() and detach(). All else from any thread, and at once from many.
//
// What the daemon itself noted and cannot be recorded at once, because the journal has no room, is owed: it
// is tried again each second, and what is beyond `owed_max` is counted and shown by status().
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/audit_own.hpp"
#include "app/audit_secrets.hpp"
#include "app/audit_status.hpp"
#include "app/config.hpp"
#include "app/retention_job.hpp"
#include "audit/redaction.hpp"
#include "http/server.hpp"
#include "tlog/tile_cache.hpp"

namespace citadel::app {

// Where an event that was taken lies in the journal: the epoch, and its number in it, from 1.
struct Recorded {
  Uuid id;
  journal::Position position;
  bool repeated = false;  // it was acknowledged before
};

class AuditTrail {
 public:
  static constexpr std::size_t owed_max = 1'000;
  static constexpr std::size_t recent_max = 200'000;  // events whose ids are remembered

  // `clock` outlives it. Blocks until the first entry of the epoch is durable.
  static Result<std::unique_ptr<AuditTrail>> open(const Config& config, AuditSecrets secrets,
                                                  const Clock& clock);
  ~AuditTrail();
  AuditTrail(const AuditTrail&) = delete;

  // `database` outlives detach().
  void attach(store::Database& database, const Config& config);
  void start();  // the schema is as it should be
  // Records the stop, drains and signs what time allows.
  Task<Result<void>> close(Deadline deadline);
  void detach();

  // Takes the events or none of them: when it returns, they are durable in the audit journal. They have been
  // redacted and have passed check_event(); CHECK where an action is not known. The answer is in the order of
  // the events, which is the order in the log. An event that was acknowledged before is not stored again
  // (`repeated`, with the position it has).
  // conflict where an id was used for another event ("/3/id: …", "/id: …" where there is one event), and what
  // Journal::append() says: storage_full and overloaded took nothing; after io_error and deadline_exceeded it
  // is unknown whether the events are kept, so send them again under the same ids. `events` outlives the
  // call.
  Task<Result<std::vector<Recorded>>> record(const std::vector<audit::Event>& events, Deadline deadline);
  // What the daemon saw. The first waits until it is durable, for what must not happen unrecorded.
  Task<Result<void>> record_own(OwnEvent own, Deadline deadline);
  void note(OwnEvent own);
  // Authentication, as a finished request shows it.
  void note_request(const http::RequestSummary& summary);
  void note_verification(Verification verification);
  void count_redacted(std::uint64_t count);

  const std::string& origin() const;
  const tlog::NoteVerifier& verifier() const;
  const std::vector<tlog::NoteVerifier>& older_keys() const;
  const std::shared_ptr<const audit::AuditKeys>& shared_keys() const;
  const audit::AuditKeys& keys() const { return *shared_keys(); }
  const audit::Redactor& redactor() const;
  // On the data plane.
  audit::Publisher& publisher();
  tlog::TileCache& tiles();  // for proofs
  RetentionJob& retention();
  AuditStatus status() const;
  // Publisher::accept_fork(); and records which of this daemon's events the database has lost, so that a
  // verification knows of the hole.
  Task<Result<void>> accept_fork(std::string reason, std::string who, Deadline deadline);

 private:
  struct Impl;
  explicit AuditTrail(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::app
