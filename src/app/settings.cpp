#include "app/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace citadel::app {
namespace {

// For the journal's segments and cursor, event loops, the direct connection, logs: three times what was
// counted.
constexpr std::size_t descriptors_reserved = 64;

std::chrono::milliseconds milliseconds(Duration duration) {
  return std::chrono::ceil<std::chrono::milliseconds>(duration);
}

pg::TlsMode tls_mode(TlsMode mode) {
  switch (mode) {
    case TlsMode::disable:
      return pg::TlsMode::disable;
    case TlsMode::prefer:
      return pg::TlsMode::prefer;
    case TlsMode::require:
      return pg::TlsMode::require;
    case TlsMode::verify_ca:
      return pg::TlsMode::verify_ca;
    case TlsMode::verify_full:
      return pg::TlsMode::verify_full;
  }
  return pg::TlsMode::verify_full;
}

std::size_t size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

resilience::BreakerOptions breaker_options(const BreakerConfig& config) {
  resilience::BreakerOptions out;
  out.window =
      config.window == BreakerWindow::count ? resilience::WindowKind::count : resilience::WindowKind::time;
  out.window_calls = size(config.window_calls);
  out.window_time = milliseconds(config.window_time);
  out.calls_min = size(config.calls_min);
  out.failure_rate = static_cast<double>(config.failure_percent) / 100;
  out.failures_in_row = size(config.failures_in_row);
  out.failing_for = milliseconds(config.failing_for);
  out.answer_within = milliseconds(config.answer_within);
  out.slow_call = milliseconds(config.slow_call);
  out.slow_call_rate = static_cast<double>(config.slow_percent) / 100;
  out.open_initial = milliseconds(config.open_initial);
  out.open_ceiling = milliseconds(config.open_ceiling);
  out.half_open_permits = size(config.half_open_permits);
  return out;
}

}  // namespace

pg::ConnectOptions connect_options(const Config& config) {
  pg::ConnectOptions out;
  out.host = config.database.host;
  out.port = static_cast<std::uint16_t>(config.database.port);
  out.database = config.database.name;
  out.user = config.database.user;
  out.password = config.database.password_file.value;
  out.tls = tls_mode(config.database.tls);
  out.tls_ca_file = config.database.tls_ca_file.string();
  out.application_name = config.database.application_name;
  out.route = config.database.route == Route::pgpool ? pg::Route::pgpool : pg::Route::direct;
  out.tcp_user_timeout = milliseconds(config.database.tcp_user_timeout);
  out.prepared_max = size(config.database.prepared_max);
  return out;
}

std::optional<pg::ConnectOptions> direct_options(const Config& config) {
  auto out = connect_options(config);
  if (!config.database_direct.host.empty()) {
    out.host = config.database_direct.host;
    out.port = static_cast<std::uint16_t>(config.database_direct.port);
    out.tls = tls_mode(config.database_direct.tls);
    out.tls_ca_file = config.database_direct.tls_ca_file.string();
  } else if (out.route != pg::Route::direct) {
    return std::nullopt;
  }
  out.route = pg::Route::direct;
  return out;
}

Result<pg::ConnectOptions> owner_options(const Config& config) {
  auto out = direct_options(config);
  if (!out) {
    return fail(Code::invalid_argument,
                "database.direct.host is not set: migrations need a connection to PostgreSQL past Pgpool-II");
  }
  if (config.owner.password_file.path.empty()) {
    return fail(Code::invalid_argument,
                "owner.password_file is not set: migrations run as the role that owns Citadel's schemas");
  }
  out->user = config.owner.user;
  out->password = config.owner.password_file.value;
  out->application_name += " migrate";
  return *std::move(out);
}

store::Options database_options(const Config& config) {
  store::Options out;
  auto& pool = out.pool;
  pool.connect = connect_options(config);
  pool.direct = direct_options(config);
  pool.size_min = size(config.pool.size_min);
  pool.size_max = size(config.pool.size_max);
  pool.queue_max = size(config.pool.queue_max);
  pool.connect_timeout = milliseconds(config.pool.connect_timeout);
  pool.recover_timeout = milliseconds(config.pool.recover_timeout);
  pool.lifetime = milliseconds(config.pool.lifetime);
  pool.idle_timeout = milliseconds(config.pool.idle_timeout);
  pool.validate_after = milliseconds(config.pool.validate_after);
  pool.leak_after = milliseconds(config.pool.leak_after);
  pool.patience = milliseconds(config.pool.patience);
  pool.adaptive = config.pool.adaptive;
  out.breaker = breaker_options(config.breaker);
  out.attempts_max = static_cast<int>(config.retry.attempts_max);
  out.backoff.initial = milliseconds(config.retry.delay_initial);
  out.backoff.ceiling = std::max(out.backoff.initial, milliseconds(config.retry.delay_ceiling));
  out.retry_budget.ratio = static_cast<double>(config.retry.budget_percent) / 100;
  out.retry_budget.per_second = static_cast<double>(config.retry.budget_per_second_min);
  return out;
}

journal::Options journal_options(const Config& config) {
  journal::Options out;
  out.folder = config.journal.folder;
  out.segment_bytes = static_cast<std::uint64_t>(config.journal.segment_bytes);
  out.size_bytes_max = static_cast<std::uint64_t>(config.journal.size_bytes_max);
  out.reserve_bytes = static_cast<std::uint64_t>(config.journal.reserve_bytes);
  out.payload_bytes_max = static_cast<std::uint32_t>(config.journal.payload_bytes_max);
  out.gather = config.journal.gather;
  out.gather_bytes = size(config.journal.gather_bytes);
  out.queue_records_max = size(config.journal.queue_records_max);
  return out;
}

drain::Options drain_options(const Config& config) {
  drain::Options out;
  out.batch_rows = size(config.drain.batch_rows);
  out.batch_bytes = size(config.drain.batch_bytes);
  out.interval = milliseconds(config.drain.interval);
  out.batch_timeout = milliseconds(config.drain.batch_timeout);
  return out;
}

journal::Options audit_journal_options(const Config& config) {
  journal::Options out = journal_options(config);
  out.folder = config.audit.journal_folder;
  out.segment_bytes = static_cast<std::uint64_t>(config.audit.segment_bytes);
  out.size_bytes_max = static_cast<std::uint64_t>(config.audit.size_bytes_max);
  out.reserve_bytes = static_cast<std::uint64_t>(config.audit.reserve_bytes);
  out.payload_bytes_max = 65'535;
  out.gather_bytes = std::min(out.gather_bytes, size(config.audit.segment_bytes) / 2);
  return out;
}

drain::Options audit_drain_options(const Config& config) {
  drain::Options out = drain_options(config);
  out.batch_rows = size(config.audit.batch_rows);
  out.batch_bytes = size(config.audit.batch_bytes);
  return out;
}

audit::EventLimits event_limits(const Config& config) {
  audit::EventLimits out;
  out.groups_bytes_max = size(config.audit.groups_bytes_max);
  out.events_max = size(config.audit.events_max);
  out.body_bytes_max = size(config.http.body_bytes_max);
  out.past_max = config.audit.past_max;
  out.future_max = config.audit.future_max;
  return out;
}

http::ServerOptions server_options(const Config& config) {
  http::ServerOptions out;
  const auto& listen = config.http.listen;
  const bool ipv6 = listen.host.find(':') != std::string::npos;
  out.listen = ipv6 ? fmt::format("[{}]:{}", listen.host, listen.port)
                    : fmt::format("{}:{}", listen.host, listen.port);
  out.connections_max = size(config.http.connections_max);
  out.limits.header_bytes_max = size(config.http.header_bytes_max);
  out.limits.header_time = config.http.header_timeout;
  out.limits.idle_time = config.http.idle_timeout;
  out.limits.body_time = config.http.request_timeout;
  return out;
}

std::size_t descriptors_wanted(const Config& config) {
  return size(config.http.connections_max) + size(config.pool.size_max) + descriptors_reserved;
}

std::size_t connections_that_fit(const Config& config, std::size_t descriptors) {
  const auto others = size(config.pool.size_max) + descriptors_reserved;
  const auto left = descriptors > others ? descriptors - others : 1;
  return std::min(size(config.http.connections_max), left);
}

std::int64_t pgpool_children(std::int64_t size_max) {
  return size_max + (size_max + 4) / 5;
}

std::size_t thread_count(const Config& config) {
  if (config.runtime.threads > 0) return size(config.runtime.threads);
  return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 8);
}

}  // namespace citadel::app
