#include "app/config_toml.hpp"

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>

#include "app/config_value.hpp"

namespace citadel::app {
namespace {

bool names_a_secret(std::string_view name) {
  return name == "password" || name.ends_with("_password");
}

class Reader {
 public:
  Reader(std::string_view file_name, Config& config, Problems& problems)
      : file_name_(file_name), config_(config), problems_(problems) {}

  // `section` is "" for the whole file.
  void read_table(const toml::table& table, const std::string& section) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const auto inner = section.empty() ? name : fmt::format("{}.{}", section, name);
      const auto* known = find_key(section, name);
      if (known) {
        read_value(*known, node);
      } else if (is_section(inner)) {
        read_section(inner, node);
      } else {
        faults_.push_back({key.source().begin, printable(inner), unknown(section, name, node)});
      }
    }
  }

  // A table is sorted by name; its faults are told in the order of the file.
  void finish() {
    std::ranges::sort(faults_, [](const Fault& a, const Fault& b) { return a.place < b.place; });
    for (const auto& fault : faults_) problems_.add(at(fault.place), fault.subject, fault.what);
  }

  std::string at(const toml::source_position& place) const {
    return fmt::format("{}:{}:{}", file_name_, place.line, place.column);
  }

 private:
  struct Fault {
    toml::source_position place;
    std::string subject, what;
  };

  static bool is_section(std::string_view name) {
    return std::ranges::any_of(config_sections(), [&](const Section& s) { return s.name == name; });
  }

  // A key may hold anything that TOML can quote, and a fault is one line.
  static std::string printable(std::string_view name) {
    constexpr std::size_t shown_max = 80;
    const auto quoted = quote_toml(name.substr(0, shown_max));
    return quoted.substr(1, quoted.size() - 2);
  }

  void read_section(const std::string& name, const toml::node& node) {
    if (const auto* table = node.as_table()) return read_table(*table, name);
    faults_.push_back({node.source().begin, name, fmt::format("is a section; write it as [{}]", name)});
  }

  void read_value(const Key& key, const toml::node& node) {
    const auto [shown, set] = set_value(key, node);
    if (set) {
      config_.origins[key.full_name()] = at(node.source().begin);
    } else {
      faults_.push_back({node.source().begin,
                         fmt::format("{} = {}", key.full_name(), shown_value(key, shown)),
                         set.error().message});
    }
  }

  // The value as it stands in the file, and whether it was taken.
  std::pair<std::string, Result<void>> set_value(const Key& key, const toml::node& node) {
    if (const auto* integer = node.as_integer()) {
      return {std::to_string(integer->get()), set_from_integer(key, config_, integer->get())};
    }
    if (const auto* boolean = node.as_boolean()) {
      return {boolean->get() ? "true" : "false", set_from_boolean(key, config_, boolean->get())};
    }
    if (const auto* text = node.as_string()) {
      // "5" in quotes is no integer in a file, though an environment variable has no other way to say it.
      const bool is_text = !std::holds_alternative<IntegerValue>(key.value) &&
                           !std::holds_alternative<BooleanValue>(key.value);
      return {quote_toml(text->get()), is_text ? set_from_text(key, config_, text->get()) : not_a(key)};
    }
    const auto kind = node.is_table()            ? "a table"
                      : node.is_array()          ? "an array"
                      : node.is_floating_point() ? "a floating-point number"
                                                 : "a date or time";
    return {kind, not_a(key)};
  }

  static Result<void> not_a(const Key& key) {
    return fail(Code::invalid_argument, fmt::format("is not {}; good: {}, for example {}", type_name(key),
                                                    limit_text(key), example_text(key)));
  }

  static std::string unknown(const std::string& section, const std::string& name, const toml::node& node) {
    if (names_a_secret(name)) {
      return fmt::format("secrets come from files only: set {}_file to the path of a file with the password",
                         name);
    }
    if (section.empty() && !node.is_table()) {
      // "size_max = 5" in front of the first [section].
      for (const auto& key : config_keys()) {
        if (key.name == name)
          return fmt::format("stands outside a section; did you mean {}?", key.full_name());
      }
    }
    std::vector<std::string> candidates;
    for (const auto& key : config_keys()) {
      if (key.section == section) candidates.emplace_back(key.name);
    }
    for (const auto& known : config_sections()) {
      if (section.empty() || known.name.starts_with(section + ".")) {
        candidates.emplace_back(section.empty() ? known.name : known.name.substr(section.size() + 1));
      }
    }
    const auto meant = nearest(name, candidates);
    return fmt::format(
        "is not a {}{}", node.is_table() ? "section" : "key",
        meant ? fmt::format("; did you mean {}{}{}?", section, section.empty() ? "" : ".", *meant) : "");
  }

  const std::string_view file_name_;
  Config& config_;
  Problems& problems_;
  std::vector<Fault> faults_;
};

}  // namespace

void read_toml(std::string_view text, std::string_view file_name, Config& config, Problems& problems) {
  Reader reader(file_name, config, problems);
  const auto parsed = toml::parse(text, file_name);
  if (!parsed) {
    problems.add(reader.at(parsed.error().source().begin), "", parsed.error().description());
    return;
  }
  reader.read_table(parsed.table(), "");
  reader.finish();
}

}  // namespace citadel::app
