// citadel config check|show|docs
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "app/audit_witnesses.hpp"
#include "app/config.hpp"
#include "app/config_docs.hpp"
#include "app/config_problems.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/instance.hpp"
#include "cli/json_text.hpp"

namespace citadel::cli {
namespace {

Result<app::Config> load(const Context& context, const InstanceOptions& options) {
  CITADEL_ASSIGN(const auto sources, sources_of(context, options));
  return app::load_config(sources);
}

// What the daemon reads at its start besides the configuration; looked at here, so that a fault is known
// before that.
Result<void> check_files(const app::Config& config) {
  if (!config.audit.enabled) return {};
  const auto witnesses = app::load_witnesses(config.audit);
  if (witnesses) return {};
  const auto& message = witnesses.error().message;
  return fail(Code::invalid_argument,
              fmt::format("{}: {}", app::origin_of(config, message.substr(0, message.find(':'))), message));
}

// A bad configuration is a check that failed; a file that is not there is wrong use.
int print_faults(const Context& context, const Error& error) {
  const bool is_checked = error.code == Code::invalid_argument;
  if (context.json) {
    *context.out << fmt::format("{{\"good\":false,\"faults\":{}}}\n", json_lines(error.message));
  } else {
    *context.err << (is_checked ? "" : "citadel: ") << error.message << '\n';
  }
  return is_checked ? exit_check_failed : exit_wrong_use;
}

int run_check(const Context& context, const InstanceOptions& options) {
  const auto config = load(context, options);
  if (!config) return print_faults(context, config.error());
  if (const auto files = check_files(*config); !files) return print_faults(context, files.error());
  if (context.json) {
    *context.out << "{\"good\":true,\"faults\":[]}\n";
  } else {
    *context.out << "# OK: the configuration has no fault. Effective values:\n\n"
                 << app::render_config(*config);
  }
  return exit_good;
}

int run_show(const Context& context, const InstanceOptions& options) {
  const auto config = load(context, options);
  if (!config) return print_faults(context, config.error());
  *context.out << app::render_config(*config);
  return exit_good;
}

int run_docs(const Context& context) {
  *context.out << app::render_config_docs();
  return exit_good;
}

}  // namespace

void add_config_command(Command app, Context& context) {
  const auto config = app.add_subcommand("config", "Check, show or document the configuration");
  config.require_subcommand();
  const auto options = std::make_shared<InstanceOptions>();

  const auto check = config.add_subcommand("check", "Name all faults; exit code 1 where there is one");
  check.add_option("--config", options->file, "The configuration file; without it, defaults and environment")
      .existing_file();
  check.callback([&context, options] { context.exit_code = run_check(context, *options); });

  const auto show = config.add_subcommand("show", "Print the effective values and where each came from");
  show.add_option("--config", options->file, "The configuration file").existing_file();
  show.add_option("--data", options->data, "The data folder of `citadel up`: what it runs with");
  show.callback([&context, options] { context.exit_code = run_show(context, *options); });

  const auto docs = config.add_subcommand("docs", "Print docs/configuration.md");
  docs.callback([&context] { context.exit_code = run_docs(context); });
}

}  // namespace citadel::cli
