// Migrations: the schema's versions, applied in order, each once, each in a transaction of its own.
//
// They run on a direct connection as the schema's owner, under a session advisory lock, so that several
// daemons that start at once apply them once. What was applied is kept in citadel.migration with the SHA-256
// of its text: a migration that was edited after it was applied is refused. Each is an entry of the audit
// trail (migration.apply) too; those before the one that makes the trail are recorded by that one. After the
// last one the definition of every object in Citadel's schemas is kept, and find_drift() names what somebody
// has changed since by hand.
//
// All calls on the connection's executor.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aio/task.hpp"
#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "pg/connection.hpp"

namespace citadel::store {

struct Migration {
  int version;            // 1, 2, 3 … without a gap
  std::string_view name;  // "foundation"
  std::string_view sql;   // statements without BEGIN and COMMIT
};

// migrations/*.sql of this binary, in order.
std::span<const Migration> embedded_migrations();

enum class MigrationState : std::uint8_t {
  applied,
  pending,
  edited,   // applied, but the text in this binary is another
  unknown,  // applied by a newer binary
};

struct MigrationStatus {
  int version = 0;
  std::string name;
  MigrationState state = MigrationState::pending;
  std::optional<WallTime> applied_at;
};

std::string_view to_string(MigrationState state);

// What is applied, pending, edited or unknown; also in a database that has never been migrated.
Task<Result<std::vector<MigrationStatus>>> migration_status(pg::Connection& connection,
                                                            std::span<const Migration> migrations,
                                                            Deadline deadline);

// Applies what is pending and returns how many. Refuses (conflict) where one was edited or is unknown, and
// changes nothing then. `progress` is told before each. The lock is waited for until the deadline.
Task<Result<int>> migrate(pg::Connection& connection, std::span<const Migration> migrations,
                          Deadline deadline, std::function<void(const Migration&)> progress);

// One line an object that differs from what the migrations left: "+ column usage.request.note text" (added by
// hand),
// "- index …" (gone). Empty: no drift. Partitions of usage.request are not objects of the schema in this
// sense.
Task<Result<std::vector<std::string>>> find_drift(pg::Connection& connection, Deadline deadline);

}  // namespace citadel::store
