// Retention: content is dropped by months of a class when it is due. A month is due when it has ended, and
// the last of its events arrived, longer ago than its class is kept; so an event that claims to be old is
// kept as long as any other. A hold that covers one event keeps the whole month.
//
// audit.conflict goes by the month of arrival and the class of its events, and citadel.dead_letter, whose
// frames are nobody's, as though they were of the class `extended`: "leftovers". A hold keeps the whole month
// of them where it names nobody else's tenant or subject; of dead letters any hold does.
//
// Entries, their leaves and all proofs stay. Each month that is dropped, and the first time that a hold keeps
// one, is an entry `audit.retention_run` whose object says which: {"audit_content", "short/2026-01"}, or
// {"audit_content_held", …}; of leftovers {"audit_leftovers", "audit.conflict short/2026-01"}. Times are the
// database's. All calls on the database's executor.
#pragma once
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "audit/lifecycle.hpp"
#include "audit/months.hpp"
#include "store/database.hpp"

namespace citadel::audit {

// By class: short, standard, extended. Each at least a day.
using KeepTimes = std::array<std::chrono::seconds, 3>;

struct PlannedMonth {
  ContentMonth month;
  std::string partition;
  WallTime due_at;
  bool due = false;
  std::optional<Uuid> held_by = {};  // looked for where it is due
  std::int64_t events_estimate = 0, size_bytes = 0;
};
// Every month of content, what is due first in front.
Task<Result<std::vector<PlannedMonth>>> plan_retention(store::Database& database, KeepTimes keep,
                                                       Deadline deadline);

struct PlannedLeftovers {
  std::string kept_in;  // "audit.conflict" or "citadel.dead_letter"
  ContentMonth month;
  WallTime due_at;
  bool due = false;
  std::optional<Uuid> held_by = {};
  std::int64_t rows = 0;
};
Task<Result<std::vector<PlannedLeftovers>>> plan_leftovers(store::Database& database, KeepTimes keep,
                                                           Deadline deadline);

struct DroppedMonth {
  ContentMonth month;
  std::string partition;
  std::int64_t events = 0, groups = 0;
};
struct HeldMonth {
  ContentMonth month;
  std::string partition;
  Uuid hold;
};
struct FailedDrop {
  std::string name;  // "short/2026-01"; of leftovers "audit.conflict short/2026-01"
  Error error;
};
struct Leftovers {
  std::string name;  // "audit.conflict short/2026-01"
  std::int64_t rows = 0;
  std::optional<Uuid> held_by = {};  // then they are still there
};
struct RetentionRun {
  std::vector<DroppedMonth> dropped = {};
  std::vector<HeldMonth> held = {};
  std::vector<FailedDrop> failed = {};
  std::vector<Leftovers> leftovers = {};
};
enum class RetentionDrops : std::uint8_t { nothing, due };
// Makes this month's partitions of all classes and those of the next `months_ahead`, then drops what is due,
// leftovers last, a transaction each. Safe to run on several daemons at once. Where one month fails
// (unavailable: its table was busy), the others have their turn all the same, until the deadline, and the
// next run tries it again. An error only where nothing was dropped yet.
Task<Result<RetentionRun>> run_retention(store::Database& database, KeepTimes keep, int months_ahead,
                                         RetentionDrops drops, Caller caller, WallTime now,
                                         Deadline deadline);

}  // namespace citadel::audit
