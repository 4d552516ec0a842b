#include "cli/instance.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/file.hpp"

namespace citadel::cli {
namespace {

constexpr std::string_view file_name = "running.toml";

bool names_a_database(const std::vector<std::string>& environment) {
  return std::ranges::any_of(environment,
                             [](const std::string& line) { return line.starts_with("CITADEL_DATABASE_"); });
}

}  // namespace

Result<void> write_instance(const app::Config& config) {
  return write_file_durably(
      config.local.data / file_name,
      "# Written by `citadel up` at each start: what it runs with. For `citadel doctor`, `migrate` and\n"
      "# `config show`; changes here have no effect.\n\n" +
          app::render_config(config),
      0600);
}

Result<app::ConfigSources> sources_of(const Context& context, const InstanceOptions& options) {
  app::ConfigSources sources{{}, context.environment, true};
  if (!options.file.empty() && !options.data.empty()) {
    return fail(Code::invalid_argument, "--config and --data: give one of them");
  }
  if (!options.file.empty()) {
    sources.file = options.file;
    return sources;
  }
  const std::filesystem::path data = options.data.empty() ? app::default_data_folder(context.environment)
                                                          : std::filesystem::path(options.data);
  std::error_code unreadable;
  const bool there = std::filesystem::exists(data / file_name, unreadable);
  if (!options.data.empty() && !there) {
    return fail(Code::not_found,
                fmt::format("{}: {}; start it there first: citadel up --data {}", (data / file_name).string(),
                            unreadable ? unreadable.message() : "no citadel up has run in this folder",
                            data.string()));
  }
  if (there && (!options.data.empty() || !names_a_database(context.environment)))
    sources.file = data / file_name;
  return sources;
}

std::string how_to_start(const app::ConfigSources& sources) {
  if (!sources.file || sources.file->filename() != file_name) return {};
  return fmt::format("citadel up --data {}", sources.file->parent_path().string());
}

}  // namespace citadel::cli
