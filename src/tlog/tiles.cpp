#include "tlog/tiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

#include "base/check.hpp"
#include "tlog/text.hpp"

namespace citadel::tlog {
namespace {

constexpr std::string_view tile_prefix = "tile/";
constexpr std::string_view entries_prefix = "entries/";
constexpr std::string_view partial_mark = ".p/";

// The hashes that a level of tiles has in a tree of `size`.
std::uint64_t hashes_at(std::uint8_t level, std::uint64_t size) {
  const unsigned shift = unsigned{level} * tile_height;
  return shift >= 64 ? 0 : size >> shift;
}

// Groups of three digits; all but the last begin with an x.
std::string encode_index(std::uint64_t index) {
  std::string out = fmt::format("{:03}", index % 1'000);
  for (index /= 1'000; index != 0; index /= 1'000) out = fmt::format("x{:03}/{}", index % 1'000, out);
  return out;
}

// Any groups of digits, leading zeros too: the caller compares with encode_index().
std::optional<std::uint64_t> parse_index(std::string_view text) {
  std::uint64_t index = 0;
  while (true) {
    const bool more = text.starts_with('x');
    if (more) text.remove_prefix(1);
    if (text.size() < 3 || index > tree_size_max / 1'000) return std::nullopt;
    for (const char c : text.substr(0, 3)) {
      if (c < '0' || c > '9') return std::nullopt;
      index = index * 10 + static_cast<std::uint64_t>(c - '0');
    }
    text.remove_prefix(3);
    if (!more) break;
    if (!text.starts_with('/')) return std::nullopt;
    text.remove_prefix(1);
  }
  return text.empty() && index <= tree_size_max ? std::optional(index) : std::nullopt;
}

// Where a complete subtree is found: a tile, and a row of hashes in it.
struct Place {
  std::uint8_t level;
  std::uint64_t index;
  std::uint32_t first;
  std::uint32_t count;
};

Place place_of(Subtree subtree) {
  const auto above = static_cast<std::uint8_t>(subtree.level % tile_height);
  return {.level = static_cast<std::uint8_t>(subtree.level / tile_height),
          .index = subtree.index >> (tile_height - above),
          .first = static_cast<std::uint32_t>(subtree.index << above) % tile_width_max,
          .count = 1u << above};
}

std::vector<TileId> tiles_holding(std::span<const Subtree> subtrees, std::uint64_t size) {
  std::set<TileId> tiles;
  for (const Subtree subtree : subtrees) {
    const Place place = place_of(subtree);
    tiles.insert({place.level, place.index, tile_width(place.level, place.index, size)});
  }
  return {tiles.begin(), tiles.end()};
}

}  // namespace

std::string TilePath::encode() const {
  std::string out(tile_prefix);
  out += kind == TileKind::entries ? std::string(entries_prefix) : fmt::format("{}/", id.level);
  out += encode_index(id.index);
  if (id.width != tile_width_max) out += fmt::format("{}{}", partial_mark, id.width);
  return out;
}

Result<TilePath> TilePath::parse(std::string_view text) {
  const auto refuse = [&] {
    return fail(Code::invalid_argument, "not the path of a tile or an entry bundle");
  };
  std::string_view rest = text;
  if (!rest.starts_with(tile_prefix)) return refuse();
  rest.remove_prefix(tile_prefix.size());
  TilePath path;
  if (rest.starts_with(entries_prefix)) {
    path.kind = TileKind::entries;
    rest.remove_prefix(entries_prefix.size());
  } else {
    const auto level = parse_decimal(rest.substr(0, rest.find('/')));
    if (!level || *level > tile_level_max || !rest.contains('/')) return refuse();
    path.id.level = static_cast<std::uint8_t>(*level);
    rest.remove_prefix(rest.find('/') + 1);
  }
  if (const auto mark = rest.find(partial_mark); mark != std::string_view::npos) {
    const auto width = parse_decimal(rest.substr(mark + partial_mark.size()));
    if (!width || *width == 0 || *width >= tile_width_max) return refuse();
    path.id.width = static_cast<std::uint32_t>(*width);
    rest = rest.substr(0, mark);
  }
  const auto index = parse_index(rest);
  if (!index || encode_index(*index) != rest) return refuse();
  path.id.index = *index;
  return path;
}

std::uint64_t tile_count(std::uint8_t level, std::uint64_t size) {
  const std::uint64_t hashes = hashes_at(level, size);
  return hashes / tile_width_max + (hashes % tile_width_max != 0 ? 1 : 0);
}

std::uint32_t tile_width(std::uint8_t level, std::uint64_t index, std::uint64_t size) {
  const std::uint64_t hashes = hashes_at(level, size);
  const std::uint64_t full = hashes / tile_width_max;
  if (index < full) return tile_width_max;
  return index == full ? static_cast<std::uint32_t>(hashes % tile_width_max) : 0;
}

std::vector<TileId> tiles_for_root(std::uint64_t size) {
  std::vector<TileId> tiles;
  for (std::uint8_t level = 0; hashes_at(level, size) != 0; ++level) {
    const std::uint64_t hashes = hashes_at(level, size);
    const auto width = static_cast<std::uint32_t>(hashes % tile_width_max);
    if (width != 0) tiles.push_back({level, hashes / tile_width_max, width});
  }
  return tiles;
}

std::vector<TileId> tiles_for_inclusion(std::uint64_t index, std::uint64_t size) {
  return tiles_holding(subtrees_for_inclusion(index, size), size);
}

std::vector<TileId> tiles_for_consistency(std::uint64_t old_size, std::uint64_t size) {
  return tiles_holding(subtrees_for_consistency(old_size, size), size);
}

Result<Hash> TileHashReader::read_hash(Subtree subtree) {
  if (subtree.level >= 63 || subtree.index >= size_ >> subtree.level) {
    return fail(Code::invalid_argument,
                fmt::format("a tree of {} leaves has no complete subtree {} of level {}", size_,
                            subtree.index, subtree.level));
  }
  const Place place = place_of(subtree);
  CITADEL_ASSIGN(const std::string_view hashes, tile(place.level, place.index));
  return hash_of_row(as_bytes(hashes.substr(place.first * hash_bytes, place.count * hash_bytes)));
}

Result<std::string_view> TileHashReader::tile(std::uint8_t level, std::uint64_t index) {
  const auto key = std::pair(level, index);
  if (const auto found = tiles_.find(key); found != tiles_.end()) return std::string_view(found->second);
  const TileId id{level, index, tile_width(level, index, size_)};
  CITADEL_ASSIGN(std::string bytes, source_(id));
  if (bytes.size() % hash_bytes != 0 || bytes.size() > tile_width_max * hash_bytes ||
      bytes.size() < id.width * hash_bytes) {
    return fail(Code::corrupt, fmt::format("tile {} of level {} has {} bytes; {} hashes are needed", index,
                                           level, bytes.size(), id.width));
  }
  return std::string_view(tiles_.emplace(key, std::move(bytes)).first->second);
}

Hash hash_of_row(Bytes hashes) {
  std::size_t count = hashes.size() / hash_bytes;
  CITADEL_CHECK(hashes.size() % hash_bytes == 0 && std::has_single_bit(count) && count <= tile_width_max,
                "a row of hashes that is no subtree");
  std::array<Hash, tile_width_max> row;
  std::memcpy(row.data(), hashes.data(), hashes.size());
  for (; count > 1; count /= 2) {
    for (std::size_t i = 0; i < count / 2; ++i) row[i] = node_hash(row[2 * i], row[2 * i + 1]);
  }
  return row[0];
}

Result<std::vector<Hash>> decode_tile(const TileId& id, Bytes bytes) {
  if (bytes.size() != id.width * hash_bytes) {
    return fail(Code::corrupt, fmt::format("tile {} of level {} has {} bytes, not those of {} hashes",
                                           id.index, id.level, bytes.size(), id.width));
  }
  std::vector<Hash> hashes(id.width);
  std::memcpy(hashes.data(), bytes.data(), bytes.size());
  return hashes;
}

Result<void> append_entry(std::string& bundle, Bytes entry) {
  if (entry.size() > entry_bytes_max) {
    return fail(Code::invalid_argument,
                fmt::format("an entry of {} bytes; a log takes {}", entry.size(), entry_bytes_max));
  }
  append_be(bundle, static_cast<std::uint16_t>(entry.size()));
  bundle += as_text(entry);
  return {};
}

Result<std::vector<Bytes>> decode_bundle(std::string_view bundle, std::uint32_t count) {
  std::vector<Bytes> entries;
  while (entries.size() < count) {
    if (bundle.empty()) {
      return fail(Code::corrupt,
                  fmt::format("an entry bundle has {} entries, not {}", entries.size(), count));
    }
    if (bundle.size() < sizeof(std::uint16_t))
      return fail(Code::corrupt, "an entry bundle ends inside a length");
    const std::size_t size = load_be<std::uint16_t>(bundle.data());
    bundle.remove_prefix(sizeof(std::uint16_t));
    if (bundle.size() < size) return fail(Code::corrupt, "an entry bundle ends inside an entry");
    entries.push_back(as_bytes(bundle.substr(0, size)));
    bundle.remove_prefix(size);
  }
  if (!bundle.empty()) {
    return fail(Code::corrupt, fmt::format("an entry bundle has bytes behind its {} entries", count));
  }
  return entries;
}

}  // namespace citadel::tlog
