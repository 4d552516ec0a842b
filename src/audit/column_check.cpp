#include "audit/column_check.hpp"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "audit/months.hpp"

namespace citadel::audit {
namespace {

constexpr pg::Statement entry_columns{
    "audit entry columns",
    "select idx, epoch, sequence, time, received_at, id, producer, retention from audit.entry "
    "where idx >= $1 and idx <= $2"};
constexpr std::string_view event_columns =
    "select c.idx, c.received_at, c.id, c.class, c.outcome, c.trace_id, c.tenant, c.actor_type, c.actor, "
    "c.action, c.object_type, c.object, c.request_id, c.subject, c.reason from ";
constexpr pg::Statement anything_removed{
    "audit anything removed",
    "select exists (select from audit.erasure) or exists (select from audit.retention_run where "
    "held_by is null and partition like 'audit.event%')"};

// The first column of a row that says something else than the entry.
class ColumnCheck {
 public:
  ColumnCheck(std::string_view table, std::uint64_t index) : table_(table), index_(index) {}

  template <class T>
  ColumnCheck& is(std::string_view column, const T& found, const T& committed) {
    if (wrong_.empty() && !(found == committed)) wrong_ = column;
    return *this;
  }
  Result<void> result() const {
    if (wrong_.empty()) return {};
    return fail(Code::corrupt,
                fmt::format("the column {} of audit.{} says something else of entry {} than what was "
                            "committed to: searches are misled by it",
                            wrong_, table_, index_));
  }

 private:
  std::string_view table_;
  std::uint64_t index_;
  std::string_view wrong_;
};

using ByIndex = std::map<std::uint64_t, const EntryView*>;

std::uint64_t number(const pg::Row& row, int column) {
  return static_cast<std::uint64_t>(row.get<std::int64_t>(column));
}

Result<void> check_entry_row(const pg::Row& row, const EntryView& view) {
  const Leaf& leaf = view.leaf;
  ColumnCheck check("entry", view.index);
  check.is("epoch", number(row, 1), leaf.epoch).is("sequence", number(row, 2), leaf.sequence);
  check.is("time", row.get<WallTime>(3), leaf.time);
  if (view.envelope) check.is("received_at", row.get<WallTime>(4), view.envelope->event.received_at);
  check.is("id", row.get<Uuid>(5), leaf.id).is("producer", row.get<Uuid>(6), leaf.producer);
  check.is("retention", row.get<std::int16_t>(7), static_cast<std::int16_t>(leaf.retention));
  return check.result();
}

std::string hex_or_empty(const std::optional<Uuid>& id) {
  return id ? to_hex(std::as_bytes(std::span(id->bytes))) : std::string();
}

Result<void> check_event_row(const pg::Row& row, const EntryView& view) {
  const Event& event = view.envelope->event;
  const auto text = [&](int column) { return row.get<std::optional<std::string>>(column).value_or(""); };
  ColumnCheck check("event", view.index);
  check.is("received_at", row.get<WallTime>(1), event.received_at).is("id", row.get<Uuid>(2), view.leaf.id);
  check.is("class", row.get<std::int16_t>(3), static_cast<std::int16_t>(view.leaf.action_class));
  check.is("outcome", row.get<std::int16_t>(4), static_cast<std::int16_t>(event.outcome));
  check.is("trace_id", hex_or_empty(row.get<std::optional<Uuid>>(5)), event.trace_id);
  check.is("tenant", text(6), event.tenant).is("actor_type", text(7), event.actor.type);
  check.is("actor", text(8), event.actor.id).is("action", text(9), event.action);
  check.is("object_type", text(10), event.object.type).is("object", text(11), event.object.id);
  check.is("request_id", text(12), event.request_id).is("subject", text(13), event.subject);
  check.is("reason", text(14), event.reason);
  return check.result();
}

Task<Result<void>> check_events(store::Database& database, const ByIndex& views, ContentMonth month,
                                Deadline deadline) {
  std::vector<WallTime> times;
  std::vector<std::int64_t> indexes;
  for (const auto& [index, view] : views) {
    times.push_back(view->leaf.time);
    indexes.push_back(static_cast<std::int64_t>(index));
  }
  const std::string sql = std::string(event_columns) + rows_by_key_sql("audit.event", month);
  const pg::Statement statement{"audit event columns", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 statement, pg::Params(times, indexes)));
  for (const pg::Row row : rows) CITADEL_CO_TRY(check_event_row(row, *views.at(number(row, 0))));
  co_return Result<void>();
}

// Content goes by an erasure or by retention alone, and both leave a row.
Task<Result<void>> check_missing(store::Database& database, std::uint64_t index, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read_your_writes, anything_removed, {}));
  if (rows[0].get<bool>(0)) co_return Result<void>();
  co_return fail(Code::corrupt,
                 fmt::format("the row of entry {} in audit.event is gone, or its time or retention was "
                             "changed, and nothing of this log was ever erased or pruned",
                             index));
}

}  // namespace

Task<Result<void>> check_columns(store::Database& database, std::span<const EntryView> entries,
                                 Deadline deadline) {
  if (entries.empty()) co_return Result<void>();
  ByIndex by_index;
  std::map<ContentMonth, ByIndex> by_month;
  std::optional<std::uint64_t> missing;
  for (const EntryView& view : entries) {
    // A leaf that is not the tree's: whoever verifies says that of the entry, and not what follows from it.
    if (view.tree_hash && *view.tree_hash != tlog::leaf_hash(as_bytes(view.leaf_bytes))) continue;
    by_index[view.index] = &view;
    if (view.envelope) {
      by_month[content_month(view.leaf.retention, view.leaf.time)][view.index] = &view;
    } else if (!missing) {
      missing = view.index;
    }
  }
  const pg::Params range(static_cast<std::int64_t>(entries.front().index),
                         static_cast<std::int64_t>(entries.back().index));
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read_your_writes, entry_columns, range));
  for (const pg::Row row : rows) {
    const auto found = by_index.find(number(row, 0));
    if (found != by_index.end()) CITADEL_CO_TRY(check_entry_row(row, *found->second));
  }
  for (const auto& [month, views] : by_month)
    CITADEL_CO_TRY(co_await check_events(database, views, month, deadline));
  if (missing) CITADEL_CO_TRY(co_await check_missing(database, *missing, deadline));
  co_return Result<void>();
}

}  // namespace citadel::audit
