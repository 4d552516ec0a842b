// The rest of what doctor judges: the ways to the database, its schema, this machine and its files.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "app/doctor.hpp"

namespace citadel::app {
namespace {

constexpr auto clock_skew_max = std::chrono::seconds(2);
constexpr std::size_t drift_shown_max = 3;

bool is_local(std::string_view host) {
  return host.starts_with("127.") || host == "localhost" || host == "::1" || host.starts_with("/");
}

// As read_secret_file() sees it: the group may read.
Finding judge_secret(std::string_view subject, const std::filesystem::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    return Finding::fault(subject, fmt::format("{} cannot be read", path.string()),
                          "make it, with mode 0600");
  }
  const auto mode = info.st_mode & 07777;
  if ((mode & S_IRWXO) != 0) {
    return Finding::fault(
        subject, fmt::format("{} has mode {:04o}: everybody may read or change it", path.string(), mode),
        fmt::format("chmod 0600 {}", path.string()));
  }
  if ((mode & S_IWGRP) != 0) {
    return Finding::fault(subject,
                          fmt::format("{} has mode {:04o}: its group may change it", path.string(), mode),
                          fmt::format("chmod 0640 {}, or 0600", path.string()));
  }
  return Finding::good(subject, fmt::format("{} is private", path.string()));
}

// One way to a server: `host` is what was configured, `session` what PostgreSQL sees at its end.
Finding judge_tls(std::string_view subject, std::string_view host, TlsMode mode, Route route,
                  const std::optional<SeenSession>& session) {
  const bool demanded = mode != TlsMode::disable && mode != TlsMode::prefer;
  const bool through = route == Route::pgpool;
  if (demanded && session && !session->encrypted && (!through || session->from_outside)) {
    return Finding::fault(
        subject,
        through
            ? "is encrypted to Pgpool-II only: from there PostgreSQL, on another machine, is spoken to in "
              "clear text"
            : "is demanded, and PostgreSQL sees none",
        through ? "set ssl = on in postgresql.conf and in pgpool.conf, and restart both"
                : "set ssl = on in postgresql.conf, with a certificate, and restart PostgreSQL");
  }
  if (mode == TlsMode::verify_full || mode == TlsMode::verify_ca)
    return Finding::good(subject, "the certificate is checked");
  if (is_local(host)) return Finding::good(subject, "the server is on this machine");
  const bool clear = mode == TlsMode::disable || (!through && session && !session->encrypted);
  return Finding::warning(
      subject,
      fmt::format("{} is another machine, and {}", host,
                  clear ? "is spoken to in clear text" : "its certificate is not checked"),
      fmt::format("set {} = \"verify_full\" and {}_ca_file{}", subject, subject,
                  clear ? ", and ssl = on at the server" : ""));
}

}  // namespace

bool has_direct_way(const Config& config) {
  return !config.database_direct.host.empty();
}

std::filesystem::path nearest_existing(std::filesystem::path folder) {
  std::error_code ignored;  // what cannot be looked at counts as not there
  while (!std::filesystem::exists(folder, ignored) && folder.has_relative_path())
    folder = folder.parent_path();
  return folder.empty() ? std::filesystem::path(".") : folder;
}

std::vector<Finding> judge_ways(const Config& config, const Observed& observed) {
  std::vector<Finding> out;
  out.push_back(judge_tls("database.tls", config.database.host, config.database.tls, config.database.route,
                          observed.session));
  const auto& at = config.database_direct;
  if (!has_direct_way(config)) {
    if (config.database.route == Route::pgpool) {
      out.push_back(Finding::warning(
          "database.direct",
          "is not set: `citadel migrate` refuses, and a cancel is lost where Pgpool-II has no free child",
          "set database.direct.host and database.direct.port to PostgreSQL itself"));
    }
    return out;
  }
  if (!observed.direct) return out;
  const auto where = fmt::format("{}:{}", at.host, at.port);
  if (observed.direct->failed) {
    out.push_back(Finding::fault(
        "database.direct", fmt::format("{}: {}", where, observed.direct->failed->message),
        "is PostgreSQL running there, are database.direct.host and port right, and does pg_hba.conf "
        "take this machine?"));
    return out;
  }
  if (observed.direct->is_pgpool) {
    out.push_back(Finding::fault("database.direct",
                                 where + " is Pgpool-II, which does not promise the lock of migrations",
                                 "set database.direct.host and database.direct.port to PostgreSQL itself"));
    return out;
  }
  out.push_back(Finding::good("database.direct", "answers at " + where));
  out.push_back(judge_tls("database.direct.tls", at.host, at.tls, Route::direct, observed.direct->session));
  return out;
}

std::vector<Finding> judge_witnesses(const Observed& observed) {
  if (!observed.witnesses) return {};
  if (!*observed.witnesses) {
    return {
        Finding::fault("audit witnesses", observed.witnesses->error().message,
                       "the daemon does not start like this; `citadel config check` says where it stands")};
  }
  std::vector<Finding> out;
  for (const auto& witness : **observed.witnesses) {
    const auto subject = fmt::format("audit witness {}", witness.name);
    if (!witness.failed) {
      out.push_back(Finding::good(subject, fmt::format("answers at {}", witness.url)));
    } else {
      out.push_back(Finding::warning(
          subject, witness.failed->message,
          "checkpoints go without its cosignature until then; /v1/status says whether the quorum is met"));
    }
  }
  return out;
}

std::vector<Finding> judge_schema(const Config&, const Observed& observed) {
  if (!observed.schema) return {};
  if (!*observed.schema) {
    const auto& error = observed.schema->error();
    return {Finding::fault(
        "schema", fmt::format("the owner cannot look at it: {}", error.message),
        "are owner.user and owner.password_file right, and does pg_hba.conf take the owner from here?")};
  }
  std::size_t pending = 0;
  const auto& found = **observed.schema;
  for (const auto& m : found.migrations) {
    const auto name = fmt::format("migration {:04}_{}", m.version, m.name);
    if (m.state == store::MigrationState::pending) ++pending;
    if (m.state == store::MigrationState::edited) {
      return {Finding::fault("schema", name + " was applied with another text than this version has",
                             "use the version that migrated the database, or a newer one")};
    }
    if (m.state == store::MigrationState::unknown) {
      return {Finding::fault("schema", name + " is of a newer Citadel", "use that version, or a newer one")};
    }
  }
  if (pending > 0) {
    return {Finding::fault(
        "schema", fmt::format("{} of {} migrations are not applied", pending, found.migrations.size()),
        "apply them: `citadel migrate`, with the same --config or --data")};
  }
  if (!found.drift.empty()) {
    const auto shown = std::span(found.drift).first(std::min(found.drift.size(), drift_shown_max));
    return {
        Finding::fault("schema",
                       fmt::format("changed by hand in {} places: {}{}", found.drift.size(),
                                   fmt::join(shown, "; "), shown.size() < found.drift.size() ? "; …" : ""),
                       "`citadel migrate --status` names each; make + go and - come back")};
  }
  return {Finding::good("schema",
                        fmt::format("{} migrations, all applied and unchanged", found.migrations.size()))};
}

std::vector<Finding> judge_machine(const Config& config, const Observed& observed) {
  std::vector<Finding> out;
  if (observed.clock_ahead) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(*observed.clock_ahead).count();
    const bool skewed = *observed.clock_ahead > clock_skew_max || *observed.clock_ahead < -clock_skew_max;
    out.push_back(
        skewed ? Finding::warning("clock", fmt::format("this machine is {} ms ahead of the database's", ms),
                                  "let both machines follow one time source (chrony, systemd-timesyncd)")
               : Finding::good("clock", fmt::format("{} ms ahead of the database's", ms)));
  }
  if (observed.journal_free_bytes) {
    const auto wanted = static_cast<std::uint64_t>(config.journal.size_bytes_max);
    const auto text = fmt::format("{} MiB free, the journal may take {} MiB",
                                  *observed.journal_free_bytes >> 20, wanted >> 20);
    out.push_back(*observed.journal_free_bytes < wanted
                      ? Finding::warning("disk", text, "make room, or set journal.size_bytes_max lower")
                      : Finding::good("disk", text));
  }
  return out;
}

std::vector<Finding> judge_files(const Config& config) {
  std::vector<Finding> out;
  out.push_back(judge_secret("admin.key_file", config.admin.key_file));
  out.push_back(judge_secret("access.pepper_file", config.access.pepper_file));
  if (!config.database.password_file.path.empty()) {
    out.push_back(judge_secret("database.password_file", config.database.password_file.path));
  }
  if (!config.owner.password_file.path.empty()) {
    out.push_back(judge_secret("owner.password_file", config.owner.password_file.path));
  } else {
    out.push_back(Finding::warning(
        "owner.password_file", "is not set: `citadel migrate` refuses, and the schema cannot be looked at",
        "set it to a file, mode 0600, whose first line is the password of owner.user"));
  }
  // A folder that is not there is made at the first start, where the one above it can be written.
  const auto folder = nearest_existing(config.journal.folder);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    out.push_back(Finding::fault(
        "journal.folder", fmt::format("{} cannot be written", folder.string()),
        fmt::format("make {} for the daemon's user, with mode 0700", config.journal.folder.string())));
  } else {
    out.push_back(Finding::good("journal.folder", fmt::format("{} can be written", folder.string())));
  }
  return out;
}

}  // namespace citadel::app
