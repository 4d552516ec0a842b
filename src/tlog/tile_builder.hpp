// TileBuilder: from the stored right edge of a tree and new leaf hashes to the tiles that changed. Pure: the
// sequencer reads the rows, lets it work, and upserts what it gives in the same transaction.
//
//   CITADEL_ASSIGN(auto builder, TileBuilder::resume(head.size, head.root,
//   rows_of(tiles_for_root(head.size)))); for (const auto& entry : batch) builder.append(leaf_hash(entry));
//   upsert(builder.take_changed());
//   head = {builder.size(), builder.root()};
//
// resume() recomputes the root from the tiles given and refuses with corrupt where it is not the one known:
// a tile that was changed in the database is found before anything is built upon it. Every hash of every tile
// given is part of that check. One hash of work a leaf; at most 64 KiB beside the changed tiles.
// Belongs to one thread at a time.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "tlog/merkle.hpp"
#include "tlog/tiles.hpp"

namespace citadel::tlog {

class TileBuilder {
 public:
  // An empty tree.
  TileBuilder() = default;
  // A tree of `size` leaves whose root is `root`, and its tiles of tiles_for_root(size), in any order: those
  // and no others, each with exactly its width.
  static Result<TileBuilder> resume(std::uint64_t size, const Hash& root, std::span<const Tile> right_edge);

  // CHECK: the tree stays within tree_size_max.
  void append(const Hash& leaf);

  std::uint64_t size() const { return size_; }
  Hash root() const { return range().root(); }
  CompactRange range() const;

  // The tiles that are new or wider since resume() or the last call, by level and index: each once, in its
  // widest form. Upsert by (level, index).
  std::vector<Tile> take_changed();

 private:
  static constexpr std::size_t levels_max = 8;  // 63 bits of size, eight a level

  struct Level {
    std::string hashes;    // of the partial tile
    bool changed = false;  // the partial tile is wider than when it was last taken
  };

  void append_at(std::size_t level, const Hash& hash);

  std::uint64_t size_ = 0;
  std::array<Level, levels_max> levels_;
  std::vector<Tile> filled_;
};

}  // namespace citadel::tlog
