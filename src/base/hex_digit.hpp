// Hexadecimal digits without allocating. Pure.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>

namespace citadel {

// 0 to 15, or -1 where it is no hexadecimal digit.
constexpr int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Two digits a byte, either case, into `to`, which they fill; false, and then `to` holds anything, where they
// do not, or one is no digit.
[[nodiscard]] constexpr bool read_hex(std::string_view text, std::span<std::byte> to) {
  if (text.size() != to.size() * 2) return false;
  for (std::size_t i = 0; i < to.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    to[i] = static_cast<std::byte>(high << 4 | low);
  }
  return true;
}

}  // namespace citadel
