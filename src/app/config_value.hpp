// Texts of durations, sizes and endpoints, and the edit distance behind "did you mean". Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.hpp"

namespace citadel::app {

// A whole number and a unit: us, ms, s, m, h, d. "250ms", "5m". nullopt for anything else and for what
// overflows.
std::optional<Duration> parse_duration(std::string_view text);
// The shortest exact form: "1m30s" is never written, it is "90s".
std::string format_duration(Duration duration);

// A whole number of bytes with a unit B, KiB, MiB, GiB, TiB, or without one.
std::optional<std::int64_t> parse_size(std::string_view text);
std::string format_size(std::int64_t bytes);

// "127.0.0.1:8480", "[::1]:8480", "localhost:0".
std::optional<Endpoint> parse_endpoint(std::string_view text);
std::string format_endpoint(const Endpoint& endpoint);

std::optional<std::int64_t> parse_integer(std::string_view text);

// A TOML basic string, quoted and escaped.
std::string quote_toml(std::string_view text);

}  // namespace citadel::app
