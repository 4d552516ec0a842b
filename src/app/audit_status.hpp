// AuditStatus: what the daemon knows of its audit trail at one moment, and how /readyz, /v1/status and
// /metrics say it. Values and pure functions.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/retention_job.hpp"
#include "audit/publisher.hpp"
#include "drain/drain.hpp"
#include "journal/journal.hpp"
#include "telemetry/metrics.hpp"

namespace citadel::app {

// What a verification found, as whoever ran it reported.
struct Verification {
  WallTime at;
  std::uint64_t entries = 0;
  bool passed = false;
  std::string finding;
};

struct AuditStatus {
  std::string origin, verifier_key;
  bool schema_ready = false;  // the drain and the publisher run
  journal::Status journal;
  std::uint64_t journal_bytes_max = 0;  // as configured
  drain::Status drain;
  audit::PublisherStatus publisher;
  std::uint64_t refused_total = 0;       // events that were not acknowledged, for want of room or of a disk
  std::uint64_t repeated_total = 0;      // sent again, as far as it was seen at the door
  std::uint64_t id_conflicts_total = 0;  // refused with 409
  std::uint64_t redacted_total = 0;
  std::uint64_t gaps_total = 0;  // ranges of the journal that were found lost at this start
  std::uint64_t owed = 0, own_lost_total = 0;
  std::optional<Verification> verified;  // the last that passed
  std::uint64_t verifications_failed_total = 0;
  RetentionStatus retention;
};

// One thing that the daemon depends on.
struct Dependency {
  std::string_view name;
  bool ready = false;
  bool required = false;  // without it the daemon takes no requests
  std::string reason;     // a sentence, also where it is ready
};

// The journal of the audit trail is required: what cannot be recorded is refused. The log is not: events wait
// in the journal while it has forked or cannot be signed.
std::vector<Dependency> audit_dependencies(const AuditStatus& status);

// For /v1/status.
std::string audit_json(const AuditStatus& status);

// Handles are registered once; update() sets them. Thread-safe.
class AuditMetrics {
 public:
  explicit AuditMetrics(telemetry::Metrics& metrics);
  ~AuditMetrics();
  void update(const AuditStatus& status, WallTime now);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

}  // namespace citadel::app
