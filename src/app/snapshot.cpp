#include "app/snapshot.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>

#include "app/status_json.hpp"
#include "base/time_text.hpp"
#include "json/serialize.hpp"

namespace citadel::app {
namespace {

namespace json = boost::json;

// To the millisecond: more digits say nothing.
double seconds(Monotonic::duration duration) {
  return static_cast<double>(std::chrono::round<std::chrono::milliseconds>(duration).count()) / 1000;
}

Dependency journal_dependency(const journal::Status& journal) {
  Dependency out{"journal", !journal.failed && !journal.full, true, {}};
  if (journal.failed) {
    out.reason = journal.failure + "; restart the daemon when the disk is well";
  } else if (journal.full) {
    out.reason = journal.full_reason;
  } else {
    out.reason = fmt::format("{} records wait for the database", journal.undrained_records);
  }
  return out;
}

Dependency database_dependency(const store::Status& database) {
  Dependency out{"database", false, false, {}};
  const auto& pool = database.pool;
  using resilience::BreakerState;
  if (database.breaker.state == BreakerState::open || database.breaker.state == BreakerState::forced_open) {
    out.reason = fmt::format("the circuit breaker is open: {}", database.breaker.reason);
  } else if (pool.paused) {
    out.reason = "the connection pool is paused: citadel pool resume";
  } else if (pool.open == 0) {
    out.reason = pool.last_open_error ? fmt::format("no session: {}", pool.last_open_error->message)
                                      : std::string("no session has been opened yet");
  } else {
    out.ready = true;
    out.reason = fmt::format("{} sessions open, {} busy", pool.open, pool.lent);
  }
  return out;
}

Dependency schema_dependency(const SchemaState& schema) {
  return {"schema", schema.known && schema.current, false,
          schema.known ? (schema.current ? std::string("as this version needs it") : schema.reason)
                       : std::string("not known yet: the database has not answered")};
}

Dependency keys_dependency(const access::KeyringStatus& keys) {
  Dependency out{"keys", keys.usable, false, {}};
  if (!keys.age) {
    out.reason = "not read from the database yet: the admin key alone is let in";
  } else if (!keys.usable) {
    out.reason = keys.foreign ? "access.pepper_file is not that of this database's keys"
                              : "the database has been away for longer than access.stale_max";
  } else {
    out.reason = fmt::format("{} keys, as of {} s ago", keys.keys,
                             std::chrono::floor<std::chrono::seconds>(*keys.age).count());
  }
  return out;
}

json::object pool_json_object(const pg::PoolStatus& pool) {
  json::object out{{"open", pool.open},
                   {"idle", pool.idle},
                   {"lent", pool.lent},
                   {"opening", pool.opening},
                   {"recovering", pool.recovering},
                   {"waiting", pool.waiting},
                   {"limit", pool.limit},
                   {"generation", pool.generation},
                   {"paused", pool.paused},
                   {"acquired_total", pool.acquired_total},
                   {"refused_total", pool.refused_queue_total + pool.refused_time_total},
                   {"reprepared_total", pool.reprepared_total}};
  if (pool.last_open_error) out["last_open_error"] = pool.last_open_error->message;
  return out;
}

json::object breaker_json(const resilience::BreakerStatus& breaker) {
  return {{"state", to_string(breaker.state)},
          {"reason", breaker.reason},
          {"calls", breaker.calls},
          {"failure_rate", std::round(breaker.failure_rate * 1000) / 1000},
          {"slow_call_rate", std::round(breaker.slow_call_rate * 1000) / 1000},
          {"retry_after_seconds", seconds(breaker.retry_after)},
          {"refused_total", breaker.refused_total},
          {"would_open_total", breaker.would_open_total}};
}

}  // namespace

json::object journal_json(const journal::Status& journal) {
  json::object out{{"producer", journal.producer.to_string()},
                   {"epoch", journal.epoch},
                   {"undrained_records", journal.undrained_records},
                   {"undrained_bytes", journal.undrained_bytes},
                   {"size_bytes", journal.size_bytes},
                   {"segments", journal.segments},
                   {"quarantined_segments", journal.quarantined_segments},
                   {"appended_total", journal.appended_total},
                   {"refused_full_total", journal.refused_full_total},
                   {"shed_total", journal.shed_total},
                   {"sync_errors_total", journal.sync_errors_total},
                   {"full", journal.full},
                   {"failed", journal.failed}};
  if (journal.oldest_undrained) out["oldest_undrained"] = format_time(*journal.oldest_undrained);
  if (journal.failed) out["failure"] = journal.failure;
  if (!journal.warning.empty()) out["warning"] = journal.warning;
  return out;
}

json::object drain_json(const drain::Status& drain) {
  json::object out{{"stored_total", drain.stored_total},
                   {"repeated_total", drain.repeated_total},
                   {"conflicting_total", drain.conflicting_total},
                   {"undecodable_total", drain.undecodable_total},
                   {"dead_letter_total", drain.dead_letter_total},
                   {"batches_total", drain.batches_total},
                   {"failures_total", drain.failures_total},
                   {"replayed_total", drain.replayed_total},
                   {"batch_seconds_total", std::round(drain.batch_seconds_total * 1000) / 1000}};
  if (drain.last_success) out["last_success"] = format_time(*drain.last_success);
  if (drain.last_error) out["last_error"] = drain.last_error->message;
  return out;
}

std::vector<Dependency> dependencies(const Snapshot& snapshot) {
  std::vector<Dependency> out{journal_dependency(snapshot.journal), database_dependency(snapshot.database),
                              schema_dependency(snapshot.schema)};
  if (snapshot.keys) out.push_back(keys_dependency(*snapshot.keys));
  if (snapshot.audit) {
    for (auto& d : audit_dependencies(*snapshot.audit)) out.push_back(std::move(d));
  }
  if (snapshot.stopping) out.push_back({"daemon", false, true, "is stopping"});
  return out;
}

bool takes_requests(const std::vector<Dependency>& all) {
  return std::ranges::all_of(all, [](const Dependency& d) { return d.ready || !d.required; });
}

std::string readiness_json(const std::vector<Dependency>& all) {
  const bool every = std::ranges::all_of(all, &Dependency::ready);
  json::array list;
  for (const auto& d : all) {
    list.push_back(
        json::object{{"name", d.name}, {"ready", d.ready}, {"required", d.required}, {"reason", d.reason}});
  }
  const std::string_view status = every ? "ready" : (takes_requests(all) ? "degraded" : "not_ready");
  return citadel::json::serialize(json::object{{"status", status}, {"dependencies", std::move(list)}});
}

std::string pool_json(const pg::PoolStatus& pool) {
  return citadel::json::serialize(pool_json_object(pool));
}

std::string status_json(const Snapshot& snapshot, std::string_view version) {
  const auto& db = snapshot.database;
  const json::value audit = snapshot.audit ? json::parse(audit_json(*snapshot.audit)) : json::value();
  return citadel::json::serialize(json::object{
      {"version", version},
      {"time", format_time(snapshot.at)},
      {"uptime_seconds", seconds(snapshot.uptime)},
      {"readiness", json::parse(readiness_json(dependencies(snapshot)))},
      {"database", json::object{{"pool", pool_json_object(db.pool)},
                                {"breaker", breaker_json(db.breaker)},
                                {"transactions_total", db.transactions_total},
                                {"retries_total", db.retries_total},
                                {"commit_unknown_total", db.commit_unknown_total},
                                {"commit_resolved_total", db.commit_resolved_total},
                                {"point_reads_total", snapshot.point_reads.reads_total},
                                {"point_read_queries_total", snapshot.point_reads.queries_total}}},
      {"journal", journal_json(snapshot.journal)},
      {"drain", drain_json(snapshot.drain)},
      {"audit", audit}});
}

}  // namespace citadel::app
