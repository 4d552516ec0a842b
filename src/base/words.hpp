// all_words: asks something of every byte of a text, eight at a time. Pure; allocates nothing.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.hpp"

namespace citadel {

// Whether `holds` is true of every word of eight bytes that covers the text, the first byte lowest. Words
// overlap, and a text of fewer than eight bytes stands in its word more than once: `holds` asks something of
// each byte.
template <std::predicate<std::uint64_t> Holds>
bool all_words(std::string_view text, Holds holds) {
  constexpr std::size_t word = sizeof(std::uint64_t), half = word / 2;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  if (text.size() >= word) {
    for (const char* at = begin; end - at > static_cast<std::ptrdiff_t>(word); at += word) {
      if (!holds(load_le<std::uint64_t>(at))) return false;
    }
    return holds(load_le<std::uint64_t>(end - word));
  }
  if (text.size() >= half) {
    return holds(std::uint64_t{load_le<std::uint32_t>(begin)} << 32 | load_le<std::uint32_t>(end - half));
  }
  if (text.empty()) return true;
  const auto byte = [](char c) { return std::uint64_t{static_cast<unsigned char>(c)}; };
  return holds(byte(*begin) * 0x0101'0101'0101'0000u | byte(begin[text.size() / 2]) << 8 | byte(end[-1]));
}

}  // namespace citadel
