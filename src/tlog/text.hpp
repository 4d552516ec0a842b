// What the texts of a transparency log share: lines, and numbers with one form. Pure.
#pragma once
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include "tlog/merkle.hpp"

namespace citadel::tlog {

// Takes the first line off `text` and gives it without its newline; nullopt where no newline is left.
inline std::optional<std::string_view> take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

// A decimal number without sign, leading zeros or anything else, at most tree_size_max.
inline std::optional<std::uint64_t> parse_decimal(std::string_view text) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > tree_size_max) return std::nullopt;
  return value;
}

}  // namespace citadel::tlog
