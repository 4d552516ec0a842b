// AuditTrail: the audit trail's parts in a daemon, started in order and stopped in reverse: its own journal
// and drain, the sequencer, the publisher, and what the daemon itself records.
//
// open() takes the audit journal or fails: a daemon that cannot record does not start. attach(), start(),
// close() and detach() are called in this order, on the data plane; all else from any thread.
//
// What cannot be recorded at once, because the journal has no room, is owed: it is tried again each second,
// and what is beyond `owed_max` is counted and shown by status().
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

// Where an event that was taken lies in the journal.
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

  // Takes the events or none of them; they have passed check_event(). In the order of the events.
  // conflict where an id was used for another event ("/3/id: …"), and what Journal::append() says.
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
