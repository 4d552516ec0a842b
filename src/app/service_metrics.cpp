#include "app/snapshot.hpp"

namespace citadel::app {

using telemetry::Counter;
using telemetry::CounterFamily;
using telemetry::Gauge;
using telemetry::GaugeFamily;
using telemetry::Histogram;
using telemetry::HistogramFamily;

struct ServiceMetrics::Handles {
  explicit Handles(telemetry::Metrics& m)
      : requests(m.counters("citadel_http_requests_total", "HTTP requests answered.",
                            {"method", "route", "status"})),
        request_seconds(m.histograms("citadel_http_request_seconds",
                                     "Time from a request's last byte to its answer.", {"route"})),
        http_connections(m.gauge("citadel_http_connections", "HTTP connections open.")),
        http_refused(m.counter("citadel_http_connections_refused_total", "Connections beyond the limit.")),
        http_malformed(
            m.counter("citadel_http_malformed_total", "Requests refused by the parser or a limit.")),
        sessions(m.gauges("citadel_pool_sessions", "Database sessions by state.", {"state"})),
        waiting(m.gauge("citadel_pool_waiting", "Callers that wait for a session.")),
        limit(m.gauge("citadel_pool_limit", "Sessions that the adaptive limiter allows to be busy.")),
        acquire_seconds(m.histogram("citadel_pool_acquire_seconds", "Time a caller waited for a session.")),
        acquired(m.counter("citadel_pool_acquired_total", "Sessions lent.")),
        refused(m.counters("citadel_pool_refused_total", "Callers refused.", {"reason"})),
        opened(m.counter("citadel_pool_opened_total", "Sessions opened.")),
        open_failed(m.counter("citadel_pool_open_failed_total", "Sessions that could not be opened.")),
        closed(m.counter("citadel_pool_closed_total", "Sessions closed.")),
        recovered(m.counter("citadel_pool_recovered_total", "Sessions cancelled, drained and proven.")),
        leaked(m.counter("citadel_pool_leaked_total", "Sessions lent for longer than pool.leak_after.")),
        reprepared(m.counter("citadel_pool_reprepared_total", "Statements prepared again on their session.")),
        generation(m.gauge("citadel_pool_generation", "One more each time that all sessions are replaced.")),
        paused(m.gauge("citadel_pool_paused", "1 while the pool lends no session on demand.")),
        breaker(m.gauges("citadel_breaker_state", "1 for the circuit breaker's state.", {"state"})),
        breaker_refused(m.counter("citadel_breaker_refused_total", "Calls refused by the circuit breaker.")),
        breaker_would_open(m.counter("citadel_breaker_would_open_total",
                                     "How often it would have opened while observe_only.")),
        transactions(m.counter("citadel_transactions_total", "Transactions asked for.")),
        retries(m.counter("citadel_transaction_retries_total", "Transactions run again.")),
        retries_refused(
            m.counter("citadel_transaction_retries_refused_total", "Retries that the budget refused.")),
        commit_unknown(m.counter("citadel_commit_unknown_total", "Commits whose answer was lost.")),
        commit_resolved(
            m.counter("citadel_commit_resolved_total", "Of those, commits whose outcome was found out.")),
        point_reads(m.counter("citadel_point_reads_total", "Single records asked for.")),
        point_read_queries(m.counter("citadel_point_read_queries_total", "Queries that answered them.")),
        appended(m.counter("citadel_journal_appended_total", "Records acknowledged.")),
        syncs(m.counter("citadel_journal_syncs_total", "Group commits.")),
        sync_errors(m.counter("citadel_journal_sync_errors_total", "fdatasync errors.")),
        journal_full(
            m.counter("citadel_journal_refused_full_total", "Records refused because the journal is full.")),
        shed(m.counter("citadel_journal_shed_total", "Sheddable records refused to keep the reserve.")),
        undrained(m.gauge("citadel_journal_undrained_records", "Records not in the database yet.")),
        undrained_bytes(m.gauge("citadel_journal_undrained_bytes", "Bytes of those records.")),
        journal_bytes(m.gauge("citadel_journal_size_bytes", "Bytes of all segments.")),
        journal_limit(m.gauge("citadel_journal_limit_bytes", "Bytes that the segments may have.")),
        oldest(m.gauge("citadel_journal_oldest_undrained_seconds",
                       "Age of the oldest record not in the database.")),
        quarantined(m.gauge("citadel_journal_quarantined_segments", "Segments with damage.")),
        failed(m.gauge("citadel_journal_failed", "1 while the journal refuses records until a restart.")),
        drained(m.counters("citadel_drain_records_total", "Records that left the journal.", {"outcome"})),
        batches(m.counter("citadel_drain_batches_total", "Batches committed.")),
        replayed(
            m.counter("citadel_drain_replayed_total", "Records that a batch found below the watermark.")),
        batch_seconds(m.seconds_counter("citadel_drain_batch_seconds_total", "Time spent on those batches.")),
        drain_failures(m.counter("citadel_drain_failures_total", "Batches that failed and are tried again.")),
        ready(m.gauges("citadel_ready", "1 where a dependency is ready.", {"dependency"})),
        audit(m) {}

  CounterFamily requests;
  HistogramFamily request_seconds;
  Gauge http_connections;
  Counter http_refused, http_malformed;
  GaugeFamily sessions;
  Gauge waiting, limit;
  Histogram acquire_seconds;
  Counter acquired;
  CounterFamily refused;
  Counter opened, open_failed, closed, recovered, leaked, reprepared;
  Gauge generation, paused;
  GaugeFamily breaker;
  Counter breaker_refused, breaker_would_open, transactions, retries, retries_refused, commit_unknown,
      commit_resolved, point_reads, point_read_queries, appended, syncs, sync_errors, journal_full, shed;
  Gauge undrained, undrained_bytes, journal_bytes, journal_limit, oldest, quarantined, failed;
  CounterFamily drained;
  Counter batches, replayed, batch_seconds, drain_failures;
  GaugeFamily ready;
  AuditMetrics audit;

  void set_pool(const pg::PoolStatus& pool) const {
    sessions.with({"idle"}).set(static_cast<double>(pool.idle));
    sessions.with({"lent"}).set(static_cast<double>(pool.lent));
    sessions.with({"opening"}).set(static_cast<double>(pool.opening));
    sessions.with({"recovering"}).set(static_cast<double>(pool.recovering));
    waiting.set(static_cast<double>(pool.waiting));
    limit.set(static_cast<double>(pool.limit));
    acquired.raise_to(pool.acquired_total);
    refused.with({"queue_full"}).raise_to(pool.refused_queue_total);
    refused.with({"timeout"}).raise_to(pool.refused_time_total);
    opened.raise_to(pool.opened_total);
    open_failed.raise_to(pool.open_failed_total);
    closed.raise_to(pool.closed_total);
    recovered.raise_to(pool.recovered_total);
    leaked.raise_to(pool.leaked_total);
    reprepared.raise_to(pool.reprepared_total);
    generation.set(static_cast<double>(pool.generation));
    paused.set(pool.paused ? 1 : 0);
  }

  void set_database(const store::Status& database) const {
    using resilience::BreakerState;
    for (const auto state :
         {BreakerState::closed, BreakerState::open, BreakerState::half_open, BreakerState::forced_open,
          BreakerState::forced_closed, BreakerState::observe_only}) {
      breaker.with({to_string(state)}).set(database.breaker.state == state ? 1 : 0);
    }
    breaker_refused.raise_to(database.breaker.refused_total);
    breaker_would_open.raise_to(database.breaker.would_open_total);
    transactions.raise_to(database.transactions_total);
    retries.raise_to(database.retries_total);
    retries_refused.raise_to(database.retries_refused_total);
    commit_unknown.raise_to(database.commit_unknown_total);
    commit_resolved.raise_to(database.commit_resolved_total);
  }

  void set_journal(const journal::Status& journal, WallTime now) const {
    appended.raise_to(journal.appended_total);
    syncs.raise_to(journal.syncs_total);
    sync_errors.raise_to(journal.sync_errors_total);
    journal_full.raise_to(journal.refused_full_total);
    shed.raise_to(journal.shed_total);
    undrained.set(static_cast<double>(journal.undrained_records));
    undrained_bytes.set(static_cast<double>(journal.undrained_bytes));
    journal_bytes.set(static_cast<double>(journal.size_bytes));
    const auto age =
        journal.oldest_undrained ? now - *journal.oldest_undrained : std::chrono::microseconds(0);
    oldest.set(std::chrono::duration<double>(age).count());
    quarantined.set(static_cast<double>(journal.quarantined_segments));
    failed.set(journal.failed ? 1 : 0);
  }

  void set_drain(const drain::Status& drain) const {
    drained.with({"stored"}).raise_to(drain.stored_total);
    drained.with({"repeated"}).raise_to(drain.repeated_total);
    drained.with({"conflicting"}).raise_to(drain.conflicting_total);
    drained.with({"undecodable"}).raise_to(drain.undecodable_total);
    drained.with({"dead_letter"}).raise_to(drain.dead_letter_total);
    batches.raise_to(drain.batches_total);
    replayed.raise_to(drain.replayed_total);
    batch_seconds.raise_to(static_cast<std::uint64_t>(drain.batch_seconds_total * 1e6));
    drain_failures.raise_to(drain.failures_total);
  }
};

ServiceMetrics::ServiceMetrics(telemetry::Metrics& metrics) : handles_(std::make_unique<Handles>(metrics)) {}
ServiceMetrics::~ServiceMetrics() = default;

void ServiceMetrics::update(const Snapshot& snapshot, const http::ServerStats& server) {
  handles_->http_connections.set(static_cast<double>(server.connections_open.load()));
  handles_->http_refused.raise_to(server.connections_refused.load());
  handles_->http_malformed.raise_to(server.requests_malformed.load());
  handles_->set_pool(snapshot.database.pool);
  handles_->set_database(snapshot.database);
  handles_->point_reads.raise_to(snapshot.point_reads.reads_total);
  handles_->point_read_queries.raise_to(snapshot.point_reads.queries_total);
  handles_->set_journal(snapshot.journal, snapshot.at);
  handles_->journal_limit.set(static_cast<double>(snapshot.journal_bytes_max));
  handles_->set_drain(snapshot.drain);
  if (snapshot.audit) handles_->audit.update(*snapshot.audit, snapshot.at);
  for (const auto& d : dependencies(snapshot)) handles_->ready.with({d.name}).set(d.ready ? 1 : 0);
}

void ServiceMetrics::on_request(const http::RequestSummary& summary) {
  const std::string_view route = summary.route.empty() ? std::string_view("none") : summary.route;
  handles_->requests.with({to_string(summary.method), route, std::to_string(summary.status)}).increment();
  handles_->request_seconds.with({route}).observe(std::chrono::duration<double>(summary.took).count());
}

void ServiceMetrics::on_acquired(double seconds) {
  handles_->acquire_seconds.observe(seconds);
}

}  // namespace citadel::app
