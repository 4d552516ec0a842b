#include "app/config_problems.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace citadel::app {
namespace {
constexpr std::size_t lines_shown_max = 100, value_shown_max = 80;
}

void Problems::add(std::string_view origin, std::string_view subject, std::string_view what) {
  lines_.push_back(subject.empty() ? fmt::format("{}: {}", origin, what)
                                   : fmt::format("{}: {}: {}", origin, subject, what));
}

std::string Problems::text() const {
  const auto shown = std::min(lines_.size(), lines_shown_max);
  auto text =
      fmt::format("{}", fmt::join(lines_.begin(), lines_.begin() + static_cast<std::ptrdiff_t>(shown), "\n"));
  if (shown < lines_.size()) text += fmt::format("\nand {} more", lines_.size() - shown);
  return text;
}

std::string origin_of(const Config& config, std::string_view full_name) {
  const auto at = config.origins.find(full_name);
  return at == config.origins.end() ? "default" : at->second;
}

std::string shown_value(const Key& key, std::string toml) {
  if (std::holds_alternative<SecretFileValue>(key.value)) return "\"***\"";
  if (toml.size() <= value_shown_max) return toml;
  // Not in the middle of a character.
  auto end = value_shown_max;
  while (end > 0 && (static_cast<unsigned char>(toml[end]) & 0xC0) == 0x80) --end;
  return toml.substr(0, end) + "…";
}

}  // namespace citadel::app
