#include "base/quote.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <iterator>

#include "base/bytes.hpp"
#include "base/words.hpp"

namespace citadel {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

// The length of the well-formed UTF-8 sequence that begins `text` (Unicode 15, table 3-7); 0 where there is
// none.
std::size_t sequence_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  const auto trail = [&](std::size_t i) { return (at(i) & 0xC0) == 0x80; };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return trail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned char low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    return at(1) >= low && at(1) <= high && trail(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned char low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return at(1) >= low && at(1) <= high && trail(2) && trail(3) ? 4 : 0;
  }
  return 0;
}

void append_escape(std::string& to, char c) {
  switch (c) {
    case '"':
      to += "\\\"";
      break;
    case '\\':
      to += "\\\\";
      break;
    case '\n':
      to += "\\n";
      break;
    case '\r':
      to += "\\r";
      break;
    case '\t':
      to += "\\t";
      break;
    default:
      fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<unsigned>(c));
      break;
  }
}

// Whether each of eight bytes stands for itself. A borrow comes only from a byte that does not.
bool all_plain(std::uint64_t bytes) {
  constexpr std::uint64_t ones = 0x0101'0101'0101'0101u, highs = 0x80 * ones;
  const auto below = [](std::uint64_t each, std::uint64_t limit) { return (each - limit * ones) & ~each; };
  const auto equals = [&](char c) { return below(bytes ^ static_cast<unsigned char>(c) * ones, 1); };
  return ((bytes | below(bytes, 0x20) | equals('"') | equals('\\') | equals(0x7F)) & highs) == 0;
}

// By byte: whether it stands for itself, as most do.
constexpr auto plain_bytes = [] {
  std::array<bool, 256> table{};
  for (std::size_t byte = 0x20; byte < 0x7F; ++byte) table[byte] = byte != '"' && byte != '\\';
  return table;
}();

bool is_plain(char c) {
  return plain_bytes[static_cast<unsigned char>(c)];
}

// How many bytes at the front of `text` stand for themselves.
std::size_t plain_prefix(std::string_view text) {
  if (all_words(text, all_plain)) return text.size();
  std::size_t at = 0;
  while (at + sizeof(std::uint64_t) <= text.size() && all_plain(load_le<std::uint64_t>(text.data() + at)))
    at += sizeof(std::uint64_t);
  while (at < text.size() && is_plain(text[at])) ++at;
  return at;
}

}  // namespace

void append_escaped(std::string& to, std::string_view text) {
  while (!text.empty()) {
    const std::size_t plain = plain_prefix(text);
    to.append(text.data(), plain);
    text.remove_prefix(plain);
    if (text.empty()) return;
    std::size_t length = 1;
    if (static_cast<unsigned char>(text.front()) < 0x80) {
      append_escape(to, text.front());
    } else if (length = sequence_length(text); length != 0) {
      to += text.substr(0, length);
    } else {
      to += replacement;
      length = 1;
    }
    text.remove_prefix(length);
  }
}

void append_quoted(std::string& to, std::string_view text) {
  if (all_words(text, all_plain)) {
    // As most are: one growth instead of three, and nothing written twice.
    const std::size_t before = to.size(), after = before + text.size() + 2;
    // What is given beside `all` is not looked at: libstdc++ 12 gives the capacity where it has grown.
    to.resize_and_overwrite(after, [&](char* all, std::size_t) {
      all[before] = '"';
      text.copy(all + before + 1, text.size());
      all[after - 1] = '"';
      return after;
    });
    return;
  }
  to += '"';
  append_escaped(to, text);
  to += '"';
}

}  // namespace citadel
