// The table of all configuration keys: name, type, limits, reloadable, and one sentence of documentation
// each. The loader, the checks, `config show`, `config docs` and docs/configuration.md are driven by it; the
// default is what a default-made Config holds.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "app/config.hpp"

namespace citadel::app {

// How a key's value lies in a Config; each knows how to reach it.
struct TextValue {
  std::string& (*at)(Config&);
  bool may_be_empty;
};
struct IntegerValue {
  std::int64_t& (*at)(Config&);
  std::int64_t min, max;
};
struct SizeValue {  // bytes
  std::int64_t& (*at)(Config&);
  std::int64_t min, max;
};
struct DurationValue {
  Duration& (*at)(Config&);
  Duration min, max;
};
struct BooleanValue {
  bool& (*at)(Config&);
};
struct ChoiceValue {
  std::span<const std::string_view> names;  // in the order of the enum's values
  std::size_t (*get)(const Config&);
  void (*set)(Config&, std::size_t);
};
struct PathValue {
  std::filesystem::path& (*at)(Config&);
};
struct SecretFileValue {
  SecretFile& (*at)(Config&);
};
struct EndpointValue {
  Endpoint& (*at)(Config&);
};
using KeyValue = std::variant<TextValue, IntegerValue, SizeValue, DurationValue, BooleanValue, ChoiceValue,
                              PathValue, SecretFileValue, EndpointValue>;

enum class Reload : std::uint8_t { no, yes };

struct Key {
  std::string_view section;  // "pool", "database.direct"
  std::string_view name;     // "size_max"
  KeyValue value;
  Reload reload;
  std::string_view doc;

  std::string full_name() const;         // "database.direct.port"
  std::string environment_name() const;  // "CITADEL_DATABASE_DIRECT_PORT"
};

struct Section {
  std::string_view name;
  std::string_view doc;
};

std::span<const Key> config_keys();  // grouped by section, in the sections' order
std::span<const Section> config_sections();
const Key* find_key(std::string_view section, std::string_view name);

// CITADEL_ variables that are no configuration keys but mean something elsewhere; a name that ends with '*'
// is a prefix.
std::span<const std::string_view> other_variables();

// "integer", "size", ...
std::string_view type_name(const Key& key);
// What values are good, for errors and docs: "1 to 1000", "1ms to 1m", "one of text, json".
std::string limit_text(const Key& key);
// An example of a good value as TOML, for errors: `"30s"`.
std::string example_text(const Key& key);

// The value as TOML prints it: `100`, `"30s"`, `"64MiB"`. A secret file is printed as its path.
std::string value_toml(const Key& key, const Config& config);
// The value as an environment variable holds it: `100`, `30s`.
std::string value_text(const Key& key, const Config& config);
// Sets the value from text (an environment variable, or a TOML string). The error's message says what is
// wrong and what is good, without the value. Reads no secret.
Result<void> set_from_text(const Key& key, Config& config, std::string_view text);
Result<void> set_from_integer(const Key& key, Config& config, std::int64_t value);
Result<void> set_from_boolean(const Key& key, Config& config, bool value);
// Copies one key's value, a secret's content included.
void copy_value(const Key& key, const Config& from, Config& to);
bool same_value(const Key& key, const Config& a, const Config& b);

}  // namespace citadel::app
