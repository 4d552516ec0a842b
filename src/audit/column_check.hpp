// The columns of audit.entry and audit.event by which entries are found, held against what was committed to.
//
// They are a view: nobody hashed them, so a verification of leaves and envelopes passes where one was edited,
// and the event is hidden from a search. Not compared is `severity`, which is the catalogue's word at the
// time.
#pragma once
#include <span>

#include "audit/queries.hpp"

namespace citadel::audit {

// Entries that read_entries() has given. corrupt names the first entry and its column; also where content is
// gone from a log of which nothing was ever erased or pruned. An entry whose leaf is not the tree's is left
// out: what is wrong with it is the leaf. On the database's executor.
Task<Result<void>> check_columns(store::Database& database, std::span<const EntryView> entries,
                                 Deadline deadline);

}  // namespace citadel::audit
