// citadel doctor: finds what is misconfigured and says how to mend it.
#include <fmt/format.h>
#include <sys/statvfs.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "aio/run.hpp"
#include "app/doctor.hpp"
#include "app/settings.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/instance.hpp"
#include "cli/json_text.hpp"
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
  const auto before = system_clock().wall();
  CITADEL_CO_ASSIGN(const auto clock, co_await connection->execute(read_clock, {}, deadline));
  const auto after = system_clock().wall();
  out.clock_ahead = before + (after - before) / 2 - clock[0].get<WallTime>(0);
  co_return Result<void>();
}

std::optional<std::uint64_t> free_bytes(const std::filesystem::path& folder) {
  struct statvfs info{};
  if (::statvfs(folder.c_str(), &info) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

std::vector<Finding> examine(const app::Config& config, const std::string& start_command) {
  Observed observed;
  observed.journal_free_bytes = free_bytes(config.journal.folder);
  asio::io_context context{1};
  const auto reached =
      aio::run(context, observe(context.get_executor(), config, observed, Deadline::after(doctor_timeout)));
  std::vector<Finding> all;
  const auto add = [&](std::vector<Finding> some) { std::ranges::move(some, std::back_inserter(all)); };
  const auto where = fmt::format("{}:{}", config.database.host, config.database.port);
  if (reached) {
    all.push_back({"database", Severity::good, "answers at " + where, {}});
  } else {
    all.push_back({"database", Severity::fault, fmt::format("{}: {}", where, reached.error().message),
                   start_command.empty()
                       ? "is it running, and are database.host, port, user and password_file right?"
                       : fmt::format("start it, if it is not running: {}", start_command)});
  }
  if (observed.pgpool) add(app::judge_pgpool(config, *observed.pgpool));
  if (observed.postgres) add(app::judge_postgres(config, observed));
  add(app::judge_rest(config, observed));
  add(app::judge_files(config));
  return all;
}

int run_doctor(const Context& context, const InstanceOptions& options) {
  const auto sources = sources_of(context, options);
  if (!sources) return context.report(sources.error());
  const auto config = app::load_config(*sources);
  if (!config) return context.report(config.error());
  const auto all = examine(*config, how_to_start(*sources));
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
  return faults == 0 ? exit_good : exit_check_failed;
}

}  // namespace

void add_doctor_command(CLI::App& app, Context& context) {
  auto* const doctor = app.add_subcommand("doctor", "Find what is misconfigured, and how to mend it");
  const auto options = std::make_shared<InstanceOptions>();
  doctor->add_option("--config", options->file,
                     "The configuration file; without it, the private servers of `citadel up`");
  doctor->add_option("--data", options->data, "The data folder of `citadel up`");
  doctor->callback([&context, options] { context.exit_code = run_doctor(context, *options); });
}

}  // namespace citadel::cli
