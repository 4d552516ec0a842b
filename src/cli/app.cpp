#include <CLI/CLI.hpp>
#include <iostream>

#include "app/config.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"

namespace citadel::cli {
namespace {

void add_global_options(CLI::App& app, Context& context) {
  app.add_option("--url", context.url, "The daemon to talk to")
      ->envname("CITADEL_URL")
      ->capture_default_str();
  app.add_option("--key-file", context.key_file, "File with the API key")
      ->envname("CITADEL_KEY_FILE")
      ->capture_default_str();
  app.add_flag("--json", context.json, "Print JSON for programs");
}

}  // namespace

int Context::report(const Error& error) const {
  *err << "citadel: " << error.to_string() << '\n';
  switch (error.code) {
    case Code::unavailable:
    case Code::connection_lost:
    case Code::deadline_exceeded:
      return exit_unreachable;
    case Code::invalid_argument:
      return exit_wrong_use;
    default:
      return exit_check_failed;
  }
}

int run_command_line(int argc, const char* const* argv, Context& context) {
  CLI::App app("Citadel: the data layer behind an AI gateway.", "citadel");
  if (context.key_file.empty())
    context.key_file = app::default_data_folder(context.environment) / "admin.key";
  // A subcommand takes the global options too: `citadel usage --json` and `citadel --json usage` are the
  // same.
  app.fallthrough();
  app.require_subcommand(1);
  add_global_options(app, context);
  add_up_command(app, context);
  add_serve_command(app, context);
  add_migrate_command(app, context);
  add_config_command(app, context);
  add_doctor_command(app, context);
  add_status_command(app, context);
  add_pool_command(app, context);
  add_import_command(app, context);
  add_usage_command(app, context);
  add_audit_command(app, context);
  add_verify_command(app, context);
  add_bench_command(app, context);
  add_version_command(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help is a "parse error" of code 0 to CLI11; all others are wrong use, whatever code CLI11 has for them.
    return app.exit(error, *context.out, *context.err) == 0 ? exit_good : exit_wrong_use;
  }
  return context.exit_code;
}

}  // namespace citadel::cli
