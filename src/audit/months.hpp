// Months: which partitions of audit.event and audit.sealed a statement may open, said in its text, for the
// reason that docs/decisions/0003-partitions-by-month.md gives. Bounds are beginnings of months (UTC), so
// that there are few texts and each stays prepared. Pure.
#pragma once
#include <chrono>
#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "audit/catalogue.hpp"
#include "base/clock.hpp"

namespace citadel::audit {

using MonthStart = std::chrono::sys_days;  // the first day of a month

MonthStart month_start(WallTime time);
MonthStart next_month(MonthStart month);

// One partition of content.
struct ContentMonth {
  Retention retention = Retention::standard;
  MonthStart month;
  friend auto operator<=>(const ContentMonth&, const ContentMonth&) = default;
};
ContentMonth content_month(Retention retention, WallTime time);
// "short/2026-01", and back.
std::string to_string(const ContentMonth& month);
std::optional<ContentMonth> parse_content_month(std::string_view text);

// "TABLE.retention = 2 and TABLE.time >= '…' and TABLE.time < '…'"
std::string bounds_sql(std::string_view table, const ContentMonth& month);
// "unnest(…) as k cross join lateral (…) c": the rows of `table` for the times in $1 and the indexes in $2,
// each found by the primary key. As a plain join it is up to the planner, and a prepared plan that was made
// while the table was empty stays what it was until the table is analyzed.
std::string rows_by_key_sql(std::string_view table, const ContentMonth& month);

// from <= time < below; open at the end without `below`.
struct MonthRange {
  MonthStart from;
  std::optional<MonthStart> below = {};
  friend bool operator==(const MonthRange&, const MonthRange&) = default;
};
// " and time >= '…' and time < '…'"
std::string bounds_sql(const MonthRange& range);

// The months of a search for from <= time < below by other indexes than those of time. A range that is
// bounded on both sides looks, to a planner without statistics, as though it held next to nothing: it would
// read the whole of a month that was filled a moment ago by its primary key. So what ends in the last two
// months is bounded below alone, and the few months that follow are opened too.
MonthRange window_months(WallTime from, WallTime below, WallTime now);

// The ranges that a search reads after all from `below` on is read: newest first, the first of one month that
// has a partition, then of 2, 4, 8, 12, 12, … of them.
std::vector<MonthRange> ranges_below(MonthStart below, std::vector<MonthStart> months);

}  // namespace citadel::audit
