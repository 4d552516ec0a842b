// LogRows: the sequencer's rows, to and from the database, within its transaction. On the database's
// executor.
#pragma once
#include <span>
#include <vector>

#include "audit/batch.hpp"

namespace citadel::audit {

// What is in the log under these ids, from `first_index` on, content and all: opened with the subjects' keys.
Task<Result<StoredEvents>> read_stored(pg::Transaction& transaction, const std::vector<Uuid>& ids,
                                       std::uint64_t first_index, const AuditKeys& keys, Deadline deadline);

// At most `count_max` rows of audit.pending, in their order.
Task<Result<std::vector<PendingRow>>> read_pending(pg::Transaction& transaction, std::size_t count_max,
                                                   Deadline deadline);
Task<Result<std::vector<PendingRow>>> read_pending(store::Database& database, std::size_t count_max,
                                                   Deadline deadline);

// Entries, content, conflicts and dead letters; and takes what came from audit.pending out of it.
Task<Result<void>> write_rows(pg::Transaction& transaction, const Batch& batch, Deadline deadline);

Task<Result<void>> write_tiles(pg::Transaction& transaction, std::span<const tlog::Tile> tiles,
                               Deadline deadline);
Task<Result<void>> write_head(pg::Transaction& transaction, const LogHead& head, Deadline deadline);

}  // namespace citadel::audit
