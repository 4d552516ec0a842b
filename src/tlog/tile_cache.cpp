#include "tlog/tile_cache.hpp"

#include "base/check.hpp"

namespace citadel::tlog {

std::optional<Tile> TileCache::find(const TileId& id) {
  const auto at = by_key_.find({id.level, id.index});
  if (at == by_key_.end() || at->second->id.width < id.width) return std::nullopt;
  order_.splice(order_.begin(), order_, at->second);
  return Tile{id, at->second->hashes.substr(0, id.width * hash_bytes)};
}

void TileCache::put(const Tile& tile) {
  CITADEL_CHECK(tile.hashes.size() == tile.id.width * hash_bytes,
                "a tile has other bytes than its width says");
  const Key key{tile.id.level, tile.id.index};
  if (const auto at = by_key_.find(key); at != by_key_.end()) {
    if (at->second->id.width >= tile.id.width) return;
    bytes_ -= at->second->hashes.size();
    order_.erase(at->second);
    by_key_.erase(at);
  }
  order_.push_front(tile);
  by_key_[key] = order_.begin();
  bytes_ += tile.hashes.size();
  while (bytes_ > bytes_max_) {
    const Tile& last = order_.back();
    bytes_ -= last.hashes.size();
    by_key_.erase({last.id.level, last.id.index});
    order_.pop_back();
  }
}

void TileCache::clear() {
  order_.clear();
  by_key_.clear();
  bytes_ = 0;
}

}  // namespace citadel::tlog
