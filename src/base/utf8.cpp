#include "base/utf8.hpp"

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/words.hpp"

namespace citadel {
namespace {

// The length of the sequence that starts `text`, 0 where it is not valid.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xC2 && first <= 0xDF   ? 2
                           : (first & 0xF0) == 0xE0         ? 3
                           : first >= 0xF0 && first <= 0xF4 ? 4
                                                            : 0;
  if (size == 0 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool beyond = (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F);
  return overlong || beyond ? 0 : size;
}

}  // namespace

bool is_utf8(std::string_view text) {
  // Most texts are ASCII.
  if (all_words(text, [](std::uint64_t bytes) { return (bytes & 0x8080'8080'8080'8080u) == 0; })) return true;
  while (!text.empty()) {
    while (text.size() >= sizeof(std::uint64_t) &&
           (load_le<std::uint64_t>(text.data()) & 0x8080'8080'8080'8080u) == 0) {
      text.remove_prefix(sizeof(std::uint64_t));
    }
    if (text.empty()) return true;
    const auto size = utf8_sequence(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

bool has_control(std::string_view text) {
  // A borrow comes only from a byte that is one: then it is there.
  return !all_words(text, [](std::uint64_t bytes) {
    constexpr std::uint64_t ones = 0x0101'0101'0101'0101u, highs = 0x80 * ones;
    const std::uint64_t low = (bytes - 0x20 * ones) & ~bytes;
    const std::uint64_t del = bytes ^ 0x7F * ones;
    return ((low | ((del - ones) & ~del)) & highs) == 0;
  });
}

}  // namespace citadel
