// LogHead: how long the log is and its root, as audit.head has it, and whether the log may grow.
//
// GrowthPermit stands between the publisher, which compares the head with the signed checkpoint outside the
// database, and the sequencer, which appends. Until the publisher has looked, and after it has found a fork,
// nothing is appended: the records wait in the journal. Both live on the database's executor; not
// thread-safe.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "aio/task.hpp"
#include "base/deadline.hpp"
#include "base/uuid.hpp"
#include "pg/transaction.hpp"
#include "store/database.hpp"
#include "tlog/tiles.hpp"

namespace citadel::audit {

struct LogHead {
  std::uint64_t size = 0;
  tlog::Hash root = tlog::empty_root();
  std::uint64_t fence = 0;  // one more whenever another journal takes over
  Uuid producer;            // the journal that appended last
  std::uint64_t epoch = 0;
  Uuid pending_producer;               // of the entries from audit.pending
  std::uint64_t pending_sequence = 0;  // of the last of them
  std::string origin;                  // "" until the first publisher has named the log
};

// From the primary: a standby may be behind.
Task<Result<LogHead>> read_head(store::Database& database, Deadline deadline);
// Takes the log: until the transaction ends nobody else appends, and none erases.
Task<Result<LogHead>> lock_head(pg::Transaction& transaction, Deadline deadline);

// The tiles asked for, each with exactly its width; corrupt where one is not there or too short.
Task<Result<std::vector<tlog::Tile>>> read_tiles(store::Database& database, std::vector<tlog::TileId> ids,
                                                 Deadline deadline);
Task<Result<std::vector<tlog::Tile>>> read_tiles(pg::Transaction& transaction, std::vector<tlog::TileId> ids,
                                                 Deadline deadline);
// The statement that reads them, of level, index and hashes, for a caller who reads more with it; its first
// two parameters; and the tiles out of its rows. Rows whose level is null are passed over.
inline constexpr std::string_view tiles_sql =
    "select t.* from unnest($1::int2[], $2::int8[]) as wanted (level, idx) "
    // Each by the primary key, whatever plan was made while the log was short: as in rows_by_key_sql.
    "cross join lateral (select level, idx, hashes from audit.tile where "
    "level = wanted.level and idx = wanted.idx offset 0) t";
pg::Params tile_params(const std::vector<tlog::TileId>& ids);
Result<std::vector<tlog::Tile>> tiles_of(const pg::Rows& rows, const std::vector<tlog::TileId>& ids);
// A source for tlog::TileHashReader; `tiles` are what it will ask for.
tlog::TileSource tile_source(std::vector<tlog::Tile> tiles);

class GrowthPermit {
 public:
  // The head extends the checkpoint at `size` with this root, or nothing was published yet (0, empty root).
  void grant(std::uint64_t size, const tlog::Hash& root);
  // Takes it back; `why` is what the sequencer then fails with.
  void refuse(Error why);

  // Whether a log with this head may grow: unavailable before the first grant, what refuse() was given, or
  // conflict where the head is behind what was published, as after a failover that lost the tail.
  Result<void> check(const LogHead& head) const;
  // What refuse() was given, until the next grant.
  const std::optional<Error>& refusal() const { return refusal_; }

 private:
  bool granted_ = false;
  std::uint64_t size_ = 0;
  tlog::Hash root_ = tlog::empty_root();
  std::optional<Error> refusal_;
};

}  // namespace citadel::audit
