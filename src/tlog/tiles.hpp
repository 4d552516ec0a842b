// Tiles: how a log's hashes and entries are cut into files or rows that never change (C2SP tlog-tiles). Pure.
//
// A full tile holds 256 hashes of 32 bytes: at level 0 leaf hashes, above that the hash of a full tile of the
// level below each. The last tile of a level may be partial, with 1 to 255 hashes. Entry bundles are cut like
// the tiles of level 0; an entry stands in its bundle behind its length, a big-endian u16.
//
// Errors: invalid_argument for a path or a length that the specification does not allow, corrupt for stored
// bytes that are not a tile, a bundle or the tree that was promised. Functions may be called from any thread;
// one object belongs to one thread at a time. Building on tiles is in tlog/tile_builder.hpp.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "tlog/merkle.hpp"

namespace citadel::tlog {

inline constexpr std::uint8_t tile_height = 8;
inline constexpr std::uint32_t tile_width_max = 256;
inline constexpr std::uint8_t tile_level_max = 63;
inline constexpr std::size_t entry_bytes_max = 65'535;

struct TileId {
  std::uint8_t level = 0;
  std::uint64_t index = 0;
  std::uint32_t width = tile_width_max;  // 1 to 256; 256 is a full tile
  friend auto operator<=>(const TileId&, const TileId&) = default;
};

// A tile and its bytes: 32 × id.width of them.
struct Tile {
  TileId id;
  std::string hashes;
  friend bool operator==(const Tile&, const Tile&) = default;
};

enum class TileKind : std::uint8_t { hashes, entries };

// The part of a tile's URL or file name behind the log's prefix: "tile/0/x001/x234/067.p/112",
// "tile/entries/000". Exactly one text stands for a path.
struct TilePath {
  TileKind kind = TileKind::hashes;
  TileId id;  // level 0 for entries

  std::string encode() const;
  // Refuses what encode() would not write: other leading zeros, levels above 63, widths outside 1 to 255,
  // indices above tree_size_max.
  static Result<TilePath> parse(std::string_view text);
  friend bool operator==(const TilePath&, const TilePath&) = default;
};

// How many hashes the tile has in a tree of `size`: 0 where it does not exist, at most 256.
std::uint32_t tile_width(std::uint8_t level, std::uint64_t index, std::uint64_t size);
// How many tiles the level has in a tree of `size`, the partial one too. As many entry bundles as tiles of
// level 0.
std::uint64_t tile_count(std::uint8_t level, std::uint64_t size);
// The partial tiles of a tree of `size`, lowest level first: what TileBuilder goes on from. They hold every
// hash that the root is made of.
std::vector<TileId> tiles_for_root(std::uint64_t size);
// What TileHashReader asks for to make a proof: each tile once, by level and index, with its width in a tree
// of `size`. Empty for an index or a size that does not exist.
std::vector<TileId> tiles_for_inclusion(std::uint64_t index, std::uint64_t size);
std::vector<TileId> tiles_for_consistency(std::uint64_t old_size, std::uint64_t size);

// A tile's bytes; at least those of the first id.width hashes. A tile of a larger tree will do: tiles only
// grow.
using TileSource = std::function<Result<std::string>(const TileId& id)>;

// Reads hashes of a tree of `size` out of its tiles, each of which it asks for once. It does not know the
// root: what it reads is as true as its source.
class TileHashReader final : public HashReader {
 public:
  TileHashReader(std::uint64_t size, TileSource source) : size_(size), source_(std::move(source)) {}
  Result<Hash> read_hash(Subtree subtree) override;

 private:
  Result<std::string_view> tile(std::uint8_t level, std::uint64_t index);

  std::uint64_t size_;
  TileSource source_;
  std::map<std::pair<std::uint8_t, std::uint64_t>, std::string> tiles_;
};

// The hash of a full tile, or of any power of two of hashes that stand side by side. CHECK: the count of
// bytes is one.
Hash hash_of_row(Bytes hashes);
// Checks the length, and gives the hashes.
Result<std::vector<Hash>> decode_tile(const TileId& id, Bytes bytes);

// Appends an entry to a bundle. Refuses one above entry_bytes_max.
Result<void> append_entry(std::string& bundle, Bytes entry);
// The entries of a bundle, views into `bundle`: exactly `count`, with nothing behind.
Result<std::vector<Bytes>> decode_bundle(std::string_view bundle, std::uint32_t count);

}  // namespace citadel::tlog
