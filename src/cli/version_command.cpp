// citadel version
#include <fmt/format.h>

#include <iostream>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/json_text.hpp"
#include "cli_version.hpp"

namespace citadel::cli {
namespace {

int run_version(const Context& context) {
  if (context.json) {
    std::string names;
    for (const auto& library : libraries) {
      names += fmt::format("{}{}:{}", names.empty() ? "" : ",", json_string(library.name),
                           json_string(library.version));
    }
    *context.out << fmt::format(
        "{{\"version\":{},\"git_revision\":{},\"build_type\":{},\"sanitizers\":{},\"compiler\":{},"
        "\"libraries\":{{{}}}}}\n",
        json_string(version), json_string(git_revision), json_string(build_type), json_string(sanitizers),
        json_string(compiler), names);
    return exit_good;
  }
  *context.out << fmt::format("citadel {}{}{}\n", version, *git_revision ? " " : "", git_revision);
  *context.out << fmt::format("built     {}{}{} with {}\n", build_type, *sanitizers ? ", sanitizers " : "",
                              sanitizers, compiler);
  for (const auto& library : libraries) {
    *context.out << fmt::format("{:<9} {} {}\n", &library == libraries ? "libraries" : "", library.name,
                                library.version);
  }
  return exit_good;
}

}  // namespace

void add_version_command(Command app, Context& context) {
  app.add_subcommand("version", "Print the version, the compiler and the libraries").callback([&context] {
    context.exit_code = run_version(context);
  });
}

}  // namespace citadel::cli
