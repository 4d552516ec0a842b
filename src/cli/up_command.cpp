// citadel up: everything on one machine: a private PostgreSQL, a private Pgpool-II, and the daemon.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "app/admin_key.hpp"
#include "app/audit_secrets.hpp"
#include "app/settings.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/daemon.hpp"
#include "cli/instance.hpp"
#include "cli/migrate.hpp"
#include "http/server.hpp"
#include "local/local.hpp"

namespace citadel::cli {
namespace {

struct UpOptions {
  std::string file, data, http;
  std::uint16_t pgpool_port = 0, postgres_port = 0;
};

// Options are the strongest source: they stand in for environment variables of the same meaning.
app::ConfigSources sources_of(const Context& context, const UpOptions& options) {
  app::ConfigSources sources{{}, context.environment, true};
  if (!options.file.empty()) sources.file = options.file;
  const auto set = [&](std::string_view name, const std::string& value) {
    if (value.empty()) return;
    std::erase_if(sources.environment,
                  [&](const std::string& line) { return line.starts_with(fmt::format("{}=", name)); });
    sources.environment.push_back(fmt::format("{}={}", name, value));
  };
  set("CITADEL_LOCAL_DATA", options.data);
  set("CITADEL_HTTP_LISTEN", options.http);
  if (options.pgpool_port != 0) set("CITADEL_LOCAL_PGPOOL_PORT", std::to_string(options.pgpool_port));
  if (options.postgres_port != 0) set("CITADEL_LOCAL_POSTGRES_PORT", std::to_string(options.postgres_port));
  return sources;
}

// A fault of an option's value under the option's name.
Error in_words_of_options(Error error, const UpOptions& options) {
  const auto say = [&](bool given, std::string_view variable, std::string_view option) {
    const auto at = error.message.find(variable);
    if (given && at != std::string::npos) error.message.replace(at, variable.size(), option);
  };
  say(!options.data.empty(), "CITADEL_LOCAL_DATA", "--data");
  say(!options.http.empty(), "CITADEL_HTTP_LISTEN", "--http");
  say(options.pgpool_port != 0, "CITADEL_LOCAL_PGPOOL_PORT", "--pgpool-port");
  say(options.postgres_port != 0, "CITADEL_LOCAL_POSTGRES_PORT", "--postgres-port");
  return error;
}

local::LocalOptions local_options(const app::Config& config) {
  local::LocalOptions out;
  out.data = config.local.data;
  out.postgres_port = static_cast<std::uint16_t>(config.local.postgres_port);
  out.pgpool_port = static_cast<std::uint16_t>(config.local.pgpool_port);
  // The configured default names root's choice; without root the servers run as whoever started us.
  out.user = ::geteuid() == 0 ? config.local.user : std::string();
  out.pgpool_children = static_cast<unsigned>(app::pgpool_children(config.pool.size_max));
  // The daemon starts last: that its port is taken is better known before a database is made.
  out.check_first = [listen = app::server_options(config).listen] { return http::check_listen(listen); };
  return out;
}

// Points the daemon at the private servers.
app::Config with_local(app::Config config, const local::LocalServers& servers) {
  const auto pooled = servers.pooled();
  const auto direct = servers.direct();
  config.database.host = pooled.host;
  config.database.port = pooled.port;
  config.database.name = pooled.database;
  config.database.user = local::app_role;
  config.database.route = app::Route::pgpool;
  config.database.tls = app::TlsMode::disable;
  config.database.password_file = {servers.password_file(local::app_role), servers.app_password()};
  config.database_direct.host = direct.host;
  config.database_direct.port = direct.port;
  config.database_direct.tls = app::TlsMode::disable;
  config.owner.user = local::owner_role;
  config.owner.password_file = {servers.password_file(local::owner_role), servers.owner_password()};
  return config;
}

void print_welcome(const Context& context, const app::Config& config, const std::string& url) {
  *context.err << fmt::format(
      "\nCitadel is ready.\n"
      "  URL        {0}\n"
      "  Admin key  {1}\n"
      "  Data       {2}\n\n"
      "Try, in another terminal:\n"
      "  build/release/bin/citadel status --url {0} --key-file {1}\n"
      "  build/release/bin/citadel verify --url {0} --key-file {1}\n"
      "  printf 'Authorization: Bearer %s' \"$(cat {1})\" | curl -H @- {0}/v1/status\n\n"
      "Ctrl-C ends it; the data stays.\n",
      url, config.admin.key_file.string(), config.local.data.string());
}

int serve_on(const Context& context, app::Config& read, const app::ConfigSources& sources,
             local::LocalServers& servers, DaemonSignals& signals) {
  const auto config = with_local(read, servers);
  // A migration is not broken off, and none is left half done.
  const auto applied = migrate_now(
      config, [&](std::string_view name) { *context.err << "applying migration " << name << '\n'; });
  if (!applied || signals.stop().stop_requested()) {
    return report_start(context, applied ? Error(Code::cancelled, "a stop was asked for") : applied.error(),
                        signals);
  }
  const auto key = app::load_or_make_admin_key(config.admin.key_file);
  if (!key) return context.report(key.error());
  if (config.audit.enabled) {
    const auto made = app::make_audit_secrets(config.audit, "");
    if (!made) return context.report(made.error());
    for (const auto& file : *made)
      *context.err << "a key of the audit trail was made: " << file.string() << '\n';
  }
  const app::Outage outage{
      [&] { return servers.stop(local::Server::postgres, Deadline::after(std::chrono::seconds(20))); },
      [&] { return servers.start(local::Server::postgres, Deadline::after(std::chrono::seconds(60))); }};
  auto service = app::Service::start(config, key->key, outage, Deadline::after(std::chrono::seconds(60)),
                                     signals.stop());
  if (!service) return report_start(context, service.error(), signals);
  if (const auto written = write_instance(config); !written) return context.report(written.error());
  print_welcome(context, config, (*service)->url());
  *context.out << "ready " << (*service)->url() << std::endl;
  signals.wait_for_end([&] {
    reload_service(**service, read, sources,
                   [&](app::Config fresh) { return with_local(std::move(fresh), servers); });
  });
  *context.err << "stopping: requests, then the journal, then Pgpool-II and PostgreSQL\n";
  return stop_service(context, **service, config.runtime.stop_timeout);
}

int run_up(const Context& context, const UpOptions& options) {
  DaemonSignals signals;
  const auto sources = sources_of(context, options);
  auto config = app::load_config(sources);
  if (!config) return context.report(in_words_of_options(config.error(), options));
  log::configure(config->log.level, config->log.format);
  auto servers = local::LocalServers::start(
      local_options(*config), Deadline::after(std::chrono::seconds(120)),
      [&](std::string_view step) { *context.err << step << std::endl; }, signals.stop());
  if (!servers) return report_start(context, servers.error(), signals);
  const int code = serve_on(context, *config, sources, **servers, signals);
  const auto stopped = (*servers)->stop(Deadline::after(std::chrono::seconds(30)));
  if (!stopped) return context.report(stopped.error());
  if (code == exit_good) *context.err << "stopped; the data stays in " << config->local.data.string() << '\n';
  return code;
}

}  // namespace

void add_up_command(Command app, Context& context) {
  const auto up = app.add_subcommand("up", "Start a private PostgreSQL, a private Pgpool-II and the daemon");
  const auto options = std::make_shared<UpOptions>();
  up.add_option("--config", options->file, "The configuration file").existing_file();
  up.add_option("--data", options->data, "The data folder");
  up.add_option("--http", options->http, "Where the daemon listens, HOST:PORT");
  up.add_option("--pgpool-port", options->pgpool_port, "Pgpool-II's port");
  up.add_option("--postgres-port", options->postgres_port, "PostgreSQL's port");
  up.callback([&context, options] { context.exit_code = run_up(context, *options); });
}

}  // namespace citadel::cli
