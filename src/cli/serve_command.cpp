// citadel serve: the daemon alone, with the database that its configuration names.
#include <functional>
#include <iostream>
#include <memory>

#include "app/admin_key.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/daemon.hpp"

namespace citadel::cli {
namespace {

int run_serve(const Context& context, const std::string& file) {
  DaemonSignals signals;
  app::ConfigSources sources{{}, context.environment, true};
  if (!file.empty()) sources.file = file;
  auto config = app::load_config(sources);
  if (!config) return context.report(config.error());
  log::configure(config->log.level, config->log.format);
  const auto key = app::load_or_make_admin_key(config->admin.key_file);
  if (!key) return context.report(key.error());
  if (key->made) *context.err << "the admin key was made: " << config->admin.key_file.string() << '\n';
  auto service =
      app::Service::start(*config, key->key, {}, Deadline::after(std::chrono::seconds(60)), signals.stop());
  if (!service) return report_start(context, service.error(), signals);
  *context.out << "ready " << (*service)->url() << std::endl;
  signals.wait_for_end([&] { reload_service(**service, *config, sources, std::identity()); });
  *context.err << "stopping\n";
  return stop_service(context, **service, config->runtime.stop_timeout);
}

}  // namespace

void add_serve_command(Command app, Context& context) {
  const auto serve = app.add_subcommand("serve", "Run the daemon against a configured PostgreSQL");
  const auto file = std::make_shared<std::string>();
  serve.add_option("--config", *file, "The configuration file").existing_file();
  serve.callback([&context, file] { context.exit_code = run_serve(context, *file); });
}

}  // namespace citadel::cli
