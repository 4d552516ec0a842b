// citadel migrate: brings the schema to this binary's version; --status shows it, and what was changed by
// hand.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>

#include "aio/run.hpp"
#include "app/settings.hpp"
#include "base/time_text.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/instance.hpp"
#include "cli/json_text.hpp"
#include "cli/migrate.hpp"
#include "cli/table.hpp"

namespace citadel::cli {
namespace {

constexpr auto connects_within = std::chrono::minutes(1), inspects_within = std::chrono::minutes(1);
constexpr auto migrates_within = std::chrono::days(1);

Task<Result<int>> connect_and_migrate(Executor executor, pg::ConnectOptions options,
                                      std::function<void(std::string_view)> progress) {
  CITADEL_CO_ASSIGN(
      const auto connection,
      co_await pg::Connection::connect(executor, std::move(options), Deadline::after(connects_within)));
  co_return co_await store::migrate(*connection, store::embedded_migrations(),
                                    Deadline::after(migrates_within),
                                    [progress](const store::Migration& migration) {
                                      progress(fmt::format("{:04}_{}", migration.version, migration.name));
                                    });
}

Task<Result<SchemaReport>> connect_and_inspect(Executor executor, pg::ConnectOptions options,
                                               Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto connection,
                    co_await pg::Connection::connect(executor, std::move(options), deadline));
  SchemaReport report;
  CITADEL_CO_ASSIGN(report.migrations,
                    co_await store::migration_status(*connection, store::embedded_migrations(), deadline));
  const bool any = std::ranges::any_of(
      report.migrations, [](const auto& m) { return m.state != store::MigrationState::pending; });
  if (any) {
    CITADEL_CO_ASSIGN(report.drift, co_await store::find_drift(*connection, deadline));
  }
  co_return report;
}

int print_report(const Context& context, const SchemaReport& report) {
  bool good = report.drift.empty();
  if (context.json) {
    std::vector<std::string> items;
    for (const auto& m : report.migrations) {
      items.push_back(fmt::format(R"({{"version":{},"name":{},"state":{},"applied_at":{}}})", m.version,
                                  json_string(m.name), json_string(to_string(m.state)),
                                  m.applied_at ? json_string(format_time(*m.applied_at)) : "null"));
      good = good && m.state == store::MigrationState::applied;
    }
    *context.out << fmt::format("{{\"good\":{},\"migrations\":[{}],\"drift\":{}}}\n", good,
                                fmt::join(items, ","),
                                json_lines(fmt::format("{}", fmt::join(report.drift, "\n"))));
    return good ? exit_good : exit_check_failed;
  }
  Table table({{"version", Align::right}, {"name"}, {"state"}, {"applied"}});
  for (const auto& m : report.migrations) {
    table.add({std::to_string(m.version), m.name, std::string(to_string(m.state)),
               m.applied_at ? format_time(*m.applied_at) : ""});
    good = good && m.state == store::MigrationState::applied;
  }
  *context.out << table.render();
  for (const auto& line : report.drift) *context.out << "changed by hand: " << line << '\n';
  return good ? exit_good : exit_check_failed;
}

int run_migrate(const Context& context, const InstanceOptions& options, bool only_status) {
  const auto sources = sources_of(context, options);
  if (!sources) return context.report(sources.error());
  const auto config = app::load_config(*sources);
  if (!config) return context.report(config.error());
  if (only_status) {
    const auto report = inspect_schema(*config, Deadline::after(inspects_within));
    return report ? print_report(context, *report) : context.report(report.error());
  }
  const auto applied =
      migrate_now(*config, [&](std::string_view name) { *context.err << "applying " << name << '\n'; });
  if (!applied) return context.report(applied.error());
  if (context.json) {
    *context.out << fmt::format("{{\"applied\":{}}}\n", *applied);
  } else {
    *context.out << (*applied == 0 ? "nothing to apply\n" : fmt::format("applied {}\n", *applied));
  }
  return exit_good;
}

}  // namespace

Result<int> migrate_now(const app::Config& config, const std::function<void(std::string_view)>& progress) {
  CITADEL_ASSIGN(auto options, app::owner_options(config));
  asio::io_context context{1};
  return aio::run(context, connect_and_migrate(context.get_executor(), std::move(options), progress));
}

Result<SchemaReport> inspect_schema(const app::Config& config, Deadline deadline) {
  CITADEL_ASSIGN(auto options, app::owner_options(config));
  asio::io_context context{1};
  return aio::run(context, connect_and_inspect(context.get_executor(), std::move(options), deadline));
}

void add_migrate_command(Command app, Context& context) {
  const auto migrate = app.add_subcommand("migrate", "Bring the schema to this version");
  const auto options = std::make_shared<InstanceOptions>();
  const auto only_status = std::make_shared<bool>(false);
  migrate.add_option("--config", options->file, "The configuration file").existing_file();
  migrate.add_option("--data", options->data, "The data folder of `citadel up`");
  migrate.add_flag("--status", *only_status, "Only show what is applied, and what was changed by hand");
  migrate.callback(
      [&context, options, only_status] { context.exit_code = run_migrate(context, *options, *only_status); });
}

}  // namespace citadel::cli
