// Doctor: what is misconfigured, and how to mend it. The rules are pure: they judge what was found; `citadel doctor`
// finds it.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.hpp"

namespace citadel::app {

enum class Severity : std::uint8_t { good, warning, fault };
std::string_view to_string(Severity severity);

struct Finding {
  std::string subject;  // "Pgpool-II num_init_children"
  Severity severity = Severity::good;
  std::string found;  // a sentence
  std::string mend;   // what to do; empty where it is good
};

using Settings = std::map<std::string, std::string, std::less<>>;

// What was found of the outside world. Absent: could not be asked, and nothing is said of it.
struct Observed {
  std::optional<Settings> pgpool;    // SHOW POOL_STATUS
  std::optional<Settings> postgres;  // pg_settings of the names in `postgres_settings`
  bool app_is_superuser = false;
  std::optional<std::chrono::microseconds> clock_ahead;  // ours minus the database's, half a round trip taken off
  std::optional<std::uint64_t> journal_free_bytes;
};

// The names that are asked of PostgreSQL.
std::vector<std::string> postgres_settings();

// Pgpool-II's slots against the pool, its memory cache, failover switches and reserved connections.
std::vector<Finding> judge_pgpool(const Config& config, const Settings& pgpool);
// max_connections against Pgpool-II's children, fsync and its like.
std::vector<Finding> judge_postgres(const Config& config, const Observed& observed);
// Transport, clock, disk.
std::vector<Finding> judge_rest(const Config& config, const Observed& observed);
// Files that hold secrets, and the journal's folder.
std::vector<Finding> judge_files(const Config& config);

}  // namespace citadel::app
