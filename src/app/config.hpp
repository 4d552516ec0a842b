// Config: every setting of Citadel, typed, checked and in one place.
//
// It comes from, later ones winning: the defaults below, one TOML file, environment variables
// CITADEL_<SECTION>_<KEY>. What the keys mean, their limits and whether they can be reloaded stands in one
// table (config_keys.hpp), from which docs/configuration.md is made. Secrets come from files only and are
// never part of an error or of render_config().
//
//   auto config = load_config({.file = "citadel.toml", .environment = process_environment()});
//   if (!config) return config.error();   // all that is wrong, one line each: "citadel.toml:7:8:
//   pool.size_max = …"
//
// A configuration with any fault is refused whole. Values only; nothing here is shared.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/secret.hpp"

namespace citadel::app {

using Duration = std::chrono::microseconds;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""h;

struct Endpoint {
  std::string host;  // an address or a name; an IPv6 address without its brackets
  std::uint16_t port = 0;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// Empty path: there is no secret.
struct SecretFile {
  std::filesystem::path path;
  Secret value;
};

enum class TlsMode : std::uint8_t { disable, prefer, require, verify_ca, verify_full };
enum class Route : std::uint8_t { pgpool, direct };
enum class BreakerWindow : std::uint8_t { count, time };
enum class BreakerMode : std::uint8_t { normal, observe_only, forced_open, forced_closed };

struct HttpConfig {
  Endpoint listen{"127.0.0.1", 8480};
  std::int64_t connections_max = 4096;
  std::int64_t header_bytes_max = 16 << 10;
  std::int64_t body_bytes_max = 8 << 20;
  Duration header_timeout = 10s;
  Duration idle_timeout = 60s;
  Duration request_timeout = 30s;
};

struct DatabaseConfig {
  std::string host = "127.0.0.1";
  std::int64_t port = 5433;
  std::string name = "citadel_ai";
  std::string user = "citadel_app";
  SecretFile password_file;
  Route route = Route::pgpool;
  TlsMode tls = TlsMode::prefer;
  std::filesystem::path tls_ca_file;
  std::string application_name = "citadel";
  Duration tcp_user_timeout = 10s;
  std::int64_t prepared_max = 256;
};

// Past Pgpool-II, for migrations and cancelling. An empty host: there is no such way.
struct DirectConfig {
  std::string host;
  std::int64_t port = 5432;
  TlsMode tls = TlsMode::prefer;
  std::filesystem::path tls_ca_file;
};

struct OwnerConfig {
  std::string user = "citadel_owner";
  SecretFile password_file;
};

struct PoolConfig {
  std::int64_t size_min = 4;
  std::int64_t size_max = 100;
  std::int64_t queue_max = 1000;
  Duration connect_timeout = 5s;
  Duration recover_timeout = 3s;
  Duration lifetime = 30min;
  Duration idle_timeout = 10min;
  Duration validate_after = 30s;
  Duration leak_after = 60s;
  Duration patience = 50ms;
  bool adaptive = true;
};

struct BreakerConfig {
  BreakerMode mode = BreakerMode::normal;
  BreakerWindow window = BreakerWindow::time;
  std::int64_t window_calls = 100;
  Duration window_time = 10s;
  std::int64_t calls_min = 20;
  std::int64_t failure_percent = 50;
  std::int64_t failures_in_row = 10;
  Duration failing_for = 1s;
  Duration answer_within = 500ms;
  Duration slow_call = 2s;
  std::int64_t slow_percent = 80;
  Duration open_initial = 500ms;
  Duration open_ceiling = 30s;
  std::int64_t half_open_permits = 5;
};

struct RetryConfig {
  std::int64_t attempts_max = 5;
  Duration delay_initial = 10ms;
  Duration delay_ceiling = 1s;
  std::int64_t budget_percent = 10;
  std::int64_t budget_per_second_min = 10;
};

struct JournalConfig {
  std::filesystem::path folder;  // load_config fills an empty one: <local.data>/journal
  std::int64_t segment_bytes = 64 << 20;
  std::int64_t size_bytes_max = 1 << 30;
  std::int64_t reserve_bytes = 1 << 20;
  std::int64_t payload_bytes_max = 65'535;
  Duration gather = 2ms;
  std::int64_t gather_bytes = 256 << 10;
  std::int64_t queue_records_max = 65'536;
};

struct DrainConfig {
  std::int64_t batch_rows = 10'000;
  std::int64_t batch_bytes = 8 << 20;
  Duration interval = 200ms;
  Duration batch_timeout = 60s;
};

struct UsageConfig {
  Duration past_max = 24h * 3650;
  Duration future_max = 10min;
  std::int64_t partitions_ahead = 3;
  std::int64_t page_rows_max = 1000;
};

struct AuditConfig {
  bool enabled = true;
  std::string origin;  // empty: the name that the signing key has
  // load_config fills empty paths: <local.data>/audit-signing.key, audit-master.key, checkpoint,
  // audit-journal
  std::filesystem::path signing_key_file;
  std::filesystem::path master_key_file;
  std::string master_key_command;
  std::filesystem::path checkpoint_folder;
  Duration checkpoint_interval = 1s;
  std::filesystem::path witness_policy_file;
  std::filesystem::path witness_ca_file;
  Duration witness_timeout = 2s;
  std::filesystem::path journal_folder;
  std::int64_t segment_bytes = 64 << 20;
  std::int64_t size_bytes_max = 1 << 30;
  std::int64_t reserve_bytes = 1 << 20;
  std::int64_t batch_rows = 10'000;
  std::int64_t batch_bytes = 8 << 20;
  std::int64_t events_max = 10'000;
  std::int64_t groups_bytes_max = 48 << 10;
  Duration past_max = 24h * 30;
  Duration future_max = 10min;
  std::int64_t page_rows_max = 1000;
  std::string redact;
  bool public_log = false;
  Duration auth_success_window = 1h;
};

enum class RetentionProfile : std::uint8_t { none, eu_ai_act, pci_dss, hipaa };

// How long the contents of audit events are kept, by class; 0: see effective_keep().
struct RetentionConfig {
  bool enabled = true;
  RetentionProfile profile = RetentionProfile::none;
  Duration short_ = 0s;
  Duration standard = 0s;
  Duration extended = 0s;
  Duration interval = 1h;
  std::int64_t months_ahead = 1;
};

struct LogConfig {
  log::Level level = log::Level::info;
  log::Format format = log::Format::text;
};

struct AdminConfig {
  std::filesystem::path key_file;  // load_config fills an empty one: <local.data>/admin.key
};

struct AccessConfig {
  std::filesystem::path pepper_file;  // load_config fills an empty one: access.pepper beside admin.key_file
  Duration stale_max = 1h;
};

// The private servers of `citadel up`.
struct LocalConfig {
  std::filesystem::path data;  // load_config fills an empty one: default_data_folder()
  std::string user = "postgres";
  std::int64_t postgres_port = 5434;
  std::int64_t pgpool_port = 5433;
};

struct RuntimeConfig {
  std::int64_t threads = 0;
  Duration stop_timeout = 30s;
};

struct Config {
  HttpConfig http;
  DatabaseConfig database;
  DirectConfig database_direct;
  OwnerConfig owner;
  PoolConfig pool;
  BreakerConfig breaker;
  RetryConfig retry;
  JournalConfig journal;
  DrainConfig drain;
  UsageConfig usage;
  AuditConfig audit;
  RetentionConfig audit_retention;
  LogConfig log;
  AdminConfig admin;
  AccessConfig access;
  LocalConfig local;
  RuntimeConfig runtime;

  // Where a key's value came from: "citadel.toml:7:8" or "environment CITADEL_POOL_SIZE_MAX". Absent: the
  // default.
  std::map<std::string, std::string, std::less<>> origins;
};

struct ConfigSources {
  std::optional<std::filesystem::path> file;
  std::vector<std::string> environment;  // "NAME=value", as in environ
  bool read_secrets = true;  // false: secret files are not opened, for tools that only show settings
};

// This process's environment.
std::vector<std::string> process_environment();

// Relative paths in a file count from the file's folder, those in the environment from the working directory.
// invalid_argument: the message has one line for each fault, all faults at once.
Result<Config> load_config(const ConfigSources& sources);

// The same from TOML text in memory; `file_name` stands in errors. No line of `environment` and no secret is
// read from elsewhere. For tests and fuzzing.
Result<Config> parse_config(std::string_view text, const std::filesystem::path& file_name,
                            const ConfigSources& sources);

// Keys, as "section.key", whose values differ and that take effect at the next start only.
std::vector<std::string> changed_not_reloadable(const Config& before, const Config& after);

struct Reloaded {
  Config config;                       // `before` with the new values of all reloadable keys
  std::vector<std::string> changed;    // what took effect
  std::vector<std::string> not_taken;  // changed, but kept until the next start
};

// Reads the sources again. On any fault: the error of load_config, and the caller goes on with `before`.
Result<Reloaded> reload_config(const Config& before, const ConfigSources& sources);

// Effective values as TOML that load_config reads again, each with its origin as a comment. Holds no secret.
std::string render_config(const Config& config);

// /var/lib/citadel for root, else $XDG_DATA_HOME/citadel or ~/.local/share/citadel, from `environment`.
std::filesystem::path default_data_folder(const std::vector<std::string>& environment);

}  // namespace citadel::app
