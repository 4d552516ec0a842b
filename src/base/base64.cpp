#include "base/base64.hpp"

#include <array>

namespace citadel {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t no_digit = 0xFF;

constexpr auto digits = [] {
  std::array<std::uint8_t, 256> table{};
  table.fill(no_digit);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return table;
}();

}  // namespace

std::string to_base64(Bytes bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < count ? static_cast<std::uint32_t>(bytes[at + i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= count ? alphabet[group >> (18 - 6 * i) & 63] : '=';
    }
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string out(text.size() / 4 * 3, '\0');
  char* to = out.data();
  for (std::size_t at = 0; at < text.size(); at += 4) {
    const std::size_t missing = at + 4 == text.size() ? padding : 0;
    std::uint32_t group = 0, seen = 0;
    for (std::size_t i = 0; i < 4 - missing; ++i) {
      const std::uint32_t digit = digits[static_cast<unsigned char>(text[at + i])];
      seen |= digit;
      group |= digit << (18 - 6 * i);
    }
    // A digit has six bits, what is none has all eight.
    if (seen > 63) return std::nullopt;
    // What the padding cuts off must be zero, or several texts would stand for the same bytes.
    if ((group & ((1u << (8 * missing)) - 1)) != 0) return std::nullopt;
    for (std::size_t i = 0; i < 3; ++i) *to++ = static_cast<char>(group >> (16 - 8 * i));
  }
  out.resize(out.size() - padding);
  return out;
}

}  // namespace citadel
