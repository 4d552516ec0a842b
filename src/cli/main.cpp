// The program `citadel`.
#include <unistd.h>

#include <exception>
#include <iostream>

#include "app/config.hpp"
#include "cli/context.hpp"

int main(int argc, char** argv) {
  citadel::cli::Context context;
  context.environment = citadel::app::process_environment();
  context.out = &std::cout;
  context.err = &std::cerr;
  context.err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  try {
    const int code = citadel::cli::run_command_line(argc, argv, context);
    // A full disk or a closed pipe behind standard output is a failure, though the work itself went well.
    std::cout.flush();
    if (!std::cout && code == citadel::cli::exit_good)
      return context.report(citadel::Error(citadel::Code::io_error, "standard output cannot be written"));
    return code;
  } catch (const std::exception& error) {
    return context.report(citadel::Error(citadel::Code::internal, std::string("a bug: ") + error.what()));
  }
}
