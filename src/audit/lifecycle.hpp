// Lifecycle: holds, and the erasure of a subject. Each act is a function of the database's, which writes the
// entry of the log in the same transaction: see migrations/0006_audit_lifecycle.sql.
//
// A hold names a subject, a tenant, an object or a time, or several, which then must all be true of an event.
// What it covers is neither erased nor dropped until it is released. An erasure destroys the key under which
// a subject's field groups are sealed, and removes its events' content; entries and proofs stay.
//
// All calls on the database's executor.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "store/database.hpp"

namespace citadel::audit {

// Who asks, for the entry that says so.
struct Caller {
  std::string actor;  // "key:admin"
  std::string from;   // an address; may be empty
  std::string request_id = {};

  std::string text() const;  // "key:admin from 10.0.0.7"
};
// The transaction's entries are by this caller.
Task<Result<void>> act_for(pg::Transaction& transaction, const Caller& caller, Deadline deadline);

// At least one is there; an object has both its parts.
struct HoldScope {
  std::optional<std::string> tenant = {}, subject = {}, object_type = {}, object = {};
  std::optional<WallTime> from = {}, to = {};  // from <= an event's time < to
};

struct Hold {
  Uuid id;
  HoldScope scope;
  std::string reason, placed_by;
  WallTime placed_at;
  std::optional<WallTime> released_at = {};
  std::string released_by = {}, release_reason = {};
};

// invalid_argument where the scope is empty or contradicts itself.
Task<Result<Hold>> place_hold(store::Database& database, HoldScope scope, std::string reason, Caller caller,
                              Deadline deadline);
// not_found; conflict where it had been released.
Task<Result<Hold>> release_hold(store::Database& database, Uuid id, std::string reason, Caller caller,
                                Deadline deadline);
enum class WhichHolds : std::uint8_t { lasting, all };
// Newest first, at most holds_listed_max.
inline constexpr std::int64_t holds_listed_max = 1'000;
Task<Result<std::vector<Hold>>> list_holds(store::Database& database, WhichHolds which, Deadline deadline);

struct Erasure {
  Uuid id;  // of its entry in the log, too
  WallTime at;
  std::string tenant, subject_digest;  // SHA-256 of the subject's name, in hexadecimal
  std::string reason, erased_by;
  std::int64_t events = 0, groups = 0, conflicts = 0, keys = 0, dead_letters = 0;
};
// conflict, naming the hold; not_found where nothing of the subject is there.
Task<Result<Erasure>> erase_subject(store::Database& database, std::string tenant, std::string subject,
                                    std::string reason, Caller caller, Deadline deadline);
Task<Result<Erasure>> find_erasure(store::Database& database, Uuid id, Deadline deadline);

}  // namespace citadel::audit
