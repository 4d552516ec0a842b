#include "audit/lifecycle.hpp"

#include <fmt/format.h>

#include "audit/leftovers.hpp"
#include "base/bytes.hpp"

namespace citadel::audit {
namespace {

constexpr pg::Statement place{"audit hold place", "select audit.place_hold($1, $2, $3, $4, $5, $6, $7, $8)"};
constexpr pg::Statement release{"audit hold release", "select audit.release_hold($1, $2, $3)"};
#define HOLD_COLUMNS                                                                                    \
  "select id, tenant, subject, object_type, object, time_from, time_to, reason, placed_by, placed_at, " \
  "released_at, coalesce(released_by, ''), coalesce(release_reason, '') from audit.hold "
constexpr pg::Statement select_hold{"audit hold", HOLD_COLUMNS "where id = $1"};
constexpr pg::Statement select_holds{
    "audit holds", HOLD_COLUMNS "where $1 or released_at is null order by placed_at desc, id desc limit $2"};
#undef HOLD_COLUMNS
constexpr pg::Statement erase{"audit erase", "select audit.erase_subject($1, $2, $3, $4, $5, $6, $7)"};
// Of whoever removes content, then the sequencer's: see migrations/0006_audit_lifecycle.sql.
constexpr pg::Statement lock_holds{"audit lock holds", "select pg_advisory_xact_lock(4850147, 4)"};
constexpr pg::Statement lock_log{"audit lock log", "select pg_advisory_xact_lock(4850147, 2)"};
constexpr pg::Statement select_erasure{
    "audit erasure",
    "select id, at, tenant, subject_digest, reason, erased_by, events, groups, conflicts, keys, dead_letters "
    "from audit.erasure where id = $1"};

Hold hold_of(const pg::Row& row) {
  const auto text = [&](int column) { return row.get<std::optional<std::string>>(column); };
  const auto time = [&](int column) { return row.get<std::optional<WallTime>>(column); };
  return {.id = row.get<Uuid>(0),
          .scope = {.tenant = text(1),
                    .subject = text(2),
                    .object_type = text(3),
                    .object = text(4),
                    .from = time(5),
                    .to = time(6)},
          .reason = row.get<std::string>(7),
          .placed_by = row.get<std::string>(8),
          .placed_at = row.get<WallTime>(9),
          .released_at = time(10),
          .released_by = row.get<std::string>(11),
          .release_reason = row.get<std::string>(12)};
}

Result<void> check_scope(const HoldScope& scope) {
  if (scope.object_type.has_value() != scope.object.has_value())
    return fail(Code::invalid_argument, "object: an object has both a type and an id");
  if (!scope.tenant && !scope.subject && !scope.object && !scope.from && !scope.to)
    return fail(Code::invalid_argument, "name a subject, a tenant, an object or a time that is held");
  if (scope.from && scope.to && *scope.from >= *scope.to)
    return fail(Code::invalid_argument, "to: must be after from");
  return {};
}

Task<Result<Hold>> read_hold(pg::Transaction& transaction, Uuid id, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(select_hold, pg::Params(id), deadline));
  if (rows.empty()) co_return fail(Code::not_found, fmt::format("there is no hold {}", id.to_string()));
  co_return hold_of(rows[0]);
}

Erasure erasure_of(const pg::Row& row) {
  return {.id = row.get<Uuid>(0),
          .at = row.get<WallTime>(1),
          .tenant = row.get<std::string>(2),
          .subject_digest = to_hex(row.get<Bytes>(3)),
          .reason = row.get<std::string>(4),
          .erased_by = row.get<std::string>(5),
          .events = row.get<std::int64_t>(6),
          .groups = row.get<std::int64_t>(7),
          .conflicts = row.get<std::int64_t>(8),
          .keys = row.get<std::int64_t>(9),
          .dead_letters = row.get<std::int64_t>(10)};
}

}  // namespace

std::string Caller::text() const {
  return from.empty() ? actor : fmt::format("{} from {}", actor, from);
}

Task<Result<void>> act_for(pg::Transaction& transaction, const Caller& caller, Deadline deadline) {
  CITADEL_CO_TRY(co_await transaction.set_local("citadel.actor", caller.actor, deadline));
  co_return co_await transaction.set_local("citadel.request_id", caller.request_id, deadline);
}

Task<Result<Hold>> place_hold(store::Database& database, HoldScope scope, std::string reason, Caller caller,
                              Deadline deadline) {
  CITADEL_CO_TRY(check_scope(scope));
  co_return co_await database.transact<Hold>(
      deadline, store::Intent::write, {.name = "audit hold place"},
      [&](pg::Transaction& transaction) -> Task<Result<Hold>> {
        CITADEL_CO_TRY(co_await act_for(transaction, caller, deadline));
        const pg::Params params(scope.tenant, scope.subject, scope.object_type, scope.object, scope.from,
                                scope.to, reason, caller.text());
        CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(place, params, deadline));
        co_return co_await read_hold(transaction, rows[0].get<Uuid>(0), deadline);
      });
}

Task<Result<Hold>> release_hold(store::Database& database, Uuid id, std::string reason, Caller caller,
                                Deadline deadline) {
  co_return co_await database.transact<Hold>(
      deadline, store::Intent::write, {.name = "audit hold release"},
      [&](pg::Transaction& transaction) -> Task<Result<Hold>> {
        CITADEL_CO_TRY(co_await act_for(transaction, caller, deadline));
        CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(
                                                   release, pg::Params(id, reason, caller.text()), deadline));
        const auto released = rows[0].get<std::optional<bool>>(0);
        if (released && !*released)
          co_return fail(Code::conflict, fmt::format("the hold {} was released before", id.to_string()));
        co_return co_await read_hold(transaction, id, deadline);
      });
}

Task<Result<std::vector<Hold>>> list_holds(store::Database& database, WhichHolds which, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read_your_writes, select_holds,
                                            pg::Params(which == WhichHolds::all, holds_listed_max)));
  std::vector<Hold> holds;
  for (const pg::Row row : rows) holds.push_back(hold_of(row));
  co_return holds;
}

Task<Result<Erasure>> erase_subject(store::Database& database, std::string tenant, std::string subject,
                                    std::string reason, Caller caller, Deadline deadline) {
  if (subject.empty()) co_return fail(Code::invalid_argument, "subject: must not be empty");
  co_return co_await database.transact<Erasure>(
      deadline, store::Intent::write, {.name = "audit erase"},
      [&](pg::Transaction& transaction) -> Task<Result<Erasure>> {
        CITADEL_CO_TRY(co_await act_for(transaction, caller, deadline));
        // All of them before anybody waits; under the log's lock what may have come since. Twice is no harm.
        CITADEL_CO_ASSIGN(const auto since, co_await all_visible_before(transaction, deadline));
        CITADEL_CO_ASSIGN(auto letters,
                          co_await letters_of_subject(transaction, tenant, subject, {}, deadline));
        CITADEL_CO_TRY(co_await transaction.execute(lock_holds, {}, deadline));
        CITADEL_CO_TRY(co_await transaction.execute(lock_log, {}, deadline));
        CITADEL_CO_ASSIGN(const auto late,
                          co_await letters_of_subject(transaction, tenant, subject, since, deadline));
        letters.append(late);
        const pg::Params params(tenant, subject, reason, caller.text(), letters.producers, letters.epochs,
                                letters.sequences);
        CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(erase, params, deadline));
        const auto id = rows[0].get<std::optional<Uuid>>(0);
        if (!id) {
          co_return fail(
              Code::not_found,
              fmt::format("the audit trail holds nothing of this subject of the tenant {}", tenant));
        }
        CITADEL_CO_ASSIGN(const pg::Rows found,
                          co_await transaction.execute(select_erasure, pg::Params(*id), deadline));
        co_return erasure_of(found[0]);
      });
}

Task<Result<Erasure>> find_erasure(store::Database& database, Uuid id, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 select_erasure, pg::Params(id)));
  if (rows.empty()) co_return fail(Code::not_found, fmt::format("there is no erasure {}", id.to_string()));
  co_return erasure_of(rows[0]);
}

}  // namespace citadel::audit
