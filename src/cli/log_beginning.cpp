#include "cli/log_beginning.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

namespace citadel::cli {
namespace {

constexpr auto patience = std::chrono::seconds(60);

Result<std::string> stored(const FetchTile& fetch, const tlog::TileId& id) {
  const tlog::TilePath path{.kind = tlog::TileKind::hashes, .id = id};
  auto bytes = fetch(path);
  if (!bytes && bytes.error().code == Code::not_found)
    return fail(Code::corrupt, fmt::format("{} is missing, under which pruned entries are", path.encode()));
  if (bytes && bytes->size() != id.width * tlog::hash_bytes)
    return fail(Code::corrupt, fmt::format("{} has another length than it must have", path.encode()));
  return bytes;
}

// The tiles of one level against those of the level above, which has a hash for each full one.
Result<std::uint64_t> compare_level(std::uint8_t level, std::uint64_t first, const FetchTile& fetch) {
  std::uint64_t compared = 0;
  const auto above = static_cast<std::uint8_t>(level + 1);
  for (std::uint64_t i = 0; const auto width = tlog::tile_width(above, i, first); ++i) {
    CITADEL_ASSIGN(const auto hashes, stored(fetch, {above, i, width}));
    for (std::uint64_t k = 0; k < width; ++k, ++compared) {
      const tlog::TileId id{level, i * tlog::tile_width_max + k};
      CITADEL_ASSIGN(const auto below, stored(fetch, id));
      const auto hash = tlog::hash_of_row(as_bytes(below));
      if (as_text(hash) != std::string_view(hashes).substr(k * tlog::hash_bytes, tlog::hash_bytes)) {
        return fail(
            Code::corrupt,
            fmt::format("{} was changed: the level above it says another hash; pruned entries are under it",
                        tlog::TilePath{.kind = tlog::TileKind::hashes, .id = id}.encode()));
      }
    }
  }
  return compared;
}

}  // namespace

Result<LogBeginning> read_beginning(std::uint64_t first, const FetchTile& fetch) {
  LogBeginning out;
  if (first == 0) return out;
  if (first % tlog::tile_width_max != 0 || first > tlog::tree_size_max)
    return fail(Code::corrupt,
                fmt::format("entries 0 to {} are missing, and no tile of the tree ends there", first - 1));
  std::vector<tlog::Tile> edge;
  for (const auto& id : tlog::tiles_for_root(first)) {
    CITADEL_ASSIGN(auto hashes, stored(fetch, id));
    edge.push_back({id, std::move(hashes)});
  }
  out.tiles = edge.size();
  tlog::TileHashReader reader(first, [&](const tlog::TileId& id) -> Result<std::string> {
    for (const auto& tile : edge) {
      if (tile.id.level == id.level && tile.id.index == id.index) return tile.hashes;
    }
    return stored(fetch, id);
  });
  CITADEL_ASSIGN(const auto root, tlog::read_root(reader, first));
  CITADEL_ASSIGN(out.tree, tlog::TileBuilder::resume(first, root, edge));
  for (std::uint8_t level = 1; tlog::tile_width(static_cast<std::uint8_t>(level + 1), 0, first) > 0;
       ++level) {
    CITADEL_ASSIGN(const auto compared, compare_level(level, first, fetch));
    out.tiles += compared;
  }
  return out;
}

Result<void> check_beginning_extends(const LogBeginning& beginning, const tlog::Checkpoint& older,
                                     const FetchTile& fetch) {
  const auto size = beginning.tree.size();
  tlog::TileHashReader reader(size, [&](const tlog::TileId& id) { return stored(fetch, id); });
  auto proof = tlog::prove_consistency(reader, older.size, size);
  if (!proof)
    return std::unexpected(std::move(proof).error().in("hold the older checkpoint against what was pruned"));
  const auto verified = tlog::verify_consistency(older.size, older.root, size, beginning.tree.root(), *proof);
  if (verified) return {};
  return fail(Code::corrupt,
              fmt::format("the log, whose first {} entries were pruned, does not extend the older "
                          "checkpoint of {} entries",
                          size, older.size));
}

Result<std::uint64_t> fetch_first_index(ApiClient& client) {
  CITADEL_ASSIGN(const auto answer, client.get("/v1/audit/beginning", Deadline::after(patience)));
  return answer.at("first").to_number<std::uint64_t>();
}

}  // namespace citadel::cli
