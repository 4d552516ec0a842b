#include "audit/retention.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/time_text.hpp"

namespace citadel::audit {
namespace {

constexpr std::array classes{Retention::short_, Retention::standard, Retention::extended};

constexpr pg::Statement make_months{"audit event partitions",
                                    "select audit.ensure_event_partitions($1, $2::text[]::date[])"};
constexpr pg::Statement select_plan{
    "audit retention plan",
    "select retention, month, partition, due_at, due, held_by, events_estimate, size_bytes "
    "from audit.retention_plan($1)"};
constexpr pg::Statement drop_month{
    "audit retention drop",
    "select outcome, partition, events, groups, held_by from audit.drop_month($1, $2, $3, $4)"};

constexpr pg::Statement select_leftovers{
    "audit leftovers plan",
    "select kept_in, retention, month, events, due_at, due_at <= clock_timestamp(), held_by "
    "from audit.leftover_months($1)"};
constexpr pg::Statement drop_due_leftovers{
    "audit leftovers drop", "select outcome, events, held_by from audit.drop_leftovers($1, $2, $3, $4, $5)"};

std::vector<std::int64_t> seconds_of(const KeepTimes& keep) {
  std::vector<std::int64_t> out;
  for (const auto time : keep) out.push_back(time.count());
  return out;
}

Task<Result<void>> ensure_months(store::Database& database, int months_ahead, WallTime now,
                                 Deadline deadline) {
  std::vector<std::int16_t> retentions;
  std::vector<std::string> dates;
  MonthStart month = month_start(now);
  for (int i = 0; i <= months_ahead; ++i, month = next_month(month)) {
    for (const Retention retention : classes) {
      retentions.push_back(static_cast<std::int16_t>(retention));
      dates.push_back(format_time(WallTime(month)).substr(0, 10));
    }
  }
  CITADEL_CO_TRY(co_await database.transact<bool>(
      deadline, store::Intent::write, {.name = "audit event partitions"},
      [&](pg::Transaction& transaction) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await transaction.execute(make_months, pg::Params(retentions, dates), deadline));
        co_return true;
      }));
  co_return Result<void>();
}

std::string name_of(const PlannedLeftovers& planned) {
  return fmt::format("{} {}", planned.kept_in, to_string(planned.month));
}

Task<Result<pg::Rows>> ask_to_drop(store::Database& database, const pg::Statement& statement,
                                   const pg::Params& params, const Caller& caller, Deadline deadline) {
  co_return co_await database.transact<pg::Rows>(
      deadline, store::Intent::write, {.name = "audit retention"},
      [&](pg::Transaction& transaction) -> Task<Result<pg::Rows>> {
        CITADEL_CO_TRY(co_await act_for(transaction, caller, deadline));
        co_return co_await transaction.execute(statement, params, deadline);
      });
}

// Adds what became of the month.
Task<Result<void>> drop(store::Database& database, const KeepTimes& keep, const ContentMonth& month,
                        const Caller& caller, RetentionRun& run, Deadline deadline) {
  const pg::Params params(seconds_of(keep), static_cast<std::int16_t>(month.retention), WallTime(month.month),
                          caller.text());
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await ask_to_drop(database, drop_month, params, caller, deadline));
  const pg::Row row = rows[0];
  const auto outcome = row.get<std::string_view>(0);
  if (outcome == "dropped") {
    run.dropped.push_back(
        {month, row.get<std::string>(1), row.get<std::int64_t>(2), row.get<std::int64_t>(3)});
  } else if (outcome == "held") {
    run.held.push_back({month, row.get<std::string>(1), row.get<Uuid>(4)});
  }
  co_return Result<void>();
}

// The same of a month of leftovers.
Task<Result<void>> drop_leftovers(store::Database& database, const KeepTimes& keep,
                                  const PlannedLeftovers& planned, const Caller& caller, RetentionRun& run,
                                  Deadline deadline) {
  const pg::Params params(seconds_of(keep), planned.kept_in,
                          static_cast<std::int16_t>(planned.month.retention), WallTime(planned.month.month),
                          caller.text());
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await ask_to_drop(database, drop_due_leftovers, params, caller, deadline));
  const pg::Row row = rows[0];
  if (row.get<std::string_view>(0) != "not due") {
    run.leftovers.push_back({name_of(planned), row.get<std::int64_t>(1), row.get<std::optional<Uuid>>(2)});
  }
  co_return Result<void>();
}

Task<Result<void>> drop_all_leftovers(store::Database& database, const KeepTimes& keep, const Caller& caller,
                                      RetentionRun& run, Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto plan, co_await plan_leftovers(database, keep, deadline));
  for (const PlannedLeftovers& planned : plan) {
    if (!planned.due) continue;
    const auto done = co_await drop_leftovers(database, keep, planned, caller, run, deadline);
    if (!done) run.failed.push_back({name_of(planned), done.error()});
    if (deadline.expired()) break;
  }
  co_return Result<void>();
}

}  // namespace

Task<Result<std::vector<PlannedLeftovers>>> plan_leftovers(store::Database& database, KeepTimes keep,
                                                           Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read_your_writes, select_leftovers,
                                            pg::Params(seconds_of(keep))));
  std::vector<PlannedLeftovers> plan;
  for (const pg::Row row : rows) {
    plan.push_back(
        {.kept_in = row.get<std::string>(0),
         .month = {static_cast<Retention>(row.get<std::int16_t>(1)), month_start(row.get<WallTime>(2))},
         .due_at = row.get<WallTime>(4),
         .due = row.get<bool>(5),
         .held_by = row.get<std::optional<Uuid>>(6),
         .rows = row.get<std::int64_t>(3)});
  }
  co_return plan;
}

Task<Result<std::vector<PlannedMonth>>> plan_retention(store::Database& database, KeepTimes keep,
                                                       Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 select_plan, pg::Params(seconds_of(keep))));
  std::vector<PlannedMonth> plan;
  for (const pg::Row row : rows) {
    plan.push_back(
        {.month = {static_cast<Retention>(row.get<std::int16_t>(0)), month_start(row.get<WallTime>(1))},
         .partition = row.get<std::string>(2),
         .due_at = row.get<WallTime>(3),
         .due = row.get<bool>(4),
         .held_by = row.get<std::optional<Uuid>>(5),
         .events_estimate = row.get<std::int64_t>(6),
         .size_bytes = row.get<std::int64_t>(7)});
  }
  co_return plan;
}

Task<Result<RetentionRun>> run_retention(store::Database& database, KeepTimes keep, int months_ahead,
                                         RetentionDrops drops, Caller caller, WallTime now,
                                         Deadline deadline) {
  CITADEL_CO_TRY(co_await ensure_months(database, months_ahead, now, deadline));
  RetentionRun run;
  if (drops == RetentionDrops::nothing) co_return run;
  CITADEL_CO_ASSIGN(const auto plan, co_await plan_retention(database, keep, deadline));
  for (const PlannedMonth& planned : plan) {
    if (!planned.due) continue;
    const auto done = co_await drop(database, keep, planned.month, caller, run, deadline);
    if (!done) run.failed.push_back({to_string(planned.month), done.error()});
    if (deadline.expired()) co_return run;
  }
  const auto done = co_await drop_all_leftovers(database, keep, caller, run, deadline);
  if (!done) run.failed.push_back({"conflicts and dead letters", done.error()});
  co_return run;
}

}  // namespace citadel::audit
