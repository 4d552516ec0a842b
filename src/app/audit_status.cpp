#include "app/audit_status.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "app/status_json.hpp"
#include "base/time_text.hpp"
#include "json/serialize.hpp"

namespace citadel::app {
namespace {

namespace json = boost::json;
using telemetry::Counter;
using telemetry::CounterFamily;
using telemetry::Gauge;

double seconds_since(std::optional<WallTime> at, WallTime now) {
  return at ? std::chrono::duration<double>(now - *at).count() : 0;
}

Dependency journal_dependency(const journal::Status& journal) {
  Dependency out{"audit_journal", !journal.failed && !journal.full, true, {}};
  if (journal.failed) {
    out.reason = journal.failure + "; nothing can be recorded: restart the daemon when the disk is well";
  } else if (journal.full) {
    out.reason = journal.full_reason;
  } else {
    out.reason = fmt::format("{} events wait for the log", journal.undrained_records);
  }
  return out;
}

Dependency log_dependency(const AuditStatus& status) {
  Dependency out{"audit_log", false, false, {}};
  const auto& publisher = status.publisher;
  if (publisher.fork) {
    out.reason = publisher.fork->message;
  } else if (!status.schema_ready) {
    out.reason = "the database is not ready; events wait in the journal";
  } else if (publisher.last_error) {
    out.reason = fmt::format("no checkpoint is signed: {}", publisher.last_error->message);
  } else if (!publisher.published) {
    out.ready = true;
    out.reason = "the first checkpoint is about to be signed";
  } else {
    out.ready = true;
    out.reason =
        fmt::format("{} entries are under a signed checkpoint", publisher.published->checkpoint.size);
  }
  return out;
}

// Not where none are asked.
std::optional<Dependency> witness_dependency(const audit::PublisherStatus& publisher) {
  if (!publisher.witnesses) return std::nullopt;
  Dependency out{"audit_witnesses", publisher.quorum_met, false, {}};
  const auto& witnesses = publisher.witnesses->witnesses;
  out.reason = fmt::format("{} of {} witnesses have cosigned the checkpoint; the quorum {} is {}",
                           publisher.cosignatures, witnesses.size(), publisher.witnesses->quorum,
                           publisher.quorum_met ? "met" : "not met");
  for (const auto& witness : witnesses) {
    if (witness.last_error)
      out.reason +=
          fmt::format("; {} is {}: {}", witness.name, to_string(witness.state), witness.last_error->message);
    // Whatever the quorum says, one that holds the log to be forked is heard.
    if (witness.state == audit::WitnessState::inconsistent) out.ready = false;
  }
  return out;
}

json::object witnesses_json(const audit::PublisherStatus& publisher) {
  json::array all;
  for (const auto& witness : publisher.witnesses->witnesses) {
    json::object one{{"name", witness.name},
                     {"state", to_string(witness.state)},
                     {"size", witness.size},
                     {"cosigned_total", witness.cosigned_total},
                     {"failures_total", witness.failures_total}};
    if (witness.cosigned_at) one["cosigned_at"] = format_time(*witness.cosigned_at);
    if (witness.last_error) one["last_error"] = witness.last_error->message;
    all.push_back(std::move(one));
  }
  return {{"quorum", publisher.witnesses->quorum},
          {"quorum_met", publisher.quorum_met},
          {"cosignatures", publisher.cosignatures},
          {"witnesses", std::move(all)}};
}

json::object publisher_json(const audit::PublisherStatus& publisher) {
  json::object out{{"published_total", publisher.published_total},
                   {"failures_total", publisher.failures_total},
                   {"from_triggers_total", publisher.pending_total},
                   {"waiting", publisher.waiters},
                   {"forked", publisher.fork.has_value()}};
  if (publisher.published) {
    out["size"] = publisher.published->checkpoint.size;
    out["fence"] = publisher.published->fence;
  }
  if (publisher.published_at) out["published_at"] = format_time(*publisher.published_at);
  if (publisher.fork) out["fork"] = publisher.fork->message;
  if (publisher.last_error) out["last_error"] = publisher.last_error->message;
  return out;
}

json::object retention_json(const RetentionStatus& retention) {
  json::object out{{"dropped_total", retention.dropped_total},
                   {"held", retention.held},
                   {"failures_total", retention.failures_total}};
  if (retention.ran_at) out["ran_at"] = format_time(*retention.ran_at);
  if (retention.last_error) out["last_error"] = retention.last_error->message;
  return out;
}

}  // namespace

std::vector<Dependency> audit_dependencies(const AuditStatus& status) {
  std::vector<Dependency> out{journal_dependency(status.journal), log_dependency(status)};
  if (auto witnesses = witness_dependency(status.publisher)) out.push_back(*std::move(witnesses));
  return out;
}

std::string audit_json(const AuditStatus& status) {
  json::object out{{"origin", status.origin},
                   {"key", status.verifier_key},
                   {"journal", journal_json(status.journal)},
                   {"drain", drain_json(status.drain)},
                   {"checkpoint", publisher_json(status.publisher)},
                   {"retention", retention_json(status.retention)},
                   {"refused_total", status.refused_total},
                   {"repeated_total", status.repeated_total},
                   {"id_conflicts_total", status.id_conflicts_total},
                   {"redacted_total", status.redacted_total},
                   {"gaps_total", status.gaps_total},
                   {"owed", status.owed},
                   {"own_lost_total", status.own_lost_total},
                   {"verifications_failed_total", status.verifications_failed_total}};
  if (status.publisher.witnesses) out["witnesses"] = witnesses_json(status.publisher);
  if (status.verified) {
    out["verified"] =
        json::object{{"at", format_time(status.verified->at)}, {"entries", status.verified->entries}};
  }
  return citadel::json::serialize(out);
}

struct AuditMetrics::Handles {
  explicit Handles(telemetry::Metrics& m)
      : appended(m.counter("citadel_audit_appended_total", "Audit events acknowledged.")),
        drained(
            m.counters("citadel_audit_drained_total", "Audit events that left the journal.", {"outcome"})),
        refused(m.counter("citadel_audit_refused_total", "Audit events that were not acknowledged.")),
        shed(m.counter("citadel_audit_shed_total", "Audit events refused that may be shed.")),
        repeated(m.counter("citadel_audit_repeated_total", "Audit events that came again.")),
        conflicts(m.counter("citadel_audit_id_conflicts_total", "Audit events whose id was taken.")),
        redacted(
            m.counter("citadel_audit_redacted_total", "Values that were replaced before they were stored.")),
        gaps(m.counter("citadel_audit_gaps_total", "Ranges of the audit journal that were lost.")),
        own_lost(m.counter("citadel_audit_own_lost_total", "Events of the daemon's own that were lost.")),
        undrained(
            m.gauge("citadel_audit_undrained_events", "Acknowledged events that are not in the log yet.")),
        journal_bytes(m.gauge("citadel_audit_journal_bytes", "Bytes of the audit journal's segments.")),
        journal_limit(m.gauge("citadel_audit_journal_limit_bytes", "Bytes that they may have.")),
        oldest(m.gauge("citadel_audit_oldest_undrained_seconds",
                       "Age of the oldest event that is not in the log.")),
        journal_failed(
            m.gauge("citadel_audit_journal_failed", "1 while nothing can be recorded until a restart.")),
        drain_failures(
            m.counter("citadel_audit_drain_failures_total", "Batches that failed and are tried again.")),
        size(m.gauge("citadel_audit_checkpoint_size", "Entries under the signed checkpoint.")),
        age(m.gauge("citadel_audit_checkpoint_age_seconds", "Since this daemon signed a checkpoint.")),
        publish_failures(m.counter("citadel_audit_publish_failures_total", "Looks at the log that failed.")),
        forked(m.gauge("citadel_audit_forked", "1 while the log contradicts the signed checkpoint.")),
        quorum_met(m.gauge("citadel_audit_witness_quorum_met",
                           "1 while a quorum of witnesses has cosigned the checkpoint, or none is asked.")),
        cosignatures(m.gauge("citadel_audit_cosignatures", "Witnesses that have cosigned the checkpoint.")),
        contradicting(
            m.gauge("citadel_audit_witnesses_contradicting", "Witnesses that hold the log to be forked.")),
        witness_failures(m.counter("citadel_audit_witness_failures_total",
                                   "Times that a witness was asked and did not cosign.")),
        verified(
            m.gauge("citadel_audit_verified_seconds", "Unix time of the last verification that passed.")),
        verified_entries(m.gauge("citadel_audit_verified_entries", "Entries that it checked.")),
        verify_failures(
            m.counter("citadel_audit_verification_failures_total", "Verifications that found a fault.")),
        retention_ran(m.gauge("citadel_audit_retention_run_seconds",
                              "Unix time of the last retention run that succeeded.")),
        dropped(m.counter("citadel_audit_retention_dropped_total", "Months of content that were dropped.")),
        held(m.gauge("citadel_audit_retention_held", "Months that are due, and that a hold keeps.")),
        retention_failures(
            m.counter("citadel_audit_retention_failures_total", "Retention runs that failed.")) {}

  Counter appended;
  CounterFamily drained;
  Counter refused, shed, repeated, conflicts, redacted, gaps, own_lost;
  Gauge undrained, journal_bytes, journal_limit, oldest, journal_failed;
  Counter drain_failures;
  Gauge size, age;
  Counter publish_failures;
  Gauge forked, quorum_met, cosignatures, contradicting;
  Counter witness_failures;
  Gauge verified, verified_entries;
  Counter verify_failures;
  Gauge retention_ran;
  Counter dropped;
  Gauge held;
  Counter retention_failures;
};

AuditMetrics::AuditMetrics(telemetry::Metrics& metrics) : handles_(std::make_unique<Handles>(metrics)) {}
AuditMetrics::~AuditMetrics() = default;

void AuditMetrics::update(const AuditStatus& status, WallTime now) {
  const auto& h = *handles_;
  const auto& journal = status.journal;
  h.appended.raise_to(journal.appended_total);
  h.drained.with({"stored"}).raise_to(status.drain.stored_total);
  h.drained.with({"repeated"}).raise_to(status.drain.repeated_total);
  h.drained.with({"conflicting"}).raise_to(status.drain.conflicting_total);
  h.drained.with({"undecodable"}).raise_to(status.drain.undecodable_total);
  h.drained.with({"dead_letter"}).raise_to(status.drain.dead_letter_total);
  h.refused.raise_to(status.refused_total);
  h.shed.raise_to(journal.shed_total);
  h.repeated.raise_to(status.repeated_total);
  h.conflicts.raise_to(status.id_conflicts_total);
  h.redacted.raise_to(status.redacted_total);
  h.gaps.raise_to(status.gaps_total);
  h.own_lost.raise_to(status.own_lost_total);
  h.undrained.set(static_cast<double>(journal.undrained_records));
  h.journal_bytes.set(static_cast<double>(journal.size_bytes));
  h.journal_limit.set(static_cast<double>(status.journal_bytes_max));
  h.oldest.set(seconds_since(journal.oldest_undrained, now));
  h.journal_failed.set(journal.failed ? 1 : 0);
  h.drain_failures.raise_to(status.drain.failures_total);
  const auto& publisher = status.publisher;
  h.size.set(publisher.published ? static_cast<double>(publisher.published->checkpoint.size) : 0);
  h.age.set(seconds_since(publisher.published_at, now));
  h.publish_failures.raise_to(publisher.failures_total);
  h.forked.set(publisher.fork ? 1 : 0);
  h.quorum_met.set(publisher.quorum_met ? 1 : 0);
  h.cosignatures.set(static_cast<double>(publisher.cosignatures));
  double contradicting = 0;
  std::uint64_t failures = 0;
  if (publisher.witnesses) {
    for (const auto& witness : publisher.witnesses->witnesses) {
      failures += witness.failures_total;
      if (witness.state == audit::WitnessState::inconsistent) ++contradicting;
    }
  }
  h.witness_failures.raise_to(failures);
  h.contradicting.set(contradicting);
  if (status.verified) {
    h.verified.set(std::chrono::duration<double>(status.verified->at.time_since_epoch()).count());
    h.verified_entries.set(static_cast<double>(status.verified->entries));
  }
  h.verify_failures.raise_to(status.verifications_failed_total);
  const auto& retention = status.retention;
  if (retention.ran_at)
    h.retention_ran.set(std::chrono::duration<double>(retention.ran_at->time_since_epoch()).count());
  h.dropped.raise_to(retention.dropped_total);
  h.held.set(static_cast<double>(retention.held));
  h.retention_failures.raise_to(retention.failures_total);
}

}  // namespace citadel::app
