#include "app/config_value.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/quote.hpp"

namespace citadel::app {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t worth;
};
constexpr std::array<Unit, 6> duration_units{{{"us", 1},
                                              {"ms", 1'000},
                                              {"s", 1'000'000},
                                              {"m", 60'000'000},
                                              {"h", 3'600'000'000},
                                              {"d", 86'400'000'000}}};
constexpr std::array<Unit, 5> size_units{
    {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", std::int64_t{1} << 40}}};

std::optional<std::int64_t> parse_with_unit(std::string_view text, std::span<const Unit> units,
                                            bool unit_needed) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_integer(text.substr(0, digits));
  if (!number) return std::nullopt;
  const auto name = text.substr(digits);
  if (name.empty() && !unit_needed) return number;
  for (const auto& unit : units) {
    std::int64_t product = 0;
    if (unit.name == name && !__builtin_mul_overflow(*number, unit.worth, &product)) return product;
  }
  return std::nullopt;
}

std::string format_with_unit(std::int64_t value, std::span<const Unit> units) {
  for (std::size_t i = units.size(); i-- > 0;) {
    if (value != 0 && value % units[i].worth == 0)
      return fmt::format("{}{}", value / units[i].worth, units[i].name);
  }
  return fmt::format("{}{}", value, units.front().name);
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  const auto microseconds = parse_with_unit(text, duration_units, true);
  if (!microseconds) return std::nullopt;
  return Duration(*microseconds);
}

std::string format_duration(Duration duration) {
  return duration == Duration::zero() ? "0s" : format_with_unit(duration.count(), duration_units);
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  return parse_with_unit(text, size_units, false);
}

std::string format_size(std::int64_t bytes) {
  return format_with_unit(bytes, size_units);
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = parse_integer(text.substr(colon + 1));
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || !port || *port < 0 || *port > 65535) return std::nullopt;
  // Colons need brackets, or "::1" would be read as host ":" and port 1.
  if (host.find_first_of("[]/ \t\r\n") != std::string_view::npos) return std::nullopt;
  if (bracketed != (host.find(':') != std::string_view::npos)) return std::nullopt;
  return Endpoint{std::string(host), static_cast<std::uint16_t>(*port)};
}

std::string format_endpoint(const Endpoint& endpoint) {
  const bool brackets = endpoint.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", brackets ? "[" : "", endpoint.host, brackets ? "]" : "", endpoint.port);
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string quote_toml(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}

}  // namespace citadel::app
