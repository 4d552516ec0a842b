#include "audit/months.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/time_text.hpp"

namespace citadel::audit {
namespace {

constexpr std::size_t months_per_statement_max = 12;
constexpr auto window_unbounded_max = std::chrono::days(62);

std::string text_of(MonthStart month) {
  return format_time(WallTime(month));
}

}  // namespace

MonthStart month_start(WallTime time) {
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(time));
  return date.year() / date.month() / 1;
}

MonthStart next_month(MonthStart month) {
  const std::chrono::year_month_day date(month);
  return (date.year() / date.month() + std::chrono::months(1)) / 1;
}

ContentMonth content_month(Retention retention, WallTime time) {
  return {retention, month_start(time)};
}

std::string to_string(const ContentMonth& month) {
  return fmt::format("{}/{}", to_string(month.retention), format_time(WallTime(month.month)).substr(0, 7));
}

std::optional<ContentMonth> parse_content_month(std::string_view text) {
  for (const Retention retention : {Retention::short_, Retention::standard, Retention::extended}) {
    const auto name = to_string(retention);
    if (!text.starts_with(name) || text.size() != name.size() + 8) continue;
    const auto time = parse_time(fmt::format("{}-01T00:00:00Z", text.substr(name.size() + 1)));
    const ContentMonth month{retention, time ? month_start(*time) : MonthStart()};
    if (time && to_string(month) == text) return month;
  }
  return std::nullopt;
}

std::string bounds_sql(std::string_view table, const ContentMonth& month) {
  return fmt::format("{0}.retention = {1} and {0}.time >= '{2}' and {0}.time < '{3}'", table,
                     static_cast<int>(month.retention), text_of(month.month),
                     text_of(next_month(month.month)));
}

std::string rows_by_key_sql(std::string_view table, const ContentMonth& month) {
  return fmt::format(
      "unnest($1::timestamptz[], $2::int8[]) as k (time, idx) cross join lateral "
      "(select * from {} e where {} and e.time = k.time and e.idx = k.idx offset 0) c",
      table, bounds_sql("e", month));
}

std::string bounds_sql(const MonthRange& range) {
  std::string sql = fmt::format(" and time >= '{}'", text_of(range.from));
  if (range.below) sql += fmt::format(" and time < '{}'", text_of(*range.below));
  return sql;
}

MonthRange window_months(WallTime from, WallTime below, WallTime now) {
  MonthRange range{month_start(from)};
  if (below < now - window_unbounded_max) range.below = next_month(month_start(below));
  return range;
}

std::vector<MonthRange> ranges_below(MonthStart below, std::vector<MonthStart> months) {
  std::ranges::sort(months, std::ranges::greater());
  const auto repeats = std::ranges::unique(months);
  months.erase(repeats.begin(), repeats.end());
  std::erase_if(months, [&](MonthStart month) { return month >= below; });
  std::vector<MonthRange> ranges;
  MonthStart end = below;
  for (std::size_t at = 0, count = 1; at < months.size(); at += count, count *= 2) {
    count = std::min({count, months_per_statement_max, months.size() - at});
    ranges.push_back({months[at + count - 1], end});
    end = months[at + count - 1];
  }
  return ranges;
}

}  // namespace citadel::audit
