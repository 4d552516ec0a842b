#include "app/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "app/settings.hpp"

namespace citadel::app {
namespace {

// Of one daemon, past Pgpool-II: one session for cancelling, one while `citadel migrate` runs.
constexpr std::int64_t direct_sessions = 2;
constexpr std::int64_t server_version_min = 150000, server_version_tested_below = 190000;

std::string value_of(const Settings& settings, std::string_view name) {
  const auto found = settings.find(name);
  return found == settings.end() ? std::string() : found->second;
}

std::int64_t number_of(const Settings& settings, std::string_view name) {
  const auto text = value_of(settings, name);
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

bool is_on(const std::string& text) {
  return text == "on" || text == "1" || text == "true";
}

// A switch of Pgpool-II that must be off.
Finding must_be_off(const Settings& pgpool, std::string_view name, std::string_view why) {
  const auto subject = fmt::format("Pgpool-II {}", name);
  if (!is_on(value_of(pgpool, name))) return Finding::good(subject, "off");
  return Finding::fault(subject, fmt::format("on: {}", why),
                        fmt::format("set {} = off in pgpool.conf and restart Pgpool-II", name));
}

// A timeout of Pgpool-II that must be 0.
Finding must_be_zero(const Settings& pgpool, std::string_view name, std::string_view why) {
  const auto subject = fmt::format("Pgpool-II {}", name);
  const auto number = number_of(pgpool, name);
  if (number == 0) return Finding::good(subject, "0");
  return Finding::fault(subject, fmt::format("{}: {}", number, why),
                        fmt::format("set {} = 0 in pgpool.conf and restart Pgpool-II", name));
}

Finding judge_children(const Config& config, const Settings& pgpool) {
  const auto children = number_of(pgpool, "num_init_children");
  const auto wanted = pgpool_children(config.pool.size_max);
  const auto subject = "Pgpool-II num_init_children";
  const auto text = fmt::format("{} for a pool of {}", children, config.pool.size_max);
  if (children >= wanted) return Finding::good(subject, text);
  // The pool that leaves a fifth of what is there.
  auto fits = std::max<std::int64_t>(children * 5 / 6, 1);
  while (fits > 1 && pgpool_children(fits) > children) --fits;
  return Finding::fault(
      subject,
      text + (children < config.pool.size_max
                  ? ": the sessions beyond them hang until pool.connect_timeout"
                  : ": a cancel needs a free child, and so does a person with psql"),
      fmt::format(
          "set num_init_children = {} or more in pgpool.conf and restart Pgpool-II, or pool.size_max = {} "
          "or less",
          wanted, fits));
}

// Where reads may go to a standby, one after a write of the same transaction must not.
Finding judge_balancing(const Settings& pgpool) {
  const auto subject = "Pgpool-II load_balance_mode";
  if (!is_on(value_of(pgpool, "load_balance_mode"))) return Finding::good(subject, "off");
  const auto on_write = value_of(pgpool, "disable_load_balance_on_write");
  // SHOW POOL_STATUS of 4.3 has the value's number.
  for (const std::string_view safe : {"always", "4", "trans_transaction", "3"}) {
    if (on_write == safe) return Finding::good(subject, "on, and reads after a write go to the primary");
  }
  return Finding::fault(
      subject,
      fmt::format("on with disable_load_balance_on_write = {}: after ROLLBACK TO SAVEPOINT a transaction "
                  "reads a standby, without its own writes",
                  on_write == "1"   ? "off"
                  : on_write == "2" ? "transaction"
                                    : on_write),
      "set disable_load_balance_on_write = 'always' in pgpool.conf and restart Pgpool-II");
}

Finding judge_version(const Settings& postgres) {
  const auto number = number_of(postgres, "server_version_num");
  const auto text = value_of(postgres, "server_version");
  if (number < server_version_min) {
    return Finding::fault("PostgreSQL version", text + ": Citadel needs 15 or later",
                          "move the database to PostgreSQL 15 to 18");
  }
  if (number >= server_version_tested_below) {
    return Finding::warning("PostgreSQL version", text + ": newer than what Citadel knows, 15 to 18",
                            "run `citadel verify` on it before you rely on it, or use PostgreSQL 15 to 18");
  }
  return Finding::good("PostgreSQL version", text);
}

Finding judge_connections(const Config& config, const Observed& observed) {
  const auto& postgres = *observed.postgres;
  const auto reserved = number_of(postgres, "superuser_reserved_connections");
  const auto usable = number_of(postgres, "max_connections") - reserved;
  // A child's cancel may open a second connection.
  const auto behind = observed.pgpool ? 2 * number_of(*observed.pgpool, "num_init_children") *
                                            std::max<std::int64_t>(number_of(*observed.pgpool, "max_pool"), 1)
                                      : config.pool.size_max;
  const auto wanted = behind + direct_sessions;
  const auto text = fmt::format("{} sessions are possible, {} may be asked for", usable, wanted);
  if (usable >= wanted) return Finding::good("PostgreSQL max_connections", text);
  return Finding::fault(
      "PostgreSQL max_connections", text,
      fmt::format("set max_connections = {} or more in postgresql.conf and restart PostgreSQL",
                  wanted + reserved));
}

Finding judge_durability(const Settings& postgres, std::string_view name, std::string_view when_off,
                         std::string mend) {
  const auto subject = fmt::format("PostgreSQL {}", name);
  const auto value = value_of(postgres, name);
  if (value != "off") return Finding::good(subject, value);
  return Finding::fault(subject, fmt::format("off: {}", when_off), std::move(mend));
}

}  // namespace

Finding Finding::good(std::string_view subject, std::string found) {
  return {std::string(subject), Severity::good, std::move(found), {}};
}
Finding Finding::warning(std::string_view subject, std::string found, std::string mend) {
  return {std::string(subject), Severity::warning, std::move(found), std::move(mend)};
}
Finding Finding::fault(std::string_view subject, std::string found, std::string mend) {
  return {std::string(subject), Severity::fault, std::move(found), std::move(mend)};
}

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::good:
      return "good";
    case Severity::warning:
      return "warning";
    case Severity::fault:
      return "FAULT";
  }
  return "FAULT";
}

std::vector<std::string> postgres_settings() {
  return {"max_connections",
          "superuser_reserved_connections",
          "fsync",
          "full_page_writes",
          "synchronous_commit",
          "server_version",
          "server_version_num",
          "password_encryption"};
}

std::vector<Finding> judge_pgpool(const Config& config, const Settings& pgpool) {
  std::vector<Finding> out;
  out.push_back(judge_children(config, pgpool));
  out.push_back(must_be_zero(pgpool, "reserved_connections", "each refused client leaks a descriptor"));
  out.push_back(
      must_be_zero(pgpool, "client_idle_limit", "idle sessions of the pool are ended, many at once"));
  out.push_back(
      must_be_zero(pgpool, "child_life_time", "idle sessions of the pool are ended with their child"));
  out.push_back(must_be_off(pgpool, "memory_cache_enabled", "reads may be stale, and CVE-2024-45624"));
  out.push_back(must_be_off(pgpool, "failover_on_backend_error", "one backend that dies starts a failover"));
  out.push_back(
      must_be_off(pgpool, "failover_on_backend_shutdown", "a terminated backend starts a failover"));
  out.push_back(judge_balancing(pgpool));
  const auto mode = value_of(pgpool, "backend_clustering_mode");
  if (!mode.empty() && mode != "streaming_replication" && mode != "1") {
    out.push_back(Finding::fault(
        "Pgpool-II backend_clustering_mode", fmt::format("{}: a failed segment may commit in part", mode),
        "set backend_clustering_mode = 'streaming_replication', also with one node"));
  } else {
    out.push_back(Finding::good("Pgpool-II backend_clustering_mode", "streaming_replication"));
  }
  return out;
}

std::vector<Finding> judge_postgres(const Config& config, const Observed& observed) {
  std::vector<Finding> out;
  const auto& postgres = *observed.postgres;
  out.push_back(judge_version(postgres));
  out.push_back(judge_connections(config, observed));
  for (const std::string_view name : {"fsync", "full_page_writes"}) {
    out.push_back(judge_durability(postgres, name, "a crash may lose or damage what was committed",
                                   fmt::format("set {} = on in postgresql.conf and reload", name)));
  }
  // The drain and the sequencer set it on for themselves.
  out.push_back(judge_durability(
      postgres, "synchronous_commit",
      "a crash of PostgreSQL may lose what was committed outside of the drain: holds, erasures, migrations",
      fmt::format(
          "set synchronous_commit = on in postgresql.conf and reload; ALTER ROLE {} RESET synchronous_commit",
          config.database.user)));
  const auto encryption = value_of(postgres, "password_encryption");
  out.push_back(
      encryption == "scram-sha-256"
          ? Finding::good("PostgreSQL password_encryption", encryption)
          : Finding::warning(
                "PostgreSQL password_encryption",
                fmt::format("{}: the next password that is set cannot be used through Pgpool-II", encryption),
                "set password_encryption = 'scram-sha-256' in postgresql.conf and reload"));
  if (observed.app_is_superuser) {
    out.push_back(Finding::fault("database.user",
                                 "is a superuser: nothing then keeps tenants apart or the audit trail safe",
                                 fmt::format("ALTER ROLE {} NOSUPERUSER NOBYPASSRLS", config.database.user)));
  } else {
    out.push_back(Finding::good("database.user", "is no superuser"));
  }
  return out;
}

}  // namespace citadel::app
