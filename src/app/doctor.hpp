// Doctor: what is misconfigured, and how to mend it. The rules are pure: they judge what was found; `citadel
// doctor` finds it.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.hpp"
#include "base/error.hpp"
#include "store/migrations.hpp"

namespace citadel::app {

enum class Severity : std::uint8_t { good, warning, fault };
std::string_view to_string(Severity severity);

struct Finding {
  std::string subject;  // "Pgpool-II num_init_children"
  Severity severity = Severity::good;
  std::string found;  // a sentence
  std::string mend;   // what to do; empty where it is good

  static Finding good(std::string_view subject, std::string found);
  static Finding warning(std::string_view subject, std::string found, std::string mend);
  static Finding fault(std::string_view subject, std::string found, std::string mend);
};

using Settings = std::map<std::string, std::string, std::less<>>;

// A session as PostgreSQL sees it. Through Pgpool-II that is Pgpool-II's session: the second of two ways.
struct SeenSession {
  bool encrypted = false;  // pg_stat_ssl
  bool from_outside =
      false;  // its client is on another machine: neither a Unix socket nor an address of the server's own
};

// [database.direct], where it is asked for.
struct DirectWay {
  std::optional<Error> failed;
  bool is_pgpool = false;
  SeenSession session;
};

struct SchemaFound {
  std::vector<store::MigrationStatus> migrations;
  std::vector<std::string> drift;
};

struct SeenWitness {
  std::string name, url;  // as the policy has them
  std::optional<Error> failed;
};

// What was found of the outside world. Absent: could not be asked, and nothing is said of it.
struct Observed {
  std::optional<Settings> pgpool;    // SHOW POOL_STATUS
  std::optional<Settings> postgres;  // pg_settings of the names in `postgres_settings`
  std::optional<SeenSession> session;
  std::optional<DirectWay> direct;
  std::optional<Result<SchemaFound>> schema;  // an error: the owner cannot look
  bool app_is_superuser = false;
  std::optional<std::chrono::microseconds>
      clock_ahead;  // ours minus the database's, half a round trip taken off
  std::optional<std::uint64_t> journal_free_bytes;
  std::optional<Result<std::vector<SeenWitness>>> witnesses;  // an error: their files are at fault
};

// The names that are asked of PostgreSQL.
std::vector<std::string> postgres_settings();
// Whether sessions have two ways, by Pgpool-II and past it, so that the second has to be looked at too.
bool has_direct_way(const Config& config);
// `folder`, or the nearest above it that is there: where it would be made.
std::filesystem::path nearest_existing(std::filesystem::path folder);

// Pgpool-II's slots against the pool, its memory cache, routing, timeouts, failover switches and reserved
// connections.
std::vector<Finding> judge_pgpool(const Config& config, const Settings& pgpool);
// Version, max_connections against Pgpool-II's children, and what must be on for a commit to last.
std::vector<Finding> judge_postgres(const Config& config, const Observed& observed);
// [database.direct], and the encryption of both ways: what is configured against what PostgreSQL sees.
std::vector<Finding> judge_ways(const Config& config, const Observed& observed);
std::vector<Finding> judge_schema(const Config& config, const Observed& observed);
// Clock, disk.
std::vector<Finding> judge_machine(const Config& config, const Observed& observed);
// Whether each witness answers, by TLS where its URL is https. None of them is more than a warning: no
// witness stops the log.
std::vector<Finding> judge_witnesses(const Observed& observed);
// Files that hold secrets, and the journal's folder.
std::vector<Finding> judge_files(const Config& config);

}  // namespace citadel::app
