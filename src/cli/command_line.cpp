#include "cli/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <ostream>
#include <utility>

#include "base/nearest.hpp"

namespace citadel::cli {

Option Option::required() const {
  option_->required();
  return *this;
}

Option Option::show_default() const {
  option_->capture_default_str();
  return *this;
}

Option Option::envname(const std::string& name) const {
  option_->envname(name);
  return *this;
}

Option Option::existing_file() const {
  option_->check(CLI::ExistingFile);
  return *this;
}

Option Option::range(int low, int high) const {
  option_->check(CLI::Range(low, high));
  return *this;
}

Option Option::one_of(const std::vector<std::string>& values) const {
  option_->check(CLI::IsMember(values));
  return *this;
}

Option Option::needs(const std::string& other) const {
  option_->needs(other);
  return *this;
}

Option Option::excludes(const std::string& other) const {
  option_->excludes(other);
  return *this;
}

Command Command::add_subcommand(const std::string& name, const std::string& help) const {
  return Command(*app_->add_subcommand(name, help));
}

void Command::require_subcommand() const {
  app_->require_subcommand(1);
}

void Command::fallthrough() const {
  app_->fallthrough();
}

template <typename Target>
Option Command::add(const std::string& names, Target& target, const std::string& help) const {
  return Option(*app_->add_option(names, target, help));
}

Option Command::add_option(const std::string& names, std::string& target, const std::string& help) const {
  return add(names, target, help);
}

Option Command::add_option(const std::string& names, std::filesystem::path& target,
                           const std::string& help) const {
  return add(names, target, help);
}

Option Command::add_option(const std::string& names, int& target, const std::string& help) const {
  return add(names, target, help);
}

Option Command::add_option(const std::string& names, std::uint16_t& target, const std::string& help) const {
  return add(names, target, help);
}

Option Command::add_option(const std::string& names, std::uint64_t& target, const std::string& help) const {
  return add(names, target, help);
}

Option Command::add_option(const std::string& names, std::chrono::seconds& target,
                           const std::string& help) const {
  return add(names, target, help);
}

Option Command::add_option(const std::string& names, std::vector<std::string>& target,
                           const std::string& help) const {
  return add(names, target, help);
}

void Command::add_flag(const std::string& names, bool& target, const std::string& help) const {
  app_->add_flag(names, target, help);
}

void Command::callback(std::function<void()> run) const {
  app_->callback(std::move(run));
}

CommandLine::CommandLine(const std::string& program, const std::string& help)
    : app_(std::make_unique<CLI::App>(help, program)) {}

CommandLine::~CommandLine() = default;

Command CommandLine::root() const {
  return Command(*app_);
}

namespace {

// Where a word stands in the place of a subcommand and is none: that, with the nearest one. Else "".
std::string unknown_subcommand(const CLI::App& root) {
  const auto* command = &root;
  std::string path = root.get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().back();
    path += ' ' + command->get_name();
  }
  std::vector<std::string> names;
  for (const auto* const subcommand : command->get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(subcommand->get_name());
  const auto rest = root.remaining(true);
  // Behind an option that is not known a word may be its value.
  if (names.empty() || rest.empty() || rest.front().starts_with('-')) return {};
  const auto meant = nearest(rest.front(), names);
  return fmt::format("{} has no command '{}'{}", path, rest.front(),
                     meant.empty() ? std::string() : fmt::format("; did you mean '{}'?", meant));
}

}  // namespace

ParseOutcome CommandLine::parse(int argc, const char* const* argv, std::ostream& out, std::string& fault) {
  try {
    app_->parse(argc, argv);
    return ParseOutcome::ran;
  } catch (const CLI::ParseError& error) {
    // Help is a "parse error" of code 0 to CLI11; all others are wrong use, whatever code CLI11 has for them.
    if (error.get_exit_code() == 0) {
      app_->exit(error, out, out);
      return ParseOutcome::help;
    }
    fault = unknown_subcommand(*app_);
    if (fault.empty()) fault = error.what();
    return ParseOutcome::wrong_use;
  }
}

}  // namespace citadel::cli
