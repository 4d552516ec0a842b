#include "audit/queries.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "audit/months.hpp"
#include "journal/journal.hpp"

namespace citadel::audit {
namespace {

constexpr std::uint64_t partition_width = 4'194'304;

constexpr std::string_view entry_columns =
    "select idx, leaf, received_at from audit.entry where idx >= $1 and idx < $2";
constexpr pg::Statement select_indexes{"audit indexes",
                                       "select id, min(idx) from audit.entry where id = any($1) group by id"};
constexpr pg::Statement select_first{"audit first entry", "select coalesce(min(idx), 0) from audit.entry"};
constexpr pg::Statement select_status{
    "audit status",
    "select (select count(*) from (select from audit.pending limit 10000) p), (select min(at) from "
    "audit.pending), "
    "(select count(*) from audit.conflict), (select count(*) from citadel.dead_letter where kind = $1), "
    "(select count(*) from audit.hold where released_at is null)"};

// Entries of [first, end). The partitions' bounds stand in the text, so that no plan opens the others.
Task<Result<pg::Rows>> select_entries(store::Database& database, std::uint64_t first, std::uint64_t end,
                                      Deadline deadline) {
  const std::uint64_t floor = first / partition_width * partition_width;
  const std::uint64_t ceiling = (end + partition_width - 1) / partition_width * partition_width;
  const std::string sql =
      fmt::format("{} and idx >= {} and idx < {} order by idx", entry_columns, floor, ceiling);
  const pg::Statement statement{"audit entries", sql};
  co_return co_await database.query(
      deadline, store::Intent::read_your_writes, statement,
      pg::Params(static_cast<std::int64_t>(first), static_cast<std::int64_t>(end)));
}

struct EntryAndTiles {
  std::string leaf;
  std::vector<tlog::Tile> tiles;  // in the order asked for, each with exactly its width
};

// In one statement. corrupt where one is not there or too short.
Task<Result<EntryAndTiles>> read_entry_and_tiles(store::Database& database, std::uint64_t index,
                                                 std::vector<tlog::TileId> ids, Deadline deadline) {
  const std::uint64_t floor = index / partition_width * partition_width;
  const std::string sql = fmt::format(
      "select null::int2, idx, leaf from audit.entry where idx = $3 and idx >= {} and idx < {} union all {}",
      floor, floor + partition_width, tiles_sql);
  const pg::Statement statement{"audit entry and tiles", sql};
  pg::Params params = tile_params(ids);
  params.add(static_cast<std::int64_t>(index));
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 statement, std::move(params)));
  EntryAndTiles out;
  for (const pg::Row row : rows) {
    if (row.is_null(0)) out.leaf = as_text(row.get<Bytes>(2));
  }
  if (out.leaf.empty()) co_return fail(Code::corrupt, fmt::format("the audit log has lost entry {}", index));
  CITADEL_CO_ASSIGN(out.tiles, tiles_of(rows, ids));
  co_return out;
}

Result<EntryView> view_of(const pg::Row& row) {
  EntryView view;
  view.index = static_cast<std::uint64_t>(row.get<std::int64_t>(0));
  view.leaf_bytes = as_text(row.get<Bytes>(1));
  view.received_at = row.get<WallTime>(2);
  auto leaf = decode_leaf(as_bytes(view.leaf_bytes));
  if (!leaf) {
    return fail(Code::corrupt, fmt::format("the leaf of entry {} is not as it was written: {}", view.index,
                                           leaf.error().message));
  }
  view.leaf = *std::move(leaf);
  for (const Commitment& commitment : view.leaf.commitments) {
    if (commitment.group != Group::envelope) view.groups.push_back({.group = commitment.group});
  }
  return view;
}

// Views of one partition of content.
using Views = std::map<std::uint64_t, EntryView*>;

pg::Params keys_of(const Views& views) {
  std::vector<WallTime> times;
  std::vector<std::int64_t> indexes;
  for (const auto& [index, view] : views) {
    times.push_back(view->leaf.time);
    indexes.push_back(static_cast<std::int64_t>(index));
  }
  return pg::Params(times, indexes);
}

Task<Result<void>> read_envelopes(store::Database& database, const Views& views, ContentMonth month,
                                  Deadline deadline) {
  const std::string sql = "select c.idx, c.salt, c.envelope from " + rows_by_key_sql("audit.event", month);
  const pg::Statement statement{"audit envelopes", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 statement, keys_of(views)));
  for (const pg::Row row : rows) {
    EntryView& view = *views.at(static_cast<std::uint64_t>(row.get<std::int64_t>(0)));
    EntryView::Envelope envelope;
    const Bytes salt = row.get<Bytes>(1);
    if (salt.size() == envelope.salt.size()) std::ranges::copy(salt, envelope.salt.begin());
    envelope.bytes = as_text(row.get<Bytes>(2));
    auto event = decode_envelope(as_bytes(envelope.bytes));
    if (!event) {
      co_return fail(Code::corrupt, fmt::format("the envelope of entry {} is not as it was written: {}",
                                                view.index, event.error().message));
    }
    envelope.event = *std::move(event);
    view.envelope = std::move(envelope);
  }
  co_return Result<void>();
}

Task<Result<void>> read_groups(store::Database& database, const Views& views, ContentMonth month,
                               const AuditKeys& keys, Deadline deadline) {
  const std::string sql = fmt::format(
      "select c.idx, c.grp, c.wrapped_key, c.ciphertext, s.tenant, s.subject, s.wrapped_key from {} "
      "join audit.subject_key s on s.id = c.key_id",
      rows_by_key_sql("audit.sealed", month));
  const pg::Statement statement{"audit groups", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 statement, keys_of(views)));
  for (const auto& [index, view] : views) {
    for (GroupView& group : view->groups) group.erased = true;
  }
  for (const pg::Row row : rows) {
    EntryView& view = *views.at(static_cast<std::uint64_t>(row.get<std::int64_t>(0)));
    const auto group = static_cast<Group>(row.get<std::int16_t>(1));
    const auto at = std::ranges::find(view.groups, group, &GroupView::group);
    if (at == view.groups.end() || row.get<Bytes>(6).empty()) continue;
    at->erased = false;
    CITADEL_CO_ASSIGN(const auto key, unwrap_subject_key(keys, row.get<std::string_view>(4),
                                                         row.get<std::string_view>(5), row.get<Bytes>(6)));
    auto opened =
        open_group(view.leaf.id, group, as_text(row.get<Bytes>(3)), as_text(row.get<Bytes>(2)), key);
    if (!opened) {
      co_return fail(Code::corrupt, fmt::format("the {} of entry {} does not open: {}", to_string(group),
                                                view.index, opened.error().message));
    }
    at->opened = *std::move(opened);
  }
  co_return Result<void>();
}

Task<Result<void>> read_contents(store::Database& database, std::vector<EntryView>& entries, OpenGroups open,
                                 const AuditKeys& keys, Deadline deadline) {
  std::map<ContentMonth, Views> by_month, sealed_by_month;
  for (EntryView& entry : entries) {
    const ContentMonth month = content_month(entry.leaf.retention, entry.leaf.time);
    by_month[month][entry.index] = &entry;
    if (!entry.groups.empty()) sealed_by_month[month][entry.index] = &entry;
  }
  for (const auto& [month, views] : by_month)
    CITADEL_CO_TRY(co_await read_envelopes(database, views, month, deadline));
  if (open == OpenGroups::no) co_return Result<void>();
  for (const auto& [month, views] : sealed_by_month)
    CITADEL_CO_TRY(co_await read_groups(database, views, month, keys, deadline));
  co_return Result<void>();
}

Task<Result<std::vector<EntryView>>> read_range(store::Database& database, std::uint64_t first,
                                                std::uint64_t end, OpenGroups open, const AuditKeys& keys,
                                                Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await select_entries(database, first, end, deadline));
  std::vector<EntryView> entries;
  for (const pg::Row row : rows) {
    CITADEL_CO_ASSIGN(EntryView view, view_of(row));
    entries.push_back(std::move(view));
  }
  CITADEL_CO_TRY(co_await read_contents(database, entries, open, keys, deadline));
  co_return entries;
}

// The hashes of level 0 for these entries. A tile that is missing or short leaves them without: the verifier
// finds it by the root.
Task<Result<void>> read_tree_hashes(store::Database& database, std::vector<EntryView>& entries,
                                    Deadline deadline) {
  if (entries.empty()) co_return Result<void>();
  const std::uint64_t size = entries.back().index + 1;
  std::vector<tlog::TileId> ids;
  for (auto tile = entries.front().index / tlog::tile_width_max; tile * tlog::tile_width_max < size; ++tile)
    ids.push_back({0, tile, tlog::tile_width(0, tile, size)});
  auto tiles = co_await read_tiles(database, std::move(ids), deadline);
  if (!tiles && tiles.error().code == Code::corrupt) co_return Result<void>();
  if (!tiles) co_return std::unexpected(std::move(tiles).error());
  for (EntryView& entry : entries) {
    const auto& tile =
        (*tiles)[entry.index / tlog::tile_width_max - entries.front().index / tlog::tile_width_max];
    const std::size_t at = entry.index % tlog::tile_width_max * tlog::hash_bytes;
    CITADEL_CO_ASSIGN(entry.tree_hash,
                      tlog::hash_from(as_bytes(std::string_view(tile.hashes).substr(at, tlog::hash_bytes))));
  }
  co_return Result<void>();
}

std::unexpected<Error> not_grown(const tlog::TilePath& path) {
  return fail(Code::not_found, fmt::format("the audit log has no {}", path.encode()));
}

}  // namespace

Task<Result<EntryView>> get_entry(store::Database& database, std::uint64_t index, OpenGroups open,
                                  const AuditKeys& keys, Deadline deadline) {
  std::vector<EntryView> entries;
  if (index < tlog::tree_size_max) {
    CITADEL_CO_ASSIGN(entries, co_await read_range(database, index, index + 1, open, keys, deadline));
  }
  if (entries.empty()) co_return fail(Code::not_found, fmt::format("the audit log has no entry {}", index));
  co_return std::move(entries.front());
}

Task<Result<std::vector<std::pair<Uuid, std::uint64_t>>>> find_indexes(store::Database& database,
                                                                       std::vector<Uuid> ids,
                                                                       Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 select_indexes, pg::Params(ids)));
  std::vector<std::pair<Uuid, std::uint64_t>> found;
  for (const pg::Row row : rows)
    found.emplace_back(row.get<Uuid>(0), static_cast<std::uint64_t>(row.get<std::int64_t>(1)));
  co_return found;
}

Task<Result<EntryView>> find_entry(store::Database& database, Uuid id, OpenGroups open, const AuditKeys& keys,
                                   Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto found, co_await find_indexes(database, {id}, deadline));
  if (found.empty())
    co_return fail(Code::not_found, fmt::format("the audit log has no entry with the id {}", id.to_string()));
  co_return co_await get_entry(database, found.front().second, open, keys, deadline);
}

Task<Result<std::vector<EntryView>>> read_entries(store::Database& database, std::uint64_t first,
                                                  std::size_t count, OpenGroups open, const AuditKeys& keys,
                                                  Deadline deadline) {
  if (count < 1 || count > entries_page_max)
    co_return fail(Code::invalid_argument,
                   fmt::format("a page has from 1 to {} entries, not {}", entries_page_max, count));
  if (first >= tlog::tree_size_max - entries_page_max) co_return std::vector<EntryView>();
  CITADEL_CO_ASSIGN(auto entries, co_await read_range(database, first, first + count, open, keys, deadline));
  CITADEL_CO_TRY(co_await read_tree_hashes(database, entries, deadline));
  co_return entries;
}

Task<Result<std::uint64_t>> first_index(store::Database& database, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read_your_writes, select_first, {}));
  co_return static_cast<std::uint64_t>(rows[0].get<std::int64_t>(0));
}

std::vector<ExportedGroup> exported_groups(const EntryView& view) {
  std::vector<ExportedGroup> groups;
  for (const GroupView& group : view.groups) {
    if (group.opened) groups.push_back({group.group, {group.opened->salt, group.opened->bytes}});
  }
  return groups;
}

ExportedEntry exported_entry(const EntryView& view, std::span<const ExportedGroup> groups) {
  ExportedEntry entry{.index = view.index,
                      .leaf = view.leaf_bytes,
                      .tree_hash = view.tree_hash,
                      .envelope = std::nullopt,
                      .groups = groups};
  if (view.envelope) entry.envelope = {view.envelope->salt, view.envelope->bytes};
  return entry;
}

Task<Result<std::string>> read_tile(store::Database& database, tlog::TilePath path, Deadline deadline) {
  if (path.kind == tlog::TileKind::hashes) {
    auto tiles = co_await read_tiles(database, {path.id}, deadline);
    if (!tiles && tiles.error().code == Code::corrupt) co_return not_grown(path);
    if (!tiles) co_return std::unexpected(std::move(tiles).error());
    co_return std::move(tiles->front().hashes);
  }
  const std::uint64_t first = path.id.index * tlog::tile_width_max;
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await select_entries(database, first, first + path.id.width, deadline));
  if (static_cast<std::uint32_t>(rows.size()) != path.id.width) co_return not_grown(path);
  std::string bundle;
  for (const pg::Row row : rows) CITADEL_CO_TRY(tlog::append_entry(bundle, row.get<Bytes>(1)));
  co_return bundle;
}

Task<Result<InclusionProof>> prove_inclusion(store::Database& database, std::uint64_t index,
                                             tlog::Checkpoint checkpoint, Deadline deadline,
                                             tlog::TileCache* cache) {
  if (index >= checkpoint.size)
    co_return fail(Code::invalid_argument, fmt::format("the checkpoint's tree has {} entries, and none at {}",
                                                       checkpoint.size, index));
  std::vector<tlog::Tile> tiles;
  std::vector<tlog::TileId> missing;
  for (const auto& id : tlog::tiles_for_inclusion(index, checkpoint.size)) {
    auto tile = cache == nullptr ? std::nullopt : cache->find(id);
    if (tile) {
      tiles.push_back(*std::move(tile));
    } else {
      missing.push_back(id);
    }
  }
  const bool is_from_cache = !tiles.empty();
  CITADEL_CO_ASSIGN(auto read, co_await read_entry_and_tiles(database, index, std::move(missing), deadline));
  for (auto& tile : read.tiles) {
    if (cache != nullptr) cache->put(tile);
    tiles.push_back(std::move(tile));
  }
  InclusionProof proof{.leaf = std::move(read.leaf), .hashes = {}};
  tlog::TileHashReader reader(checkpoint.size, tile_source(std::move(tiles)));
  CITADEL_CO_ASSIGN(proof.hashes, tlog::prove_inclusion(reader, index, checkpoint.size));
  const auto holds = tlog::verify_inclusion(tlog::leaf_hash(as_bytes(proof.leaf)), index, checkpoint.size,
                                            proof.hashes, checkpoint.root);
  if (holds) co_return proof;
  if (cache != nullptr) cache->clear();
  if (!is_from_cache) co_return std::unexpected(holds.error());
  co_return co_await prove_inclusion(database, index, std::move(checkpoint), deadline);
}

Task<Result<std::vector<tlog::Hash>>> prove_consistency(store::Database& database, std::uint64_t old_size,
                                                        tlog::Checkpoint checkpoint, Deadline deadline) {
  if (old_size > checkpoint.size)
    co_return fail(Code::invalid_argument,
                   fmt::format("the checkpoint's tree has {} entries, not {}", checkpoint.size, old_size));
  if (old_size == 0) co_return std::vector<tlog::Hash>();
  auto ids = tlog::tiles_for_consistency(old_size, checkpoint.size);
  // Of the old root, for the check.
  std::ranges::copy(tlog::tiles_for_root(old_size), std::back_inserter(ids));
  std::ranges::sort(ids);
  std::map<std::pair<std::uint8_t, std::uint64_t>, tlog::TileId> widest;
  for (const auto& id : ids) widest[{id.level, id.index}] = id;
  ids.clear();
  for (const auto& [key, id] : widest) ids.push_back(id);
  CITADEL_CO_ASSIGN(const auto tiles, co_await read_tiles(database, std::move(ids), deadline));
  tlog::TileHashReader reader(checkpoint.size, tile_source(tiles)), old_reader(old_size, tile_source(tiles));
  CITADEL_CO_ASSIGN(const auto old_root, tlog::read_root(old_reader, old_size));
  CITADEL_CO_ASSIGN(auto proof, tlog::prove_consistency(reader, old_size, checkpoint.size));
  CITADEL_CO_TRY(tlog::verify_consistency(old_size, old_root, checkpoint.size, checkpoint.root, proof));
  co_return proof;
}

Task<Result<LogStatus>> log_status(store::Database& database, Deadline deadline) {
  LogStatus status;
  CITADEL_CO_ASSIGN(status.head, co_await read_head(database, deadline));
  CITADEL_CO_ASSIGN(
      const pg::Rows rows,
      co_await database.query(deadline, store::Intent::read_your_writes, select_status,
                              pg::Params(static_cast<std::int16_t>(journal::Kind::audit_event))));
  const auto count = [&](int column) {
    return static_cast<std::uint64_t>(rows[0].get<std::int64_t>(column));
  };
  status.pending = count(0);
  status.pending_since = rows[0].get<std::optional<WallTime>>(1);
  status.conflicts = count(2);
  status.dead_letters = count(3);
  status.holds = count(4);
  co_return status;
}

}  // namespace citadel::audit
