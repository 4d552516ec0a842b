// Which known name somebody may have meant. Pure.
#pragma once
#include <cstddef>
#include <ranges>
#include <span>
#include <string_view>
#include <vector>

namespace citadel {

// Insertions, deletions, replacements and swaps of neighbours that make one of the other (optimal string
// alignment).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `text`, where one is near enough to be meant; "" where none is.
std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates);

// The same of texts of another type, which outlive the answer.
std::string_view nearest(std::string_view text, const std::ranges::range auto& candidates) {
  const std::vector<std::string_view> views(std::ranges::begin(candidates), std::ranges::end(candidates));
  return nearest(text, std::span<const std::string_view>(views));
}

}  // namespace citadel
