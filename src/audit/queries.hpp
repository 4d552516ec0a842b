// Queries: single entries, pages of the log in order, tiles, bundles and proofs, and how the log stands.
//
// What a proof is made of comes from the database, so it is checked against the signed checkpoint that the
// caller gives before it is handed out: corrupt where it does not hold. Where an entry's content was erased
// or pruned, its leaf is still there. All calls on the database's executor.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "audit/audit_keys.hpp"
#include "audit/leaf.hpp"
#include "audit/log_head.hpp"
#include "audit/verifier.hpp"
#include "tlog/checkpoint.hpp"
#include "tlog/tile_cache.hpp"

namespace citadel::audit {

inline constexpr std::size_t entries_page_max = 1'000;

// A field group that an entry has. Not opened, unless asked for; `bytes` is nothing then, and where its key
// was destroyed or the row was removed.
struct GroupView {
  Group group = Group::details;
  std::optional<OpenedGroup> opened = {};
  bool erased = false;
};

struct EntryView {
  std::uint64_t index = 0;
  Leaf leaf;
  std::string leaf_bytes;  // the very bytes
  WallTime received_at;
  // Nothing where they were erased or pruned.
  struct Envelope {
    Salt salt{};
    std::string bytes;
    Event event;  // what the bytes say; without groups
  };
  std::optional<Envelope> envelope = {};
  std::vector<GroupView> groups = {};        // in the order of their number
  std::optional<tlog::Hash> tree_hash = {};  // what the tile says of the leaf; read_entries() only
};

enum class OpenGroups : std::uint8_t { no, yes };

// not_found. Where an event came again, its own entry, not the marker's. `keys` are needed to open groups.
Task<Result<EntryView>> get_entry(store::Database& database, std::uint64_t index, OpenGroups open,
                                  const AuditKeys& keys, Deadline deadline);
Task<Result<EntryView>> find_entry(store::Database& database, Uuid id, OpenGroups open, const AuditKeys& keys,
                                   Deadline deadline);
// Where events of these ids stand in the log; those that are not there are left out.
Task<Result<std::vector<std::pair<Uuid, std::uint64_t>>>> find_indexes(store::Database& database,
                                                                       std::vector<Uuid> ids,
                                                                       Deadline deadline);

// From `first` on in the order of the log, at most `count` (1 to entries_page_max); fewer at the log's end.
Task<Result<std::vector<EntryView>>> read_entries(store::Database& database, std::uint64_t first,
                                                  std::size_t count, OpenGroups open, const AuditKeys& keys,
                                                  Deadline deadline);

// The index of the first entry that is there: 0, unless the beginning of the log was pruned, or taken away. 0
// for an empty log.
Task<Result<std::uint64_t>> first_index(store::Database& database, Deadline deadline);

// An entry as the verifier and the exports take it: views of `view` and `groups`, which outlive it.
std::vector<ExportedGroup> exported_groups(const EntryView& view);
ExportedEntry exported_entry(const EntryView& view, std::span<const ExportedGroup> groups);

// The bytes at the path of tlog-tiles; not_found where the log has not grown to them.
Task<Result<std::string>> read_tile(store::Database& database, tlog::TilePath path, Deadline deadline);

struct InclusionProof {
  std::string leaf;  // its bytes
  std::vector<tlog::Hash> hashes;
};
// Of an entry in the checkpoint's tree; invalid_argument where the tree is too small. One statement, for the
// entry and those tiles that `cache` does not have; it keeps what was read, and outlives the call. Where a
// proof out of the cache does not hold, the cache is cleared and the proof made anew.
Task<Result<InclusionProof>> prove_inclusion(store::Database& database, std::uint64_t index,
                                             tlog::Checkpoint checkpoint, Deadline deadline,
                                             tlog::TileCache* cache = nullptr);
// That the checkpoint's tree extends the log's first `old_size` entries.
Task<Result<std::vector<tlog::Hash>>> prove_consistency(store::Database& database, std::uint64_t old_size,
                                                        tlog::Checkpoint checkpoint, Deadline deadline);

struct LogStatus {
  LogHead head;
  std::uint64_t pending = 0;  // waiting in audit.pending; counted to 10,000
  std::optional<WallTime> pending_since = {};
  std::uint64_t conflicts = 0;
  std::uint64_t dead_letters = 0;  // frames of the audit journal
  std::uint64_t holds = 0;         // that last
};
Task<Result<LogStatus>> log_status(store::Database& database, Deadline deadline);

}  // namespace citadel::audit
