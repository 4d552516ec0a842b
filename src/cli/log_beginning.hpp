// The beginning of a log whose first entries were pruned: the tree of what is before its first entry, from
// the tiles that stay. Each tile of a level above the entries' own is held against the hash that stands for
// it one level up; the uppermost hashes go into the root, which the walk through the rest holds against the
// signed one. So what was pruned has the hashes that it had.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "cli/api_client.hpp"
#include "tlog/checkpoint.hpp"
#include "tlog/tile_builder.hpp"

namespace citadel::cli {

// The tile that the log has at a path; not_found where there is none.
using FetchTile = std::function<Result<std::string>(const tlog::TilePath& path)>;

struct LogBeginning {
  tlog::TileBuilder tree;   // of all that is before the first entry; empty where nothing was pruned
  std::uint64_t tiles = 0;  // that were compared
};
// `first` is a multiple of 256 (corrupt where it is not: nobody prunes so). corrupt names the tile that is
// missing or another than the one above it says.
Result<LogBeginning> read_beginning(std::uint64_t first, const FetchTile& fetch);

// Whether the tree before the first entry extends the older checkpoint, which has fewer entries. corrupt
// where it does not.
Result<void> check_beginning_extends(const LogBeginning& beginning, const tlog::Checkpoint& older,
                                     const FetchTile& fetch);

// The index of the first entry that the daemon's database has.
Result<std::uint64_t> fetch_first_index(ApiClient& client);

}  // namespace citadel::cli
