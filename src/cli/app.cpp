#include <ostream>

#include "app/config.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"

namespace citadel::cli {
namespace {

void add_global_options(Command app, Context& context) {
  app.add_option("--url", context.url, "The daemon to talk to").envname("CITADEL_URL").show_default();
  app.add_option("--key-file", context.key_file, "File with the API key")
      .envname("CITADEL_KEY_FILE")
      .show_default();
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
  CommandLine command_line("citadel", "Citadel: the data layer behind an AI gateway.");
  const auto app = command_line.root();
  if (context.key_file.empty())
    context.key_file = app::default_data_folder(context.environment) / "admin.key";
  // A subcommand takes the global options too: `citadel usage --json` and `citadel --json usage` are the
  // same.
  app.fallthrough();
  app.require_subcommand();
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
  const auto outcome = command_line.parse(argc, argv, *context.out, *context.err);
  if (outcome == ParseOutcome::ran) return context.exit_code;
  return outcome == ParseOutcome::help ? exit_good : exit_wrong_use;
}

}  // namespace citadel::cli
