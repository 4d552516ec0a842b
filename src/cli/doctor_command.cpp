// citadel doctor: finds what is misconfigured and says how to mend it.
#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "aio/run.hpp"
#include "app/audit_witnesses.hpp"
#include "app/doctor.hpp"
#include "app/settings.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/instance.hpp"
#include "cli/json_text.hpp"
#include "cli/migrate.hpp"
#include "cli/table.hpp"

namespace citadel::cli {
namespace {

using app::Finding;
using app::Observed;
using app::Severity;

constexpr auto doctor_timeout = std::chrono::seconds(15);
constexpr pg::Statement read_settings{"doctor settings",
                                      "select name, setting from pg_settings where name = any($1)"};
constexpr pg::Statement read_role{
    "doctor role", "select rolsuper or rolbypassrls from pg_roles where rolname = current_user"};
constexpr pg::Statement read_clock{"doctor clock", "select clock_timestamp()"};

// Beyond loopback and the server's own addresses, a client is on another machine.
constexpr pg::Statement read_session{
    "doctor session",
    "select coalesce(s.ssl, false), coalesce(not (inet_client_addr() <<= inet '127.0.0.0/8' or "
    "inet_client_addr() = inet '::1' or inet_client_addr() = inet_server_addr()), false) "
    "from (select pg_backend_pid() as pid) own left join pg_stat_ssl s using (pid)"};

Task<Result<app::SeenSession>> see_session(pg::Connection& connection, Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto rows, co_await connection.execute(read_session, {}, deadline));
  co_return app::SeenSession{rows[0].get<bool>(0), rows[0].get<bool>(1)};
}

Task<Result<void>> observe(Executor executor, const app::Config& config, Observed& out, Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto connection,
                    co_await pg::Connection::connect(executor, app::connect_options(config),
                                                     deadline.within(config.pool.connect_timeout)));
  if (connection->route() == pg::Route::pgpool) {
    CITADEL_CO_ASSIGN(const auto rows, co_await connection->execute_simple("show pool_status", deadline));
    out.pgpool.emplace();
    for (const pg::Row row : rows) (*out.pgpool)[row.get<std::string>(0)] = row.get<std::string>(1);
  }
  pg::Params names;
  names.add(app::postgres_settings());
  CITADEL_CO_ASSIGN(const auto settings, co_await connection->execute(read_settings, names, deadline));
  out.postgres.emplace();
  for (const pg::Row row : settings) (*out.postgres)[row.get<std::string>(0)] = row.get<std::string>(1);
  CITADEL_CO_ASSIGN(const auto role, co_await connection->execute(read_role, {}, deadline));
  out.app_is_superuser = !role.empty() && role[0].get<bool>(0);
  CITADEL_CO_ASSIGN(out.session, co_await see_session(*connection, deadline));
  const auto before = system_clock().wall();
  CITADEL_CO_ASSIGN(const auto clock, co_await connection->execute(read_clock, {}, deadline));
  const auto after = system_clock().wall();
  out.clock_ahead = before + (after - before) / 2 - clock[0].get<WallTime>(0);
  co_return Result<void>();
}

Task<Result<void>> observe_direct(Executor executor, pg::ConnectOptions options, app::DirectWay& out,
                                  Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto connection,
                    co_await pg::Connection::connect(executor, std::move(options), deadline));
  // Only Pgpool-II has an answer.
  out.is_pgpool = (co_await connection->execute_simple("show pool_version", deadline)).has_value();
  if (!out.is_pgpool) {
    CITADEL_CO_ASSIGN(out.session, co_await see_session(*connection, deadline));
  }
  co_return Result<void>();
}

std::optional<std::uint64_t> free_bytes(const std::filesystem::path& folder) {
  struct statvfs info{};
  if (::statvfs(folder.c_str(), &info) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

// Past Pgpool-II: the direct way, and the schema as its owner sees it.
void look_past_pgpool(const app::Config& config, bool database_answers, Observed& observed) {
  const auto within = [&] { return Deadline::after(doctor_timeout).within(config.pool.connect_timeout); };
  if (app::has_direct_way(config)) {
    asio::io_context context{1};
    observed.direct.emplace();
    auto reached = aio::run(context, observe_direct(context.get_executor(), *app::direct_options(config),
                                                    *observed.direct, within()));
    if (!reached) observed.direct->failed = std::move(reached).error();
  }
  const bool answers = observed.direct ? !observed.direct->failed && !observed.direct->is_pgpool
                                       : database_answers && config.database.route == app::Route::direct;
  if (!answers || config.owner.password_file.path.empty()) return;
  auto report = inspect_schema(config, Deadline::after(doctor_timeout));
  if (report) {
    observed.schema = app::SchemaFound{std::move(report->migrations), std::move(report->drift)};
  } else {
    observed.schema = std::unexpected(std::move(report).error());
  }
}

// Each within the time that a checkpoint waits for it.
void look_at_witnesses(const app::Config& config, Observed& observed) {
  if (!config.audit.enabled) return;
  const auto configured = app::load_witnesses(config.audit);
  if (!configured) {
    observed.witnesses.emplace(std::unexpected(configured.error()));
    return;
  }
  if (!*configured) return;
  std::vector<app::SeenWitness> seen;
  const auto& witnesses = (*configured)->policy.witnesses();
  for (std::size_t i = 0; i < witnesses.size(); ++i) {
    asio::io_context context{1};
    const auto reached = aio::run(context, app::reach_witness(**configured, i, config.audit,
                                                              Deadline::after(config.audit.witness_timeout)));
    seen.push_back(
        {witnesses[i].name, witnesses[i].url, reached ? std::nullopt : std::optional(reached.error())});
  }
  observed.witnesses.emplace(std::move(seen));
}

struct Examined {
  std::vector<Finding> findings;
  bool reached = false;  // the database, on the way that the daemon takes
};

// An answer that refuses us is an answer.
bool is_answer(const Error& error) {
  return error.code != Code::unavailable && error.code != Code::connection_lost &&
         error.code != Code::deadline_exceeded;
}

std::string how_to_reach(const app::Config& config, const std::string& start_command) {
  if (!start_command.empty()) return fmt::format("start it, if it is not running: {}", start_command);
  const bool tls =
      config.database.tls != app::TlsMode::disable && config.database.tls != app::TlsMode::prefer;
  return fmt::format("is it running, and are database.host, port, user and password_file right?{}",
                     tls ? " database.tls needs ssl = on there, and database.tls_ca_file its issuer" : "");
}

Examined examine(const app::Config& config, const std::string& start_command) {
  Observed observed;
  observed.journal_free_bytes = free_bytes(app::nearest_existing(config.journal.folder));
  asio::io_context context{1};
  const auto reached =
      aio::run(context, observe(context.get_executor(), config, observed, Deadline::after(doctor_timeout)));
  look_past_pgpool(config, reached.has_value(), observed);
  look_at_witnesses(config, observed);
  std::vector<Finding> all;
  const auto add = [&](std::vector<Finding> some) { std::ranges::move(some, std::back_inserter(all)); };
  const auto where = fmt::format("{}:{}", config.database.host, config.database.port);
  if (reached) {
    all.push_back(Finding::good("database", "answers at " + where));
  } else {
    all.push_back(Finding::fault("database", fmt::format("{}: {}", where, reached.error().message),
                                 how_to_reach(config, start_command)));
  }
  if (observed.pgpool) add(app::judge_pgpool(config, *observed.pgpool));
  if (observed.postgres) add(app::judge_postgres(config, observed));
  add(app::judge_ways(config, observed));
  add(app::judge_schema(config, observed));
  add(app::judge_machine(config, observed));
  add(app::judge_witnesses(observed));
  add(app::judge_files(config));
  return {std::move(all), reached || is_answer(reached.error())};
}

int run_doctor(const Context& context, const InstanceOptions& options) {
  const auto sources = sources_of(context, options);
  if (!sources) return context.report(sources.error());
  const auto config = app::load_config(*sources);
  if (!config) return context.report(config.error());
  const auto [all, reached] = examine(*config, how_to_start(*sources));
  const auto faults = std::ranges::count(all, Severity::fault, &Finding::severity);
  if (context.json) {
    std::vector<std::string> items;
    for (const auto& f : all) {
      items.push_back(fmt::format(R"({{"subject":{},"severity":{},"found":{},"mend":{}}})",
                                  json_string(f.subject), json_string(to_string(f.severity)),
                                  json_string(f.found), json_string(f.mend)));
    }
    *context.out << fmt::format("{{\"good\":{},\"findings\":[{}]}}\n", faults == 0, fmt::join(items, ","));
  } else {
    Table table({{"subject"}, {"result"}, {"found"}});
    for (const auto& f : all) table.add({f.subject, std::string(to_string(f.severity)), f.found});
    *context.out << table.render();
    for (const auto& f : all) {
      if (!f.mend.empty()) *context.out << fmt::format("\n{}: {}\n", f.subject, f.mend);
    }
  }
  if (!reached) return exit_unreachable;
  return faults == 0 ? exit_good : exit_check_failed;
}

}  // namespace

void add_doctor_command(Command app, Context& context) {
  const auto doctor = app.add_subcommand("doctor", "Find what is misconfigured, and how to mend it");
  const auto options = std::make_shared<InstanceOptions>();
  doctor
      .add_option("--config", options->file,
                  "The configuration file; without it, the private servers of `citadel up`")
      .existing_file();
  doctor.add_option("--data", options->data, "The data folder of `citadel up`");
  doctor.callback([&context, options] { context.exit_code = run_doctor(context, *options); });
}

}  // namespace citadel::cli
