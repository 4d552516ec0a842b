// long file: the keys are one table.
#include "app/config_keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "app/config_value.hpp"
#include "base/nearest.hpp"
#include "base/utf8.hpp"

namespace citadel::app {
namespace {

// Names in the order of the enums' values.
constexpr std::array<std::string_view, 5> tls_names{"disable", "prefer", "require", "verify_ca",
                                                    "verify_full"};
constexpr std::array<std::string_view, 2> route_names{"pgpool", "direct"};
constexpr std::array<std::string_view, 2> window_names{"count", "time"};
constexpr std::array<std::string_view, 4> mode_names{"normal", "observe_only", "forced_open",
                                                     "forced_closed"};
constexpr std::array<std::string_view, 4> level_names{"debug", "info", "warning", "error"};
constexpr std::array<std::string_view, 2> format_names{"text", "json"};
constexpr std::array<std::string_view, 4> profile_names{"none", "eu_ai_act", "pci_dss", "hipaa"};

// A choice for the enum that At reaches.
template <auto At>
ChoiceValue choice(std::span<const std::string_view> names) {
  using Enum = std::remove_reference_t<decltype(At(std::declval<Config&>()))>;
  return {names,
          [](const Config& config) { return static_cast<std::size_t>(At(const_cast<Config&>(config))); },
          [](Config& config, std::size_t index) { At(config) = static_cast<Enum>(index); }};
}

// A member of a member of Config, as the table's rows need it.
#define AT(member) [](Config& c) -> decltype((c.member)) { return c.member; }

constexpr std::int64_t kib = 1 << 10, mib = 1 << 20, gib = 1 << 30, tib = std::int64_t{1} << 40;
constexpr auto day = std::chrono::hours(24);

// clang-format off
const std::array keys = std::to_array<Key>({
    {"http", "listen", EndpointValue{AT(http.listen)}, Reload::no,
     "Address and port of the HTTP API. Port 0 takes a free one."},
    {"http", "connections_max", IntegerValue{AT(http.connections_max), 1, 100'000}, Reload::no,
     "Connections served at once; more are closed with 503."},
    {"http", "header_bytes_max", SizeValue{AT(http.header_bytes_max), kib, mib}, Reload::no,
     "Request line and headers of one request; more is answered with 431."},
    {"http", "body_bytes_max", SizeValue{AT(http.body_bytes_max), kib, gib}, Reload::no,
     "Body of one request as it is sent; more is answered with 413."},
    {"http", "header_timeout", DurationValue{AT(http.header_timeout), 100ms, 10min}, Reload::no,
     "From the first byte of a request to the end of its headers; then 408."},
    {"http", "idle_timeout", DurationValue{AT(http.idle_timeout), 1s, 24h}, Reload::no,
     "A kept-alive connection without a request is closed after this."},
    {"http", "request_timeout", DurationValue{AT(http.request_timeout), 100ms, 1h}, Reload::no,
     "The deadline of a request, from the end of its headers to its answer."},

    {"database", "host", TextValue{AT(database.host), false}, Reload::no,
     "Where Pgpool-II (or PostgreSQL) listens: a name, an address, or the folder of its Unix socket."},
    {"database", "port", IntegerValue{AT(database.port), 1, 65535}, Reload::no,
     "Its port: Pgpool-II 5433, PostgreSQL 5432."},
    {"database", "name", TextValue{AT(database.name), false}, Reload::no,
     "The database."},
    {"database", "user", TextValue{AT(database.user), false}, Reload::no,
     "The daemon's role. It owns nothing and must not be a superuser."},
    {"database", "password_file", SecretFileValue{AT(database.password_file)}, Reload::yes,
     "The file whose first line is the role's password. Not set: no password is sent. Read again on reload."},
    {"database", "route", choice<+AT(database.route)>(route_names), Reload::no,
     "What is behind host and port. Through pgpool, statements that it breaks on are refused or sent in another form."},
    {"database", "tls", choice<+AT(database.tls)>(tls_names), Reload::no,
     "Encryption of the connection. verify_ca checks the certificate's issuer, verify_full its host name too."},
    {"database", "tls_ca_file", PathValue{AT(database.tls_ca_file)}, Reload::no,
     "Certificates of the issuers to trust, PEM. Needed by verify_ca and verify_full."},
    {"database", "application_name", TextValue{AT(database.application_name), false}, Reload::no,
     "How sessions are named in pg_stat_activity."},
    {"database", "tcp_user_timeout", DurationValue{AT(database.tcp_user_timeout), 1s, 10min}, Reload::no,
     "A socket whose data stays unacknowledged for this long is given up."},
    {"database", "prepared_max", IntegerValue{AT(database.prepared_max), 0, 10'000}, Reload::no,
     "Statements kept prepared on one session; the least recently used leaves."},

    {"database.direct", "host", TextValue{AT(database_direct.host), true}, Reload::no,
     "PostgreSQL itself, past Pgpool-II: for migrations and for cancelling statements. Empty: there is no such way."},
    {"database.direct", "port", IntegerValue{AT(database_direct.port), 1, 65535}, Reload::no,
     "Its port."},
    {"database.direct", "tls", choice<+AT(database_direct.tls)>(tls_names), Reload::no,
     "As database.tls."},
    {"database.direct", "tls_ca_file", PathValue{AT(database_direct.tls_ca_file)}, Reload::no,
     "As database.tls_ca_file."},

    {"owner", "user", TextValue{AT(owner.user), false}, Reload::no,
     "The role that owns Citadel's schemas. Used by `citadel migrate` only."},
    {"owner", "password_file", SecretFileValue{AT(owner.password_file)}, Reload::yes,
     "The file whose first line is that role's password."},

    {"pool", "size_min", IntegerValue{AT(pool.size_min), 0, 1000}, Reload::no,
     "Sessions kept open when idle."},
    {"pool", "size_max", IntegerValue{AT(pool.size_max), 1, 1000}, Reload::no,
     "Never more sessions than this, those being opened included. Pgpool-II needs as many num_init_children, and headroom."},
    {"pool", "queue_max", IntegerValue{AT(pool.queue_max), 0, 1'000'000}, Reload::no,
     "Callers that wait for a session; more are refused at once."},
    {"pool", "connect_timeout", DurationValue{AT(pool.connect_timeout), 10ms, 5min}, Reload::no,
     "The longest that opening a session may take. With all slots taken, Pgpool-II lets a client wait until then."},
    {"pool", "recover_timeout", DurationValue{AT(pool.recover_timeout), 10ms, 5min}, Reload::no,
     "The longest that cancelling and proving a session may take; then it is closed."},
    {"pool", "lifetime", DurationValue{AT(pool.lifetime), 1s, 7 * day}, Reload::no,
     "A session older than this (± 10%) is replaced."},
    {"pool", "idle_timeout", DurationValue{AT(pool.idle_timeout), 1s, 7 * day}, Reload::no,
     "A session beyond size_min that is idle for this long is closed."},
    {"pool", "validate_after", DurationValue{AT(pool.validate_after), 0s, day}, Reload::no,
     "A session idle for longer is proven by a round trip before it is lent."},
    {"pool", "leak_after", DurationValue{AT(pool.leak_after), 100ms, day}, Reload::no,
     "A session lent for longer is reported once, with the place that took it."},
    {"pool", "patience", DurationValue{AT(pool.patience), 1ms, 1min}, Reload::no,
     "Who has waited this long is served beyond the adaptive limit, within size_max."},
    {"pool", "adaptive", BooleanValue{AT(pool.adaptive)}, Reload::no,
     "Keep as many sessions busy as the database answers fastest with, at most size_max."},

    {"breaker", "mode", choice<+AT(breaker.mode)>(mode_names), Reload::yes,
     "normal, or observe_only (counts, refuses nothing), forced_open (refuses all), forced_closed (off)."},
    {"breaker", "window", choice<+AT(breaker.window)>(window_names), Reload::no,
     "Rates are taken over the last calls (count) or over the last time (time)."},
    {"breaker", "window_calls", IntegerValue{AT(breaker.window_calls), 1, 100'000}, Reload::no,
     "The last so many calls, with window count."},
    {"breaker", "window_time", DurationValue{AT(breaker.window_time), 100ms, 1h}, Reload::no,
     "The last so long, with window time."},
    {"breaker", "calls_min", IntegerValue{AT(breaker.calls_min), 1, 100'000}, Reload::no,
     "Fewer calls in the window decide nothing."},
    {"breaker", "failure_percent", IntegerValue{AT(breaker.failure_percent), 1, 100}, Reload::no,
     "Opens at this share of failed calls."},
    {"breaker", "failures_in_row", IntegerValue{AT(breaker.failures_in_row), 1, 100'000}, Reload::no,
     "Opens at so many failed calls without a success between, where the first is failing_for ago."},
    {"breaker", "failing_for", DurationValue{AT(breaker.failing_for), 1ms, 1h}, Reload::no,
     "How long calls have failed in a row before that opens it. More than one backend's death takes: 0.1 s."},
    {"breaker", "answer_within", DurationValue{AT(breaker.answer_within), 1ms, 1h}, Reload::no,
     "A caller's deadline that ends a call later than this counts as a failure; an earlier one says nothing."},
    {"breaker", "slow_call", DurationValue{AT(breaker.slow_call), 1ms, 1h}, Reload::no,
     "A call that takes this long is a slow one."},
    {"breaker", "slow_percent", IntegerValue{AT(breaker.slow_percent), 1, 101}, Reload::no,
     "Opens at this share of slow calls; 101: never."},
    {"breaker", "open_initial", DurationValue{AT(breaker.open_initial), 1ms, 1h}, Reload::no,
     "How long it first stays open before it tries again. Doubles with each failed try."},
    {"breaker", "open_ceiling", DurationValue{AT(breaker.open_ceiling), 1ms, 1h}, Reload::no,
     "The longest that it stays open before it tries again."},
    {"breaker", "half_open_permits", IntegerValue{AT(breaker.half_open_permits), 1, 1000}, Reload::no,
     "Calls let through to find out whether the database is back."},

    {"retry", "attempts_max", IntegerValue{AT(retry.attempts_max), 1, 100}, Reload::no,
     "How often a transaction is tried, the first time included."},
    {"retry", "delay_initial", DurationValue{AT(retry.delay_initial), 1ms, 1min}, Reload::no,
     "The ceiling of the wait before the second try; it doubles with each, and chance picks between 0 and it."},
    {"retry", "delay_ceiling", DurationValue{AT(retry.delay_ceiling), 1ms, 10min}, Reload::no,
     "The wait's ceiling stops doubling here."},
    {"retry", "budget_percent", IntegerValue{AT(retry.budget_percent), 0, 100}, Reload::no,
     "Retries may add this share to the calls of the last seconds; beyond it the error is returned."},
    {"retry", "budget_per_second_min", IntegerValue{AT(retry.budget_per_second_min), 0, 100'000}, Reload::no,
     "Retries a second that are always allowed, so that few calls can be retried as well."},

    {"journal", "folder", PathValue{AT(journal.folder)}, Reload::no,
     "Where acknowledged records wait for the database; a local disk. Empty: `journal` in local.data."},
    {"journal", "segment_bytes", SizeValue{AT(journal.segment_bytes), 256 * kib, 4 * gib}, Reload::no,
     "Size of one file, allocated in advance."},
    {"journal", "size_bytes_max", SizeValue{AT(journal.size_bytes_max), 512 * kib, 16 * tib}, Reload::no,
     "All files together. When it is reached, records are refused with 507."},
    {"journal", "reserve_bytes", SizeValue{AT(journal.reserve_bytes), 0, tib}, Reload::no,
     "Room kept for critical records when sheddable ones are refused; at most half a segment counts. All request records are "
     "critical: for them it changes nothing."},
    {"journal", "payload_bytes_max", SizeValue{AT(journal.payload_bytes_max), kib, 16 * mib}, Reload::no,
     "One record, encoded; larger ones are refused."},
    {"journal", "gather", DurationValue{AT(journal.gather), 0s, 1s}, Reload::no,
     "The longest that records gather before they are written and synced together."},
    {"journal", "gather_bytes", SizeValue{AT(journal.gather_bytes), kib, gib}, Reload::no,
     "With this many bytes a group is written at once."},
    {"journal", "queue_records_max", IntegerValue{AT(journal.queue_records_max), 1, 10'000'000}, Reload::no,
     "Records that wait to be written; more are refused with 503."},

    {"drain", "batch_rows", IntegerValue{AT(drain.batch_rows), 1, 1'000'000}, Reload::no,
     "Records written to the database in one transaction, at most."},
    {"drain", "batch_bytes", SizeValue{AT(drain.batch_bytes), 64 * kib, gib}, Reload::no,
     "Their size, at most."},
    {"drain", "interval", DurationValue{AT(drain.interval), 1ms, 1h}, Reload::no,
     "How long records gather before a batch that is not full is written."},
    {"drain", "batch_timeout", DurationValue{AT(drain.batch_timeout), 1s, 1h}, Reload::no,
     "The longest that one batch may take; it is rolled back and tried again then."},

    {"usage", "past_max", DurationValue{AT(usage.past_max), 1h, 36'500 * day}, Reload::yes,
     "Request records that began longer ago are refused."},
    {"usage", "future_max", DurationValue{AT(usage.future_max), 1s, 366 * day}, Reload::yes,
     "Request records that begin further in the future are refused."},
    {"usage", "partitions_ahead", IntegerValue{AT(usage.partitions_ahead), 1, 60}, Reload::no,
     "Days for which partitions of usage.request exist in advance."},
    {"usage", "page_rows_max", IntegerValue{AT(usage.page_rows_max), 1, 100'000}, Reload::yes,
     "Request records in one page of an answer, at most."},

    {"audit", "enabled", BooleanValue{AT(audit.enabled)}, Reload::no,
     "Keep the audit trail. Without it nothing is recorded, and the routes under /v1/audit and /tlog are not there."},
    {"audit", "origin", TextValue{AT(audit.origin), true}, Reload::no,
     "The log's name, the first line of its checkpoints. Empty: the name that the signing key has."},
    {"audit", "signing_key_file", PathValue{AT(audit.signing_key_file)}, Reload::no,
     "The key that signs checkpoints, and below it verifier keys of older ones. Empty: `audit-signing.key` in local.data."},
    {"audit", "master_key_file", PathValue{AT(audit.master_key_file)}, Reload::no,
     "Master keys of what is encrypted, one a line, the newest first. Empty: `audit-master.key` in local.data."},
    {"audit", "master_key_command", TextValue{AT(audit.master_key_command), true}, Reload::no,
     "A shell command that prints the master keys in place of the file. It is run at the start."},
    {"audit", "checkpoint_folder", PathValue{AT(audit.checkpoint_folder)}, Reload::no,
     "Where signed checkpoints are kept, best on another disk than the database. Empty: `checkpoint` in local.data."},
    {"audit", "checkpoint_interval", DurationValue{AT(audit.checkpoint_interval), 50ms, 1h}, Reload::no,
     "A checkpoint is signed after each batch, and what triggers saw is looked for at least this often."},
    {"audit", "witness_policy_file", PathValue{AT(audit.witness_policy_file)}, Reload::no,
     "Witnesses that cosign checkpoints, with their URLs, and the quorum, as a C2SP tlog-policy. Empty: none is asked."},
    {"audit", "witness_ca_file", PathValue{AT(audit.witness_ca_file)}, Reload::no,
     "CAs, as PEM, that certificates of witnesses with https URLs must go back to. Empty: those that the system trusts."},
    {"audit", "witness_timeout", DurationValue{AT(audit.witness_timeout), 50ms, 8s}, Reload::no,
     "How long a checkpoint waits for witnesses before it is published with what it has."},
    {"audit", "journal_folder", PathValue{AT(audit.journal_folder)}, Reload::no,
     "Where acknowledged events wait for the log; a local disk. Empty: `audit-journal` in local.data."},
    {"audit", "segment_bytes", SizeValue{AT(audit.segment_bytes), mib, 4 * gib}, Reload::no,
     "As journal.segment_bytes, of the audit journal. How it gathers is as the journal does."},
    {"audit", "size_bytes_max", SizeValue{AT(audit.size_bytes_max), 2 * mib, 16 * tib}, Reload::no,
     "As journal.size_bytes_max. When it is reached, events are refused with 507."},
    {"audit", "reserve_bytes", SizeValue{AT(audit.reserve_bytes), 64 * kib, tib}, Reload::no,
     "The part that only events that must be recorded may use."},
    {"audit", "batch_rows", IntegerValue{AT(audit.batch_rows), 1, 1'000'000}, Reload::no,
     "Events that are sequenced in one transaction, at most."},
    {"audit", "batch_bytes", SizeValue{AT(audit.batch_bytes), 64 * kib, gib}, Reload::no,
     "Their size, at most."},
    {"audit", "events_max", IntegerValue{AT(audit.events_max), 1, 100'000}, Reload::no,
     "Events in one body, at most."},
    {"audit", "groups_bytes_max", SizeValue{AT(audit.groups_bytes_max), 0, 48 * kib}, Reload::no,
     "Prompt, response, tool and details of one event together, at most."},
    {"audit", "past_max", DurationValue{AT(audit.past_max), 1min, 36'500 * day}, Reload::no,
     "Events that happened longer ago are refused."},
    {"audit", "future_max", DurationValue{AT(audit.future_max), 1s, 366 * day}, Reload::no,
     "Events that happen further in the future are refused."},
    {"audit", "page_rows_max", IntegerValue{AT(audit.page_rows_max), 1, 10'000}, Reload::no,
     "Entries in one page of an answer, at most."},
    {"audit", "redact", TextValue{AT(audit.redact), true}, Reload::no,
     "Names of members, with commas between, whose values are never stored, beside passwords, keys and the like."},
    {"audit", "public_log", BooleanValue{AT(audit.public_log)}, Reload::no,
     "Serve /tlog without a key. Its leaves hold ids, times and digests, and nothing of what the events say."},
    {"audit", "auth_success_window", DurationValue{AT(audit.auth_success_window), 0s, 366 * day}, Reload::no,
     "A key's success from an address is recorded once in this time; each failure is. 0: each success too."},

    {"audit.retention", "enabled", BooleanValue{AT(audit_retention.enabled)}, Reload::no,
     "Drop contents of audit events when they are due. Without it nothing is dropped, and months are still made ahead."},
    {"audit.retention", "profile", choice<+AT(audit_retention.profile)>(profile_names), Reload::no,
     "Whose floor holds for all three classes: eu_ai_act 184d, pci_dss 366d, hipaa 2192d. A time under it is refused."},
    {"audit.retention", "short", DurationValue{AT(audit_retention.short_), 0s, 36'500 * day}, Reload::no,
     "How long contents of the class short are kept (inferences, tools). 0s: 184d, or the profile's floor where that is longer."},
    {"audit.retention", "standard", DurationValue{AT(audit_retention.standard), 0s, 36'500 * day}, Reload::no,
     "The same of the class standard (authentication, who read). 0s: 366d, or the floor."},
    {"audit.retention", "extended", DurationValue{AT(audit_retention.extended), 0s, 36'500 * day}, Reload::no,
     "The same of the class extended (changes, keys, roles, the trail itself). 0s: 2192d, or the floor."},
    {"audit.retention", "interval", DurationValue{AT(audit_retention.interval), 1s, 7 * day}, Reload::no,
     "How often it is looked for what is due."},
    {"audit.retention", "months_ahead", IntegerValue{AT(audit_retention.months_ahead), 0, 12}, Reload::no,
     "Partitions of that many months are made ahead."},

    {"log", "level", choice<+AT(log.level)>(level_names), Reload::yes,
     "What is less important is not logged."},
    {"log", "format", choice<+AT(log.format)>(format_names), Reload::yes,
     "Lines for people (text) or for programs (json)."},

    {"admin", "key_file", PathValue{AT(admin.key_file)}, Reload::no,
     "Holds the admin key; made at the first start, readable by its owner only. Empty: `admin.key` in local.data."},

    {"access", "pepper_file", PathValue{AT(access.pepper_file)}, Reload::no,
     "The secret under which API keys are hashed; made at the first start, readable by its owner only. Daemons of one database share it. Empty: `access.pepper` beside admin.key_file."},
    {"access", "stale_max", DurationValue{AT(access.stale_max), 10s, 7 * day}, Reload::no,
     "How long API keys are let in as they were known last, while the database is away. The admin key always is."},

    {"local", "data", PathValue{AT(local.data)}, Reload::no,
     "The data folder of `citadel up`. Empty: /var/lib/citadel for root, else ~/.local/share/citadel."},
    {"local", "user", TextValue{AT(local.user), false}, Reload::no,
     "Started as root, the private PostgreSQL and Pgpool-II run as this user."},
    {"local", "postgres_port", IntegerValue{AT(local.postgres_port), 1, 65535}, Reload::no,
     "Port of the private PostgreSQL."},
    {"local", "pgpool_port", IntegerValue{AT(local.pgpool_port), 1, 65535}, Reload::no,
     "Port of the private Pgpool-II."},

    {"runtime", "threads", IntegerValue{AT(runtime.threads), 0, 64}, Reload::no,
     "I/O threads. 0: one for each core."},
    {"runtime", "stop_timeout", DurationValue{AT(runtime.stop_timeout), 1s, 1h}, Reload::no,
     "The longest that a stop waits for requests to finish and for the journal to drain."},
});

constexpr std::array sections = std::to_array<Section>({
    {"http", "The HTTP server."},
    {"database", "The way to the database for everything but migrations."},
    {"database.direct", "A second way, past Pgpool-II. It uses the same database, user and password."},
    {"owner", "The role that owns the schemas."},
    {"pool", "The connection pool; docs/connection-pooling.md explains it."},
    {"breaker", "The circuit breaker before the database; docs/errors.md explains it."},
    {"retry", "Retries of transactions."},
    {"journal", "The local, durable queue before the database."},
    {"drain", "The way from the journal into the database."},
    {"usage", "Request records."},
    {"audit", "The audit trail; docs/audit.md explains it."},
    {"audit.retention", "How long the contents of audit events are kept; docs/audit.md, Retention."},
    {"log", "The log, on standard error."},
    {"admin", "The admin key."},
    {"access", "API keys; docs/security.md explains them."},
    {"local", "The private servers of `citadel up`."},
    {"runtime", "Threads, start and stop."},
});
// clang-format on
#undef AT

// CITADEL_URL and CITADEL_KEY_FILE point client commands at a daemon; the others are for tests.
constexpr std::array<std::string_view, 7> variables{
    "CITADEL_URL",    "CITADEL_KEY_FILE",     "CITADEL_CRASH_POINT*", "CITADEL_SIM_SEED",
    "CITADEL_TEST_*", "CITADEL_FUZZ_SECONDS", "CITADEL_CRASH_POINTS"};

std::unexpected<Error> bad(const Key& key) {
  return fail(Code::invalid_argument, fmt::format("is not {}; good: {}, for example {}", type_name(key),
                                                  limit_text(key), example_text(key)));
}

template <class T>
Result<void> set_in_range(const Key& key, T& target, T value, T min, T max) {
  if (value < min || value > max) {
    return fail(Code::invalid_argument, fmt::format("is out of range; good: {}", limit_text(key)));
  }
  target = value;
  return {};
}

// Control characters would forge lines of a log, or be cut short by libpq.
struct SetFromText {
  const Key& key;
  Config& config;
  std::string_view text;

  Result<void> operator()(const TextValue& v) const {
    if (has_control(text)) return fail(Code::invalid_argument, "holds a control character");
    if (text.empty() && !v.may_be_empty) return fail(Code::invalid_argument, "must not be empty");
    v.at(config) = text;
    return {};
  }
  Result<void> operator()(const IntegerValue& v) const {
    const auto number = parse_integer(text);
    if (!number) return bad(key);
    return set_in_range(key, v.at(config), *number, v.min, v.max);
  }
  Result<void> operator()(const SizeValue& v) const {
    const auto bytes = parse_size(text);
    if (!bytes) return bad(key);
    return set_in_range(key, v.at(config), *bytes, v.min, v.max);
  }
  Result<void> operator()(const DurationValue& v) const {
    const auto duration = parse_duration(text);
    if (!duration) return bad(key);
    return set_in_range(key, v.at(config), *duration, v.min, v.max);
  }
  Result<void> operator()(const BooleanValue& v) const {
    if (text != "true" && text != "false") return bad(key);
    v.at(config) = text == "true";
    return {};
  }
  Result<void> operator()(const ChoiceValue& v) const {
    const auto at = std::ranges::find(v.names, text);
    if (at == v.names.end()) {
      const auto meant = nearest(text, v.names);
      return fail(Code::invalid_argument,
                  fmt::format("is not {}{}", limit_text(key),
                              meant.empty() ? "" : fmt::format("; did you mean {}?", meant)));
    }
    v.set(config, static_cast<std::size_t>(at - v.names.begin()));
    return {};
  }
  Result<void> operator()(const PathValue& v) const {
    if (has_control(text)) return fail(Code::invalid_argument, "holds a control character");
    v.at(config) = text;
    return {};
  }
  Result<void> operator()(const SecretFileValue& v) const {
    if (has_control(text)) return fail(Code::invalid_argument, "holds a control character");
    v.at(config) = {std::filesystem::path(text), Secret()};
    return {};
  }
  Result<void> operator()(const EndpointValue& v) const {
    auto endpoint = parse_endpoint(text);
    if (!endpoint) return bad(key);
    v.at(config) = *std::move(endpoint);
    return {};
  }
};

struct TextOf {
  Config& config;
  std::string operator()(const TextValue& v) const { return v.at(config); }
  std::string operator()(const IntegerValue& v) const { return std::to_string(v.at(config)); }
  std::string operator()(const SizeValue& v) const { return format_size(v.at(config)); }
  std::string operator()(const DurationValue& v) const { return format_duration(v.at(config)); }
  std::string operator()(const BooleanValue& v) const { return v.at(config) ? "true" : "false"; }
  std::string operator()(const ChoiceValue& v) const { return std::string(v.names[v.get(config)]); }
  std::string operator()(const PathValue& v) const { return v.at(config).string(); }
  std::string operator()(const SecretFileValue& v) const { return v.at(config).path.string(); }
  std::string operator()(const EndpointValue& v) const { return format_endpoint(v.at(config)); }
};

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

}  // namespace

std::string Key::full_name() const {
  return fmt::format("{}.{}", section, name);
}

std::string Key::environment_name() const {
  auto text = fmt::format("CITADEL_{}_{}", section, name);
  for (char& c : text) {
    if (c == '.') c = '_';
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

std::span<const Key> config_keys() {
  return keys;
}
std::span<const Section> config_sections() {
  return sections;
}

const Key* find_key(std::string_view section, std::string_view name) {
  const auto at =
      std::ranges::find_if(keys, [&](const Key& k) { return k.section == section && k.name == name; });
  return at == keys.end() ? nullptr : &*at;
}

std::span<const std::string_view> other_variables() {
  return variables;
}

std::string_view type_name(const Key& key) {
  static constexpr std::array<std::string_view, std::variant_size_v<KeyValue>> names{
      "a text",   "an integer", "a size",        "a duration", "a boolean",
      "a choice", "a path",     "a secret file", "a host:port"};
  return names[key.value.index()];
}

std::string limit_text(const Key& key) {
  return std::visit(
      Overloaded{
          [](const TextValue& v) -> std::string {
            return v.may_be_empty ? "any text" : "any text but the empty one";
          },
          [](const IntegerValue& v) { return fmt::format("{} to {}", v.min, v.max); },
          [](const SizeValue& v) { return fmt::format("{} to {}", format_size(v.min), format_size(v.max)); },
          [](const DurationValue& v) {
            return fmt::format("{} to {}", format_duration(v.min), format_duration(v.max));
          },
          [](const BooleanValue&) -> std::string { return "true or false"; },
          [](const ChoiceValue& v) { return fmt::format("one of {}", fmt::join(v.names, ", ")); },
          [](const PathValue&) -> std::string { return "a path"; },
          [](const SecretFileValue&) -> std::string { return "the path of a file that others cannot read"; },
          [](const EndpointValue&) -> std::string {
            return "an address, a colon and a port from 0 to 65535";
          }},
      key.value);
}

std::string example_text(const Key& key) {
  if (std::holds_alternative<PathValue>(key.value)) return R"("/etc/citadel/file")";
  if (std::holds_alternative<SecretFileValue>(key.value)) return R"("/etc/citadel/password")";
  if (find_key(key.section, key.name) != nullptr && key.section == "database.direct" && key.name == "host") {
    return R"("127.0.0.1")";
  }
  return value_toml(key, Config());
}

std::string value_text(const Key& key, const Config& config) {
  return std::visit(TextOf{const_cast<Config&>(config)}, key.value);
}

std::string value_toml(const Key& key, const Config& config) {
  const auto text = value_text(key, config);
  const bool bare =
      std::holds_alternative<IntegerValue>(key.value) || std::holds_alternative<BooleanValue>(key.value);
  return bare ? text : quote_toml(text);
}

Result<void> set_from_text(const Key& key, Config& config, std::string_view text) {
  return std::visit(SetFromText{key, config, text}, key.value);
}

Result<void> set_from_integer(const Key& key, Config& config, std::int64_t value) {
  if (const auto* integer = std::get_if<IntegerValue>(&key.value)) {
    return set_in_range(key, integer->at(config), value, integer->min, integer->max);
  }
  if (const auto* size = std::get_if<SizeValue>(&key.value)) {
    return set_in_range(key, size->at(config), value, size->min, size->max);
  }
  return bad(key);
}

Result<void> set_from_boolean(const Key& key, Config& config, bool value) {
  const auto* boolean = std::get_if<BooleanValue>(&key.value);
  if (!boolean) return bad(key);
  boolean->at(config) = value;
  return {};
}

void copy_value(const Key& key, const Config& from, Config& to) {
  auto& source = const_cast<Config&>(from);
  std::visit(Overloaded{[&](const ChoiceValue& v) { v.set(to, v.get(source)); },
                        [&](const auto& v) { v.at(to) = v.at(source); }},
             key.value);
}

bool same_value(const Key& key, const Config& a, const Config& b) {
  if (value_text(key, a) != value_text(key, b)) return false;
  const auto* secret = std::get_if<SecretFileValue>(&key.value);
  return !secret || secret->at(const_cast<Config&>(a)).value.reveal() ==
                        secret->at(const_cast<Config&>(b)).value.reveal();
}

}  // namespace citadel::app
