#include "usage/months.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace citadel::usage {
namespace {

std::chrono::year_month month_of(const Uuid& id) {
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(id.time()));
  return date.year() / date.month();
}

Uuid floor_of(std::chrono::year_month month) {
  return id_floor(WallTime(std::chrono::sys_days(month / 1)));
}

}  // namespace

Uuid id_floor(WallTime time) {
  const auto ms =
      std::chrono::floor<std::chrono::milliseconds>(std::clamp(time, usage_time_min, usage_time_end));
  Uuid id = make_uuid7(ms, 0, 0);
  id.bytes[6] = id.bytes[8] = 0;
  return id;
}

Uuid month_floor(const Uuid& id) {
  return floor_of(month_of(id));
}

Uuid next_month_floor(const Uuid& id) {
  return floor_of(month_of(id) + std::chrono::months(1));
}

std::string bounds_sql(std::string_view column, const IdRange& range) {
  std::string sql = fmt::format(" and {} >= '{}'", column, range.from.to_string());
  if (range.below) sql += fmt::format(" and {} < '{}'", column, range.below->to_string());
  return sql;
}

std::vector<IdRange> ranges_below(const Uuid& below, std::vector<Uuid> partition_floors) {
  for (Uuid& floor : partition_floors) floor = month_floor(floor);
  std::ranges::sort(partition_floors, std::ranges::greater());
  const auto repeats = std::ranges::unique(partition_floors);
  partition_floors.erase(repeats.begin(), repeats.end());
  std::erase_if(partition_floors, [&](const Uuid& floor) { return floor >= below; });
  std::vector<IdRange> ranges;
  Uuid end = below;
  for (std::size_t at = 0, months = 1; at < partition_floors.size(); at += months, months *= 2) {
    months = std::min({months, months_per_statement_max, partition_floors.size() - at});
    const Uuid from = partition_floors[at + months - 1];
    ranges.push_back({from, end});
    end = from;
  }
  return ranges;
}

}  // namespace citadel::usage
