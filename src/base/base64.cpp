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

// Each digit's six bits where they stand in a group of four, by place; what is no digit has a bit above all
// groups.
constexpr std::uint32_t group_max = 0xFF'FF'FF;
constexpr auto placed_digits = [] {
  std::array<std::array<std::uint32_t, 256>, 4> tables{};
  for (std::size_t place = 0; place < tables.size(); ++place) {
    for (std::size_t c = 0; c < digits.size(); ++c) {
      tables[place][c] = digits[c] == no_digit ? group_max + 1 : std::uint32_t{digits[c]} << (18 - 6 * place);
    }
  }
  return tables;
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

bool from_base64(std::string_view text, std::string& out) {
  if (text.size() % 4 != 0) return false;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  out.resize(text.size() / 4 * 3);
  char* to = out.data();
  const auto put = [&](std::uint32_t group) {
    *to++ = static_cast<char>(group >> 16);
    *to++ = static_cast<char>(group >> 8);
    *to++ = static_cast<char>(group);
  };
  const auto digit_at = [&](std::size_t at) -> std::uint32_t {
    return digits[static_cast<unsigned char>(text[at])];
  };
  std::size_t at = 0;
  // Four bytes are stored for three, because that is one store; the next group or the last overwrites the
  // fourth.
  for (; at + 4 < text.size(); at += 4, to += 3) {
    const auto placed = [&](std::size_t place) {
      return placed_digits[place][static_cast<unsigned char>(text[at + place])];
    };
    const std::uint32_t group = placed(0) | placed(1) | placed(2) | placed(3);
    if (group > group_max) return false;
    store_be(to, group << 8);
  }
  if (at < text.size()) {
    std::uint32_t group = 0, seen = 0;
    for (std::size_t i = 0; i < 4 - padding; ++i) {
      const std::uint32_t digit = digit_at(at + i);
      seen |= digit;
      group |= digit << (18 - 6 * i);
    }
    if (seen > 63) return false;
    // What the padding cuts off must be zero, or several texts would stand for the same bytes.
    if ((group & ((1u << (8 * padding)) - 1)) != 0) return false;
    put(group);
  }
  out.resize(out.size() - padding);
  return true;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string out;
  if (!from_base64(text, out)) return std::nullopt;
  return out;
}

}  // namespace citadel
