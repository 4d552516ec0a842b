#include "tlog/tile_builder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/check.hpp"

namespace citadel::tlog {
namespace {

constexpr std::size_t full_tile_bytes = tile_width_max * hash_bytes;

// The full tiles of a level in a tree of `size`, which is the index of the partial one.
std::uint64_t full_tiles(std::size_t level, std::uint64_t size) {
  const std::size_t shift = tile_height * (level + 1);
  return shift >= 64 ? 0 : size >> shift;
}

std::uint32_t width_of(std::string_view hashes) {
  return static_cast<std::uint32_t>(hashes.size() / hash_bytes);
}

}  // namespace

Result<TileBuilder> TileBuilder::resume(std::uint64_t size, const Hash& root,
                                        std::span<const Tile> right_edge) {
  if (size > tree_size_max) return fail(Code::corrupt, fmt::format("no tree has {} leaves", size));
  const auto needed = tiles_for_root(size);
  if (needed.size() != right_edge.size()) {
    return fail(Code::corrupt, fmt::format("a tree of {} leaves has {} partial tiles; {} are stored", size,
                                           needed.size(), right_edge.size()));
  }
  TileBuilder builder;
  builder.size_ = size;
  for (const TileId& id : needed) {
    const auto tile = std::ranges::find(right_edge, id, &Tile::id);
    if (tile == right_edge.end() || tile->hashes.size() != id.width * hash_bytes) {
      return fail(Code::corrupt, fmt::format("tile {} of level {} is not stored with its {} hashes", id.index,
                                             id.level, id.width));
    }
    builder.levels_[id.level].hashes = tile->hashes;
  }
  if (builder.root() != root) {
    return fail(
        Code::corrupt,
        fmt::format("the stored tiles of a tree of {} leaves do not have its root: one was changed", size));
  }
  return builder;
}

void TileBuilder::append(const Hash& leaf) {
  CITADEL_CHECK(size_ < tree_size_max, "the tree is full");
  ++size_;
  append_at(0, leaf);
}

void TileBuilder::append_at(std::size_t level, const Hash& hash) {
  Level& at = levels_[level];
  at.hashes += as_text(hash);
  at.changed = true;
  if (at.hashes.size() < full_tile_bytes) return;
  const Hash parent = hash_of_row(as_bytes(at.hashes));
  const TileId id{static_cast<std::uint8_t>(level), full_tiles(level, size_) - 1, tile_width_max};
  filled_.push_back({id, std::move(at.hashes)});
  at = {};
  append_at(level + 1, parent);
}

CompactRange TileBuilder::range() const {
  std::vector<Hash> hashes;
  for (std::size_t level = levels_max; level-- > 0;) {
    Bytes rest = as_bytes(levels_[level].hashes);
    while (!rest.empty()) {
      const std::size_t row = std::bit_floor(rest.size() / hash_bytes) * hash_bytes;
      hashes.push_back(hash_of_row(rest.first(row)));
      rest = rest.subspan(row);
    }
  }
  auto range = CompactRange::from(size_, std::move(hashes));
  CITADEL_CHECK(range.has_value(), "the partial tiles are not those of the tree");
  return *std::move(range);
}

std::vector<Tile> TileBuilder::take_changed() {
  std::vector<Tile> changed = std::exchange(filled_, {});
  for (std::size_t level = 0; level < levels_max; ++level) {
    Level& at = levels_[level];
    if (!std::exchange(at.changed, false)) continue;
    changed.push_back(
        {{static_cast<std::uint8_t>(level), full_tiles(level, size_), width_of(at.hashes)}, at.hashes});
  }
  std::ranges::sort(changed, {}, &Tile::id);
  return changed;
}

}  // namespace citadel::tlog
