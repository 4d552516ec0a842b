// Context: what every command gets: the global options, where to print, and the exit code that it leaves
// behind.
//
// A command is one file, src/cli/NAME_command.cpp, that declares itself in commands.hpp and defines
//   void add_NAME_command(Command app, Context& context);
// which adds a subcommand whose callback sets `context.exit_code` to what its run function returns. How it
// declares its options: cli/command_line.hpp.
#pragma once
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace citadel::cli {

enum ExitCode : int {
  exit_good = 0,
  exit_check_failed = 1,  // a check failed, or the work could not be done
  exit_wrong_use = 2,     // the command line is wrong
  exit_unreachable = 3,   // the daemon or the database cannot be reached
};

struct Context {
  std::string url = "http://127.0.0.1:8480";  // --url, CITADEL_URL
  std::filesystem::path key_file;        // --key-file, CITADEL_KEY_FILE; default: where `citadel up` puts it
  bool json = false;                     // --json: one JSON value on `out`, nothing else
  std::vector<std::string> environment;  // "NAME=value"

  std::ostream* out = nullptr;  // results
  std::ostream* err = nullptr;  // errors and progress, for people; with --json an error is one line of JSON
  bool err_is_terminal = false;

  int exit_code = exit_good;

  // Prints the error on err, as its last line, and gives the exit code that fits: exit_unreachable for what
  // cannot be reached (unavailable, connection_lost, deadline_exceeded), exit_wrong_use for invalid_argument,
  // else exit_check_failed. The line is "citadel: …", and with --json
  //   {"code":"not_found","message":"…","sqlstate":"…","where":"…","exit_code":1,"problem":{…}}
  // of which sqlstate, where and problem are there where the error has them; the problem is as the daemon
  // sent it.
  int report(const Error& error) const;
  // On err, at once; nothing with --json. `text` is as it is to be printed, its newline included.
  void progress(std::string_view text) const;
  // How far something long has come: on a terminal in place of what was said before, until end_update();
  // elsewhere a line of its own.
  void update(std::string_view text) const;
  void end_update() const;
};

// Parses the command line and runs the command it names. Prints help and faults of use itself.
int run_command_line(int argc, const char* const* argv, Context& context);

}  // namespace citadel::cli
