#include "app/doctor.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>

namespace citadel::app {
namespace {

// Sessions beyond the pool: cancels, the daemon's direct connection's share, and people.
constexpr std::int64_t headroom = 10;
constexpr auto clock_skew_max = std::chrono::seconds(2);

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

Finding good(std::string subject, std::string found) {
  return {std::move(subject), Severity::good, std::move(found), {}};
}
Finding fault(std::string subject, std::string found, std::string mend) {
  return {std::move(subject), Severity::fault, std::move(found), std::move(mend)};
}
Finding warning(std::string subject, std::string found, std::string mend) {
  return {std::move(subject), Severity::warning, std::move(found), std::move(mend)};
}

bool is_on(const std::string& text) {
  return text == "on" || text == "1" || text == "true";
}

// A switch of Pgpool-II that must be off.
Finding must_be_off(const Settings& pgpool, std::string_view name, std::string_view why) {
  const auto subject = fmt::format("Pgpool-II {}", name);
  if (!is_on(value_of(pgpool, name))) return good(subject, "off");
  return fault(subject, fmt::format("on: {}", why),
               fmt::format("set {} = off in pgpool.conf and restart Pgpool-II", name));
}

Finding judge_secret(std::string_view subject, const std::filesystem::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    return fault(std::string(subject), fmt::format("{} cannot be read", path.string()),
                 "make it, with mode 0600");
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return fault(std::string(subject),
                 fmt::format("{} has mode {:04o}: others may read it", path.string(), info.st_mode & 07777),
                 fmt::format("chmod 0600 {}", path.string()));
  }
  return good(std::string(subject), fmt::format("{} is private", path.string()));
}

}  // namespace

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
          "password_encryption"};
}

std::vector<Finding> judge_pgpool(const Config& config, const Settings& pgpool) {
  std::vector<Finding> out;
  const auto children = number_of(pgpool, "num_init_children");
  const auto wanted = config.pool.size_max + headroom;
  if (children < wanted) {
    out.push_back(fault(
        "Pgpool-II num_init_children",
        fmt::format("{} clients at a time, but the pool opens up to {}: the rest hang until connect_timeout",
                    children, config.pool.size_max),
        fmt::format("set num_init_children = {} or more, or pool.size_max = {} or less", wanted,
                    std::max<std::int64_t>(children - headroom, 1))));
  } else {
    out.push_back(good("Pgpool-II num_init_children",
                       fmt::format("{} for a pool of {}", children, config.pool.size_max)));
  }
  if (number_of(pgpool, "reserved_connections") != 0) {
    out.push_back(fault("Pgpool-II reserved_connections", "not 0: each refused client leaks a descriptor",
                        "set reserved_connections = 0"));
  } else {
    out.push_back(good("Pgpool-II reserved_connections", "0"));
  }
  out.push_back(must_be_off(pgpool, "memory_cache_enabled", "reads may be stale, and CVE-2024-45624"));
  out.push_back(must_be_off(pgpool, "failover_on_backend_error", "one backend that dies starts a failover"));
  out.push_back(
      must_be_off(pgpool, "failover_on_backend_shutdown", "a terminated backend starts a failover"));
  const auto mode = value_of(pgpool, "backend_clustering_mode");
  if (!mode.empty() && mode != "streaming_replication" && mode != "1") {
    out.push_back(fault("Pgpool-II backend_clustering_mode",
                        fmt::format("{}: a failed segment may commit in part", mode),
                        "set backend_clustering_mode = 'streaming_replication', also with one node"));
  }
  return out;
}

std::vector<Finding> judge_postgres(const Config& config, const Observed& observed) {
  std::vector<Finding> out;
  const auto& postgres = *observed.postgres;
  const auto usable =
      number_of(postgres, "max_connections") - number_of(postgres, "superuser_reserved_connections");
  const auto wanted = observed.pgpool ? number_of(*observed.pgpool, "num_init_children") *
                                            std::max<std::int64_t>(number_of(*observed.pgpool, "max_pool"), 1)
                                      : config.pool.size_max + headroom;
  if (usable < wanted) {
    out.push_back(fault("PostgreSQL max_connections",
                        fmt::format("{} sessions are possible, {} may be asked for", usable, wanted),
                        fmt::format("set max_connections = {} or more and restart PostgreSQL",
                                    wanted + number_of(postgres, "superuser_reserved_connections"))));
  } else {
    out.push_back(good("PostgreSQL max_connections",
                       fmt::format("{} sessions are possible, {} may be asked for", usable, wanted)));
  }
  for (const std::string_view name : {"fsync", "full_page_writes"}) {
    if (is_on(value_of(postgres, name))) {
      out.push_back(good(fmt::format("PostgreSQL {}", name), "on"));
    } else {
      out.push_back(fault(fmt::format("PostgreSQL {}", name),
                          "off: a crash may lose or damage what was committed",
                          fmt::format("set {} = on", name)));
    }
  }
  if (observed.app_is_superuser) {
    out.push_back(fault("database.user",
                        "is a superuser: nothing then keeps tenants apart or the audit trail safe",
                        fmt::format("ALTER ROLE {} NOSUPERUSER NOBYPASSRLS", config.database.user)));
  } else {
    out.push_back(good("database.user", "is no superuser"));
  }
  return out;
}

std::vector<Finding> judge_rest(const Config& config, const Observed& observed) {
  std::vector<Finding> out;
  const auto& host = config.database.host;
  const bool local =
      host.starts_with("127.") || host == "localhost" || host == "::1" || host.starts_with("/");
  const bool verified =
      config.database.tls == TlsMode::verify_full || config.database.tls == TlsMode::verify_ca;
  if (!local && !verified) {
    out.push_back(warning("database.tls",
                          fmt::format("{} is another machine, and its certificate is not checked", host),
                          "set database.tls = \"verify_full\" and database.tls_ca_file"));
  } else {
    out.push_back(
        good("database.tls", local ? "the database is on this machine" : "the certificate is checked"));
  }
  if (observed.clock_ahead) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(*observed.clock_ahead).count();
    const bool skewed = *observed.clock_ahead > clock_skew_max || *observed.clock_ahead < -clock_skew_max;
    out.push_back(skewed ? warning("clock", fmt::format("this machine is {} ms ahead of the database's", ms),
                                   "let both machines follow one time source (chrony, systemd-timesyncd)")
                         : good("clock", fmt::format("{} ms ahead of the database's", ms)));
  }
  if (observed.journal_free_bytes) {
    const auto wanted = static_cast<std::uint64_t>(config.journal.size_bytes_max);
    const auto text = fmt::format("{} MiB free, the journal may take {} MiB",
                                  *observed.journal_free_bytes >> 20, wanted >> 20);
    out.push_back(*observed.journal_free_bytes < wanted
                      ? warning("disk", text, "make room, or set journal.size_bytes_max lower")
                      : good("disk", text));
  }
  return out;
}

std::vector<Finding> judge_files(const Config& config) {
  std::vector<Finding> out;
  out.push_back(judge_secret("admin.key_file", config.admin.key_file));
  if (!config.database.password_file.path.empty()) {
    out.push_back(judge_secret("database.password_file", config.database.password_file.path));
  }
  // A folder that is not there is made at the first start, where the one above it can be written.
  auto folder = config.journal.folder;
  while (!std::filesystem::exists(folder) && folder.has_relative_path()) folder = folder.parent_path();
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    out.push_back(fault("journal.folder", fmt::format("{} cannot be written", folder.string()),
                        fmt::format("make {} for the daemon's user, with mode 0700", config.journal.folder.string())));
  } else {
    out.push_back(good("journal.folder", fmt::format("{} can be written", folder.string())));
  }
  return out;
}

}  // namespace citadel::app
