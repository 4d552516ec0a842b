// Leftovers: what the audit journal had that is no event of the log. audit.conflict keeps events whose id was
// taken, citadel.dead_letter frames that could not be read or stored; both as the journal had them, with
// their groups encrypted under a data key that the master key wraps. Here they are found by subject and their
// keys are wrapped anew; audit::run_retention() drops them when due.
//
// On the database's executor.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "audit/audit_keys.hpp"
#include "audit/lifecycle.hpp"

namespace citadel::audit {

// Where dead letters stand: the columns of citadel.dead_letter's key, side by side.
struct LetterPlaces {
  std::vector<Uuid> producers;
  std::vector<std::int64_t> epochs, sequences;

  void append(const LetterPlaces& others);
};
// Those of the subject, as far as they can be read: nobody knows whose the others are. All of the audit
// trail's dead letters are gone through, or those inserted at `since` or later; in pages of at most a
// thousand, and not of more once one has 4 MiB.
Task<Result<LetterPlaces>> letters_of_subject(pg::Transaction& transaction, std::string_view tenant,
                                              std::string_view subject, std::optional<WallTime> since,
                                              Deadline deadline);
// What was inserted before this, by the database's clock, is visible by now, or never will be: an hour ago.
Task<Result<WallTime>> all_visible_before(pg::Transaction& transaction, Deadline deadline);

struct LeftoverRotation {
  std::uint64_t conflicts = 0, dead_letters = 0;  // whose key was wrapped anew by this call
  // That cannot be read, or that no master key that is known opens: what is encrypted in them stays so.
  std::uint64_t unopened = 0;
};
// A transaction for each page of them, which leaves an entry `audit.key_rotated` where it changed anything.
Task<Result<LeftoverRotation>> rotate_leftovers(store::Database& database,
                                                std::shared_ptr<const AuditKeys> keys, Caller caller,
                                                Deadline deadline);

}  // namespace citadel::audit
