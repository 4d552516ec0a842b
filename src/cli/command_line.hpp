// The command line as its commands declare it: subcommands, their options and flags, and what runs.
//
//   CommandLine command_line("citadel", "The data layer behind an AI gateway.");
//   const auto usage = command_line.root().add_subcommand("usage", "Show requests and tokens");
//   usage.add_option("--bucket", options->bucket, "minute, hour or day").show_default();
//   usage.callback([options] { run_usage(*options); });
//   std::string fault;
//   if (command_line.parse(argc, argv, std::cout, fault) == ParseOutcome::wrong_use) std::cerr << fault <<
//   '\n';
//
// Command and Option are handles, to be copied; they and the targets are used until parse() has returned, so
// the CommandLine and the targets outlive that. Faults of the declaration itself (a name twice, or in needs()
// a name that is no option of the command) are bugs, and throw.
//
// Behind it is CLI11, a heavy header: only command_line.cpp includes it.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace citadel::cli {

// An option, or what stands at a place of its own. Each function adds a rule and gives the same option.
class Option {
 public:
  Option required() const;
  // The help shows the value that the target has now.
  Option show_default() const;
  // Where the command line has none, the value is this environment variable's.
  Option envname(const std::string& name) const;

  // The value is the name of a file that is there; lies in [low, high]; is one of these.
  Option existing_file() const;
  Option range(int low, int high) const;
  Option one_of(const std::vector<std::string>& values) const;

  // With another option of the same command, like "--to", added before: only together, or never together.
  Option needs(const std::string& other) const;
  Option excludes(const std::string& other) const;

 private:
  friend class Command;
  explicit Option(CLI::Option& option) : option_(&option) {}
  CLI::Option* option_;
};

class Command {
 public:
  Command add_subcommand(const std::string& name, const std::string& help) const;
  // Exactly one of the subcommands must be named.
  void require_subcommand() const;
  // Options of this command may stand after a subcommand's name, too; holds for subcommands added after this.
  void fallthrough() const;

  // `names` is "--out" or "--out,-o"; without hyphens it is the value that stands at this place. The target
  // is written when it is given: what it holds before that is the default. A vector takes the option many
  // times.
  Option add_option(const std::string& names, std::string& target, const std::string& help) const;
  Option add_option(const std::string& names, std::filesystem::path& target, const std::string& help) const;
  Option add_option(const std::string& names, int& target, const std::string& help) const;
  Option add_option(const std::string& names, std::uint16_t& target, const std::string& help) const;
  Option add_option(const std::string& names, std::uint64_t& target, const std::string& help) const;
  Option add_option(const std::string& names, std::chrono::seconds& target, const std::string& help) const;
  Option add_option(const std::string& names, std::vector<std::string>& target,
                    const std::string& help) const;
  // true when it is given.
  void add_flag(const std::string& names, bool& target, const std::string& help) const;

  // Runs inside parse(), once the whole command line is read and found good, when this command is named.
  void callback(std::function<void()> run) const;

 private:
  friend class CommandLine;
  explicit Command(CLI::App& app) : app_(&app) {}
  template <typename Target>
  Option add(const std::string& names, Target& target, const std::string& help) const;
  CLI::App* app_;
};

enum class ParseOutcome : std::uint8_t {
  ran,        // the callbacks have run
  help,       // help was asked for, and is printed
  wrong_use,  // a fault of the command line; nothing has run
};

class CommandLine {
 public:
  CommandLine(const std::string& program, const std::string& help);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // The program itself, as a command.
  Command root() const;
  // Prints help on `out`; what is wrong with the command line becomes `fault`, without a newline at its end.
  // A subcommand that is not there is named, with the nearest that is. What a callback throws goes through.
  ParseOutcome parse(int argc, const char* const* argv, std::ostream& out, std::string& fault);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace citadel::cli
