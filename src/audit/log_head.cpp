#include "audit/log_head.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace citadel::audit {
namespace {

#define CITADEL_AUDIT_HEAD \
  "select size, root, fence, producer, epoch, pending_producer, pending_sequence, origin from audit.head"

constexpr pg::Statement select_head{"audit head", CITADEL_AUDIT_HEAD};
// Two statements: the second must see what was committed while the first waited.
constexpr pg::Statement lock_log{"audit log lock", "select pg_advisory_xact_lock(4850147, 2)"};
constexpr pg::Statement select_head_locked{"audit head locked", CITADEL_AUDIT_HEAD " for update"};
constexpr pg::Statement select_tiles{"audit tiles", tiles_sql};

Result<LogHead> head_of(const pg::Rows& rows) {
  if (rows.empty()) return fail(Code::corrupt, "audit.head is empty: the audit log has lost its head");
  const pg::Row row = rows[0];
  LogHead head;
  head.size = static_cast<std::uint64_t>(row.get<std::int64_t>(0));
  CITADEL_ASSIGN(head.root, tlog::hash_from(row.get<Bytes>(1)));
  head.fence = static_cast<std::uint64_t>(row.get<std::int64_t>(2));
  head.producer = row.get<Uuid>(3);
  head.epoch = static_cast<std::uint64_t>(row.get<std::int64_t>(4));
  head.pending_producer = row.get<Uuid>(5);
  head.pending_sequence = static_cast<std::uint64_t>(row.get<std::int64_t>(6));
  head.origin = row.get<std::string>(7);
  return head;
}

using TileKey = std::pair<std::uint8_t, std::uint64_t>;

}  // namespace

pg::Params tile_params(const std::vector<tlog::TileId>& ids) {
  std::vector<std::int16_t> levels;
  std::vector<std::int64_t> indexes;
  for (const tlog::TileId& id : ids) {
    levels.push_back(id.level);
    indexes.push_back(static_cast<std::int64_t>(id.index));
  }
  return pg::Params(levels, indexes);
}

Result<std::vector<tlog::Tile>> tiles_of(const pg::Rows& rows, const std::vector<tlog::TileId>& ids) {
  std::map<TileKey, std::string_view> found;
  for (const pg::Row row : rows) {
    if (row.is_null(0)) continue;
    found[{static_cast<std::uint8_t>(row.get<std::int16_t>(0)),
           static_cast<std::uint64_t>(row.get<std::int64_t>(1))}] = as_text(row.get<Bytes>(2));
  }
  std::vector<tlog::Tile> tiles;
  for (const tlog::TileId& id : ids) {
    const auto at = found.find({id.level, id.index});
    const std::size_t wanted = id.width * tlog::hash_bytes;
    if (at == found.end() || at->second.size() < wanted) {
      return fail(Code::corrupt, fmt::format("the audit log's tile {} of level {} {}", id.index, id.level,
                                             at == found.end() ? "is missing" : "has lost hashes"));
    }
    tiles.push_back({id, std::string(at->second.substr(0, wanted))});
  }
  return tiles;
}

Task<Result<LogHead>> read_head(store::Database& database, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read_your_writes, select_head, {}));
  co_return head_of(rows);
}

Task<Result<LogHead>> lock_head(pg::Transaction& transaction, Deadline deadline) {
  CITADEL_CO_TRY(co_await transaction.execute(lock_log, {}, deadline));
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(select_head_locked, {}, deadline));
  co_return head_of(rows);
}

Task<Result<std::vector<tlog::Tile>>> read_tiles(store::Database& database, std::vector<tlog::TileId> ids,
                                                 Deadline deadline) {
  if (ids.empty()) co_return std::vector<tlog::Tile>();
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 select_tiles, tile_params(ids)));
  co_return tiles_of(rows, ids);
}

Task<Result<std::vector<tlog::Tile>>> read_tiles(pg::Transaction& transaction, std::vector<tlog::TileId> ids,
                                                 Deadline deadline) {
  if (ids.empty()) co_return std::vector<tlog::Tile>();
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await transaction.execute(select_tiles, tile_params(ids), deadline));
  co_return tiles_of(rows, ids);
}

tlog::TileSource tile_source(std::vector<tlog::Tile> tiles) {
  std::map<TileKey, std::string> by_key;
  for (tlog::Tile& tile : tiles) by_key[{tile.id.level, tile.id.index}] = std::move(tile.hashes);
  return [by_key = std::move(by_key)](const tlog::TileId& id) -> Result<std::string> {
    const auto at = by_key.find({id.level, id.index});
    if (at == by_key.end())
      return fail(Code::internal, fmt::format("tile {} of level {} was not fetched", id.index, id.level));
    return at->second;
  };
}

void GrowthPermit::grant(std::uint64_t size, const tlog::Hash& root) {
  granted_ = true;
  refusal_.reset();
  size_ = size;
  root_ = root;
}

void GrowthPermit::refuse(Error why) {
  refusal_ = std::move(why);
}

Result<void> GrowthPermit::check(const LogHead& head) const {
  if (refusal_) return std::unexpected(*refusal_);
  if (!granted_) {
    return fail(Code::unavailable,
                "the audit log's head was not compared with the last signed checkpoint yet", Retry::safe);
  }
  if (head.size < size_ || (head.size == size_ && head.root != root_)) {
    return fail(
        Code::conflict,
        fmt::format("the audit log has {} entries, and a checkpoint of {} entries is signed: the database "
                    "lost the tail, or the log was rewritten; nothing is appended",
                    head.size, size_));
  }
  return {};
}

}  // namespace citadel::audit
