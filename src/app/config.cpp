#include "app/config.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "app/config_keys.hpp"
#include "app/config_problems.hpp"
#include "app/config_rules.hpp"
#include "app/config_toml.hpp"
#include "app/config_value.hpp"
#include "base/file.hpp"
#include "base/nearest.hpp"

namespace citadel::app {
namespace {

constexpr std::size_t file_bytes_max = 1 << 20;

bool is_other_variable(std::string_view name) {
  return std::ranges::any_of(other_variables(), [&](std::string_view pattern) {
    return pattern.ends_with('*') ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : name == pattern;
  });
}

const Key* key_of_variable(std::string_view name) {
  const auto keys = config_keys();
  const auto at = std::ranges::find_if(keys, [&](const Key& key) { return key.environment_name() == name; });
  return at == keys.end() ? nullptr : &*at;
}

std::string unknown_variable(std::string_view name) {
  if (name.ends_with("_PASSWORD")) {
    return fmt::format("secrets come from files only: set {}_FILE to the path of a file with the password",
                       name);
  }
  std::vector<std::string> names;
  for (const auto& key : config_keys()) names.push_back(key.environment_name());
  const auto meant = nearest(name, names);
  return "is not a setting" + (meant.empty() ? std::string() : fmt::format("; did you mean {}?", meant));
}

void read_environment(const std::vector<std::string>& environment, Config& config, Problems& problems) {
  std::set<std::string, std::less<>> seen;
  for (const auto& line : environment) {
    const auto name = line.substr(0, line.find('='));
    if (!name.starts_with("CITADEL_") || is_other_variable(name)) continue;
    const auto value = std::string_view(line).substr(std::min(name.size() + 1, line.size()));
    const auto origin = fmt::format("environment {}", name);
    if (!seen.insert(name).second) {
      problems.add(origin, "", "is set twice");
      continue;
    }
    const auto* key = key_of_variable(name);
    if (!key) {
      problems.add(origin, "", unknown_variable(name));
      continue;
    }
    if (const auto set = set_from_text(*key, config, value)) {
      config.origins[key->full_name()] = origin;
    } else {
      problems.add(origin, fmt::format("{} = {}", key->full_name(), shown_value(*key, quote_toml(value))),
                   set.error().message);
    }
  }
}

std::filesystem::path* path_of(const Key& key, Config& config) {
  if (const auto* path = std::get_if<PathValue>(&key.value)) return &path->at(config);
  if (const auto* secret = std::get_if<SecretFileValue>(&key.value)) return &secret->at(config).path;
  return nullptr;
}

// A relative path of the file counts from its folder. In the environment it counts from the working
// directory.
void resolve_paths(const std::filesystem::path& folder, Config& config) {
  for (const auto& key : config_keys()) {
    auto* const path = path_of(key, config);
    const auto origin = config.origins.find(key.full_name());
    if (!path || path->empty() || path->is_absolute() || origin == config.origins.end()) continue;
    if (!origin->second.starts_with("environment ")) *path = (folder / *path).lexically_normal();
  }
}

void fill_paths(const std::vector<std::string>& environment, Config& config) {
  if (config.local.data.empty()) config.local.data = default_data_folder(environment);
  if (config.journal.folder.empty()) config.journal.folder = config.local.data / "journal";
  auto& audit = config.audit;
  if (audit.signing_key_file.empty()) audit.signing_key_file = config.local.data / "audit-signing.key";
  if (audit.master_key_file.empty()) audit.master_key_file = config.local.data / "audit-master.key";
  if (audit.checkpoint_folder.empty()) audit.checkpoint_folder = config.local.data / "checkpoint";
  if (audit.journal_folder.empty()) audit.journal_folder = config.local.data / "audit-journal";
  if (config.admin.key_file.empty()) config.admin.key_file = config.local.data / "admin.key";
  if (config.access.pepper_file.empty())
    config.access.pepper_file = config.admin.key_file.parent_path() / "access.pepper";
}

void read_secrets(Config& config, Problems& problems) {
  for (const auto& key : config_keys()) {
    const auto* value = std::get_if<SecretFileValue>(&key.value);
    if (!value || value->at(config).path.empty()) continue;
    auto& secret = value->at(config);
    auto text = read_secret_file(secret.path);
    if (text) {
      secret.value = Secret(*std::move(text));
      continue;
    }
    // Whoever wrote the password itself where its file belongs must not find it in a log, so the value is not
    // shown.
    const bool is_missing = text.error().code == Code::not_found || text.error().code == Code::io_error;
    problems.add(origin_of(config, key.full_name()), fmt::format("{} = \"***\"", key.full_name()),
                 is_missing ? "cannot be read; the value is the path of a file whose first line is the secret"
                            : text.error().message);
  }
}

Result<Config> finish(Config config, Problems problems, const std::filesystem::path& folder,
                      const ConfigSources& sources) {
  read_environment(sources.environment, config, problems);
  resolve_paths(folder, config);
  fill_paths(sources.environment, config);
  check_rules(config, problems);
  if (sources.read_secrets) read_secrets(config, problems);
  if (!problems.empty()) return fail(Code::invalid_argument, problems.text());
  return config;
}

std::string_view variable(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string_view line : environment) {
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == '=') {
      return line.substr(name.size() + 1);
    }
  }
  return {};
}

}  // namespace

std::vector<std::string> process_environment() {
  std::vector<std::string> lines;
  for (char** line = environ; line && *line; ++line) lines.emplace_back(*line);
  return lines;
}

Result<Config> load_config(const ConfigSources& sources) {
  if (!sources.file) return finish(Config(), Problems(), {}, sources);
  auto text = read_file(*sources.file, file_bytes_max);
  if (!text) return std::unexpected(std::move(text).error().in("read the configuration"));
  return parse_config(*text, *sources.file, sources);
}

Result<Config> parse_config(std::string_view text, const std::filesystem::path& file_name,
                            const ConfigSources& sources) {
  Config config;
  Problems problems;
  read_toml(text, file_name.string(), config, problems);
  return finish(std::move(config), std::move(problems), file_name.parent_path(), sources);
}

std::vector<std::string> changed_not_reloadable(const Config& before, const Config& after) {
  std::vector<std::string> names;
  for (const auto& key : config_keys()) {
    if (key.reload == Reload::no && !same_value(key, before, after)) names.push_back(key.full_name());
  }
  return names;
}

Result<Reloaded> reload_config(const Config& before, const ConfigSources& sources) {
  CITADEL_ASSIGN(const auto after, load_config(sources));
  Reloaded reloaded{before, {}, changed_not_reloadable(before, after)};
  for (const auto& key : config_keys()) {
    if (key.reload == Reload::no || same_value(key, before, after)) continue;
    const auto name = key.full_name();
    copy_value(key, after, reloaded.config);
    reloaded.config.origins.erase(name);
    if (const auto origin = after.origins.find(name); origin != after.origins.end()) {
      reloaded.config.origins[name] = origin->second;
    }
    reloaded.changed.push_back(name);
  }
  return reloaded;
}

std::filesystem::path default_data_folder(const std::vector<std::string>& environment) {
  if (::geteuid() == 0) return "/var/lib/citadel";
  if (const auto folder = variable(environment, "XDG_DATA_HOME"); folder.starts_with('/')) {
    return std::filesystem::path(folder) / "citadel";
  }
  if (const auto home = variable(environment, "HOME"); home.starts_with('/')) {
    return std::filesystem::path(home) / ".local/share/citadel";
  }
  return "citadel-data";
}

}  // namespace citadel::app
