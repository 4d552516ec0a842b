// citadel config check|show|docs
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "app/config.hpp"
#include "app/config_docs.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/json_text.hpp"

namespace citadel::cli {
namespace {

app::ConfigSources sources_of(const Context& context, const std::string& file) {
  app::ConfigSources sources{{}, context.environment, true};
  if (!file.empty()) sources.file = file;
  return sources;
}

// A bad configuration is a check that failed; a file that is not there is wrong use.
int print_faults(const Context& context, const Error& error) {
  const bool is_checked = error.code == Code::invalid_argument;
  if (context.json) {
    *context.out << fmt::format("{{\"good\":false,\"faults\":{}}}\n", json_lines(error.message));
  } else {
    *context.err << error.message << '\n';
  }
  return is_checked ? exit_check_failed : exit_wrong_use;
}

int run_check(const Context& context, const std::string& file) {
  const auto config = app::load_config(sources_of(context, file));
  if (!config) return print_faults(context, config.error());
  if (context.json) {
    *context.out << "{\"good\":true,\"faults\":[]}\n";
  } else {
    *context.out << "# OK: the configuration has no fault. Effective values:\n\n"
                 << app::render_config(*config);
  }
  return exit_good;
}

int run_show(const Context& context, const std::string& file) {
  const auto config = app::load_config(sources_of(context, file));
  if (!config) return print_faults(context, config.error());
  *context.out << app::render_config(*config);
  return exit_good;
}

int run_docs(const Context& context) {
  *context.out << app::render_config_docs();
  return exit_good;
}

}  // namespace

void add_config_command(CLI::App& app, Context& context) {
  auto* const config = app.add_subcommand("config", "Check, show or document the configuration");
  config->require_subcommand(1);
  const auto file = std::make_shared<std::string>();

  auto* const check = config->add_subcommand("check", "Name all faults; exit code 1 where there is one");
  check->add_option("--config", *file, "The configuration file; without it, defaults and environment");
  check->callback([&context, file] { context.exit_code = run_check(context, *file); });

  auto* const show = config->add_subcommand("show", "Print the effective values and where each came from");
  show->add_option("--config", *file, "The configuration file");
  show->callback([&context, file] { context.exit_code = run_show(context, *file); });

  auto* const docs = config->add_subcommand("docs", "Print docs/configuration.md");
  docs->callback([&context] { context.exit_code = run_docs(context); });
}

}  // namespace citadel::cli
