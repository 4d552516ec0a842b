#include <algorithm>
#include <ostream>
#include <span>

#include "app/config.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "json/parse.hpp"
#include "json/serialize.hpp"
#include "json/writer.hpp"

namespace citadel::cli {
namespace {

void add_global_options(Command app, Context& context) {
  app.add_option("--url", context.url, "The daemon to talk to").envname("CITADEL_URL").show_default();
  app.add_option("--key-file", context.key_file, "File with the API key")
      .envname("CITADEL_KEY_FILE")
      .show_default();
  app.add_flag("--json", context.json, "Print JSON for programs");
}

int exit_code_of(Code code) {
  switch (code) {
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

// The problem that the daemon sent: error_of() keeps it where PostgreSQL's DETAIL would be, and that may hold
// values of rows.
std::string problem_in(const Error& error) {
  const auto detail = json::parse(error.detail, {});
  if (!detail || !detail->is_object()) return {};
  const auto* const type = detail->get_object().if_contains("type");
  const bool is_problem =
      type != nullptr && type->is_string() && type->get_string().starts_with("/problems/");
  return is_problem ? json::serialize(*detail) : std::string();
}

std::string error_json(const Error& error, int exit_code) {
  json::Writer out;
  out.begin_object().key("code").text(to_string(error.code)).key("message").text(error.message);
  if (error.sqlstate[0] != '\0') out.key("sqlstate").text(error.sqlstate);
  if (!error.where.empty()) out.key("where").text(error.where);
  out.key("exit_code").integer(exit_code);
  if (const auto problem = problem_in(error); !problem.empty()) out.key("problem").raw(problem);
  return out.end_object().take();
}

// The command line was not read to its end, so its flags are not known otherwise.
bool asks_for_json(std::span<const char* const> arguments) {
  return std::ranges::any_of(arguments, [](const char* text) { return std::string_view(text) == "--json"; });
}

}  // namespace

int Context::report(const Error& error) const {
  const int code = exit_code_of(error.code);
  if (json) {
    *err << error_json(error, code) << '\n';
  } else {
    *err << "citadel: " << error.to_string() << '\n';
  }
  return code;
}

void Context::progress(std::string_view text) const {
  if (!json) *err << text << std::flush;
}

void Context::update(std::string_view text) const {
  progress(err_is_terminal ? fmt::format("\r{}", text) : fmt::format("{}\n", text));
}

void Context::end_update() const {
  if (err_is_terminal) progress("\n");
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
  add_key_command(app, context);
  add_principal_command(app, context);
  add_tenant_command(app, context);
  add_verify_command(app, context);
  add_bench_command(app, context);
  add_version_command(app, context);
  std::string fault;
  const auto outcome = command_line.parse(argc, argv, *context.out, fault);
  if (outcome == ParseOutcome::ran) return context.exit_code;
  if (outcome == ParseOutcome::help) return exit_good;
  context.json = context.json || asks_for_json({argv, static_cast<std::size_t>(argc)});
  if (context.json) return context.report(Error(Code::invalid_argument, fault));
  *context.err << fault << "\nRun with --help for more information.\n";
  return exit_wrong_use;
}

}  // namespace citadel::cli
