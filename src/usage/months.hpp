// Months: which partitions of usage.request a statement may open, said in its text. Pure.
//
// usage.request has a partition a month. A bound that is a parameter keeps partitions closed only in a custom
// plan; at the sixth execution PostgreSQL also makes a generic one, which opens all that there are: seconds,
// and memory that the backend keeps. A bound in the text keeps them closed in every plan. The bounds are
// beginnings of months (UTC), so that there are few texts and each stays prepared.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/uuid.hpp"

namespace citadel::usage {

// What a query may ask for: usage_time_min <= time < usage_time_end.
inline constexpr WallTime usage_time_min = std::chrono::sys_days{std::chrono::year{1970} / 1 / 1};
inline constexpr WallTime usage_time_end = std::chrono::sys_days{std::chrono::year{10000} / 1 / 1};

// The lower bound of all ids of that millisecond and later, as usage.id_floor() has it. `time` is cut to what
// a query may ask for.
Uuid id_floor(WallTime time);

// The lower bound of the ids of the month that `id` lies in, and that of the month behind it. For ids of
// times before usage_time_end.
Uuid month_floor(const Uuid& id);
Uuid next_month_floor(const Uuid& id);

// from <= id < below; open at the end without `below`.
struct IdRange {
  Uuid from;
  std::optional<Uuid> below = {};
  friend bool operator==(const IdRange&, const IdRange&) = default;
};

// " and COLUMN >= '…' and COLUMN < '…'": both are identifiers and ids, so nothing of a caller's gets into the
// text.
std::string bounds_sql(std::string_view column, const IdRange& range);

// How many months one statement of a list reads at most.
inline constexpr std::size_t months_per_statement_max = 12;

// The ranges that a list reads after all ids from `below` on are read: newest first, the first of one month
// that has a partition, then of 2, 4, 8, 12, 12, … of them. `partition_floors`: the lower bounds of the
// partitions below it.
std::vector<IdRange> ranges_below(const Uuid& below, std::vector<Uuid> partition_floors);

}  // namespace citadel::usage
