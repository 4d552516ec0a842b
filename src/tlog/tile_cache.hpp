// TileCache: tiles that were read lately, so that a proof fetches none twice: the least recently used leaves.
//
// A log's tiles only grow, so what is here is true for every larger tree of the same log. Where a log was
// replaced by another, it is not: who makes a proof checks it against the signed root, and clears the cache
// where it does not hold. Erasure and retention change no tile. Memory: at most `bytes_max` of hashes, and
// some 150 bytes a tile beside. Not thread-safe.
#pragma once
#include <cstddef>
#include <list>
#include <map>
#include <optional>
#include <string_view>

#include "tlog/tiles.hpp"

namespace citadel::tlog {

class TileCache {
 public:
  explicit TileCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // The tile with exactly its width; nullopt where it is not here, or with fewer hashes.
  std::optional<Tile> find(const TileId& id);
  // Keeps the tile, unless it is here with more hashes. CHECK: its length is that of its width.
  void put(const Tile& tile);
  void clear();

  std::size_t bytes() const { return bytes_; }

 private:
  using Key = std::pair<std::uint8_t, std::uint64_t>;
  using Order = std::list<Tile>;  // the most recently used first

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  Order order_;
  std::map<Key, Order::iterator> by_key_;
};

}  // namespace citadel::tlog
