#include "audit/search.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "audit/months.hpp"
#include "audit/record_codec.hpp"

namespace citadel::audit {
namespace {

using namespace std::chrono_literals;

constexpr WallTime time_min = std::chrono::sys_days{std::chrono::year{1970} / 1 / 1};
constexpr WallTime time_end = std::chrono::sys_days{std::chrono::year{10000} / 1 / 1};

constexpr pg::Statement select_months{"audit event months", "select month from audit.event_months()"};
constexpr std::string_view columns = "select idx, class, severity, retention, envelope";
// A search that has no index in the order of time looks back by windows, the first of this length. Each that
// was not enough is followed by a longer one; where one has more rows than are worth sorting, it is cut down.
constexpr std::chrono::microseconds window_first = std::chrono::minutes(10),
                                    window_min = std::chrono::minutes(1),
                                    window_max = std::chrono::days(36'600);
constexpr int window_growth = 8, window_growth_once_cut = 2;
constexpr std::size_t window_rows_max = 5'000;

// The periods whose keys stand for a window of at most that length, so that it takes few.
struct Periods {
  std::chrono::seconds window_max, each;
  std::int64_t first_key;
};
constexpr Periods periods[] = {{std::chrono::hours(1), std::chrono::minutes(1), 0},
                               {std::chrono::days(2), std::chrono::hours(1), 10'000'000'000},
                               {std::chrono::days(62), std::chrono::days(1), 20'000'000'000}};
// Newest first, before any of `below`, in all months.
constexpr pg::Statement select_newest{
    "audit newest event",
    "select time, idx from audit.event where time >= $1 and (time, idx) < ($2, $3) "
    "order by time desc, idx desc limit 1"};

// Where a page ends: its last event's time and index.
struct Place {
  WallTime time;
  std::int64_t index = 0;
};

std::string encode(const Place& place) {
  std::string raw;
  append_be<std::int64_t>(raw, place.time.time_since_epoch().count());
  append_be<std::int64_t>(raw, place.index);
  return to_hex(as_bytes(raw));
}

Result<Place> parse_cursor(std::string_view text) {
  const auto raw = from_hex(text);
  if (!raw || raw->size() != 16)
    return fail(Code::invalid_argument, "cursor: is not one that a page has given");
  const Place place{WallTime(std::chrono::microseconds(load_be<std::int64_t>(raw->data()))),
                    load_be<std::int64_t>(raw->data() + 8)};
  if (place.time < time_min || place.time > time_end || place.index < 0)
    return fail(Code::invalid_argument, "cursor: is not one that a page has given");
  return place;
}

Result<Uuid> parse_trace(std::string_view text) {
  const auto raw = from_hex(text);
  Uuid id;
  if (!raw || raw->size() != id.bytes.size())
    return fail(Code::invalid_argument, "trace_id: must be 32 hexadecimal digits");
  std::memcpy(id.bytes.data(), raw->data(), raw->size());
  return id;
}

struct Search {
  SearchFilter filter;
  WallTime from, to;
  Place below;  // the page begins behind it
  std::optional<Uuid> trace;
  SearchPage page = {};

  // What it asks for has no index in the order of time.
  bool is_unordered() const {
    return filter.text || (filter.actor_type && !filter.actor) || (filter.object_type && !filter.object);
  }
  std::size_t missing() const { return static_cast<std::size_t>(filter.limit) - page.events.size(); }
};

// Each set of filters has a text of its own: `$n is null or …` would cost the plan its index.
class Conditions {
 public:
  explicit Conditions(pg::Params& params) : params_(params) {}
  template <class T>
  void equal(std::string_view column, const std::optional<T>& value) {
    if (!value) return;
    params_.add(*value);
    sql_ += fmt::format(" and {} = ${}", column, params_.size());
  }
  void add(std::string_view condition) { sql_ += condition; }
  template <class T>
  void add(std::string_view with_number, const T& value) {
    params_.add(value);
    sql_ += fmt::format(fmt::runtime(with_number), params_.size());
  }
  const std::string& sql() const { return sql_; }

 private:
  pg::Params& params_;
  std::string sql_;
};

Result<void> check_limit(int limit) {
  if (limit >= 1 && limit <= search_limit_max) return {};
  return fail(Code::invalid_argument,
              fmt::format("limit: must be from 1 to {}, not {}", search_limit_max, limit));
}

Result<Search> begin_search(SearchFilter filter) {
  CITADEL_TRY(check_limit(filter.limit));
  Search search;
  search.from = std::clamp(filter.from.value_or(time_min), time_min, time_end);
  search.to = std::clamp(filter.to.value_or(time_end), time_min, time_end);
  if (search.from >= search.to) return fail(Code::invalid_argument, "from: must lie before to");
  search.below = {search.to, 0};
  if (!filter.cursor.empty()) {
    CITADEL_ASSIGN(const Place last, parse_cursor(filter.cursor));
    if (last.time < search.to) search.below = last;
  }
  if (filter.trace_id) {
    CITADEL_ASSIGN(search.trace, parse_trace(*filter.trace_id));
  }
  search.filter = std::move(filter);
  return search;
}

void add_filters(const Search& search, Conditions& where) {
  const SearchFilter& filter = search.filter;
  where.equal("tenant", filter.tenant);
  where.equal("actor_type", filter.actor_type);
  if (filter.actor_type)
    where.add(fmt::format(" and {} @> array['actor ' || ${{}}::text]", types_sql), *filter.actor_type);
  where.equal("actor", filter.actor);
  where.equal("action", filter.action);
  where.equal("object_type", filter.object_type);
  if (filter.object_type)
    where.add(fmt::format(" and {} @> array['object ' || ${{}}::text]", types_sql), *filter.object_type);
  where.equal("object", filter.object);
  // What a partial index asks for, so that it serves; the same below.
  if (filter.object) where.add(" and object <> ''");
  where.equal("subject", filter.subject);
  if (filter.subject) where.add(" and subject <> ''");
  if (filter.outcome) {
    where.equal("outcome", std::optional(static_cast<std::int16_t>(*filter.outcome)));
    if (*filter.outcome != Outcome::success) where.add(" and outcome <> 1");
  }
  where.equal("trace_id", search.trace);
  where.equal("request_id", filter.request_id);
  if (filter.text) {
    where.add(
        fmt::format(" and {} @@ plainto_tsquery('simple'::regconfig, translate(${{}}, './:@_-', '      '))",
                    words_sql),
        *filter.text);
  }
}

Result<FoundEvent> found_of(const pg::Row& row) {
  FoundEvent found;
  found.index = static_cast<std::uint64_t>(row.get<std::int64_t>(0));
  found.action_class = static_cast<ActionClass>(row.get<std::int16_t>(1));
  found.severity = static_cast<Severity>(row.get<std::int16_t>(2));
  found.retention = static_cast<Retention>(row.get<std::int16_t>(3));
  auto event = decode_envelope(row.get<Bytes>(4));
  if (!event) {
    return fail(Code::corrupt, fmt::format("the envelope of entry {} is not as it was written: {}",
                                           found.index, event.error().message));
  }
  found.event = *std::move(event);
  return found;
}

Place place_of(const FoundEvent& found) {
  return {found.event.time, static_cast<std::int64_t>(found.index)};
}

// Takes what is missing of the rows into the page. True: the page is full, and has its cursor where more
// follow.
Result<bool> take_rows(const pg::Rows& rows, std::size_t missing, SearchPage& page) {
  const std::size_t found = static_cast<std::size_t>(rows.size());
  const std::size_t taken = std::min(found, missing);
  for (std::size_t i = 0; i < taken; ++i) {
    CITADEL_ASSIGN(FoundEvent event, found_of(rows[static_cast<int>(i)]));
    page.events.push_back(std::move(event));
  }
  if (found == taken) return false;
  page.next_cursor = encode(place_of(page.events.back()));
  return true;
}

Task<Result<bool>> read_range(store::Database& database, Search& search, MonthRange range,
                              Deadline deadline) {
  // One more than asked for tells whether there is a next page.
  pg::Params params(static_cast<std::int64_t>(search.missing()) + 1, search.from, search.below.time,
                    search.below.index);
  Conditions where(params);
  add_filters(search, where);
  const std::string sql = fmt::format(
      "{} from audit.event where time >= $2 and (time, idx) < ($3, $4){}{} order by time desc, idx desc "
      "limit $1",
      columns, where.sql(), bounds_sql(range));
  const pg::Statement statement{"audit search", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, statement, std::move(params)));
  co_return take_rows(rows, search.missing(), search.page);
}

// The keys of the periods from `from` to `to`, both of which are in one; none where those would be many.
std::vector<std::int64_t> period_keys(WallTime from, WallTime to) {
  std::vector<std::int64_t> keys;
  const auto* const fit =
      std::ranges::find_if(periods, [&](const auto& p) { return to - from <= p.window_max; });
  if (fit == std::end(periods)) return keys;
  for (auto at = from.time_since_epoch() / fit->each; at <= to.time_since_epoch() / fit->each; ++at)
    keys.push_back(fit->first_key + at);
  return keys;
}

enum class Window : std::uint8_t { not_enough, page_full, too_many };

// What is from `from` on and below search.below. too_many: nothing was taken, because there are more than
// window_rows_max.
Task<Result<Window>> read_window(store::Database& database, Search& search, WallTime from,
                                 Deadline deadline) {
  pg::Params params(static_cast<std::int64_t>(search.missing()) + 1, from, search.below.time,
                    search.below.index, static_cast<std::int64_t>(window_rows_max) + 1);
  Conditions where(params);
  add_filters(search, where);
  if (const auto keys = period_keys(from, search.below.time); !keys.empty())
    where.add(fmt::format(" and {} && ${{}}", periods_sql), keys);
  // Apart from its order, and with times that no index is of: else the plan would go through all events in
  // that order, or collect all of a time, to find the few that have the words.
  const std::string sql = fmt::format(
      "with found as materialized ({}, time from audit.event where time + interval '0' >= $2 "
      "and (time + interval '0', idx) < ($3, $4){}{} limit $5) {}, (select count(*) from found) from found "
      "order by time desc, idx desc limit $1",
      columns, where.sql(), bounds_sql(window_months(from, search.below.time, system_clock().wall())),
      columns);
  const pg::Statement statement{"audit search by words", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, statement, std::move(params)));
  if (!rows.empty() && static_cast<std::size_t>(rows[0].get<std::int64_t>(5)) > window_rows_max)
    co_return Window::too_many;
  CITADEL_CO_ASSIGN(const bool full, take_rows(rows, search.missing(), search.page));
  co_return full ? Window::page_full : Window::not_enough;
}

// What is from `from` on and below search.below, by going through all of it in the order of time: for what is
// so frequent there that a page is soon full. OFFSET keeps the conditions out of the inner query, and so the
// plan from any other index. Whether the page is full.
Task<Result<bool>> walk_window(store::Database& database, Search& search, WallTime from, Deadline deadline) {
  pg::Params params(static_cast<std::int64_t>(search.missing()) + 1, from, search.below.time,
                    search.below.index);
  Conditions where(params);
  add_filters(search, where);
  const std::string sql = fmt::format(
      "{} from (select * from audit.event where time >= $2 and (time, idx) < ($3, $4){} "
      "order by time desc, idx desc offset 0) e where true{} order by time desc, idx desc limit $1",
      columns, bounds_sql({month_start(from), next_month(month_start(search.below.time))}), where.sql());
  const pg::Statement statement{"audit search of a busy minute", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, statement, std::move(params)));
  co_return take_rows(rows, search.missing(), search.page);
}

// By windows, each from the newest event on that is left: what is frequent is found in the first minutes, and
// what is rare is little in years.
Task<Result<SearchPage>> search_windows(store::Database& database, Search search, Deadline deadline) {
  const auto enough = deadline.remaining() / 2;
  auto length = window_first;
  int growth = window_growth;
  for (bool cut = false;;) {
    if (!cut) {
      // Times in which nothing happened are stepped over.
      CITADEL_CO_ASSIGN(
          const pg::Rows newest,
          co_await database.query(deadline, store::Intent::read, select_newest,
                                  pg::Params(search.from, search.below.time, search.below.index)));
      if (newest.empty()) break;
      search.below = {newest[0].get<WallTime>(0), newest[0].get<std::int64_t>(1) + 1};
    }
    const WallTime from = search.below.time - search.from > length ? search.below.time - length : search.from;
    CITADEL_CO_ASSIGN(const Window read, co_await read_window(database, search, from, deadline));
    if (read == Window::page_full) break;
    cut = read == Window::too_many;
    if (cut && length <= window_min) {
      // A page has fewer events than there are in this window.
      CITADEL_CO_TRY(co_await walk_window(database, search, from, deadline));
      break;
    }
    if (cut) {
      length = std::max(length / window_growth, window_min);
      growth = window_growth_once_cut;
      continue;
    }
    search.below = {from, 0};
    if (from == search.from) break;
    if (deadline.remaining() < enough) {
      search.page.next_cursor = encode(search.below);
      break;
    }
    length = std::min(length * growth, window_max);
  }
  co_return std::move(search.page);
}

}  // namespace

Task<Result<SearchPage>> search_events(store::Database& database, SearchFilter filter, Deadline deadline) {
  CITADEL_CO_ASSIGN(Search search, begin_search(std::move(filter)));
  if (search.is_unordered()) co_return co_await search_windows(database, std::move(search), deadline);
  const auto enough = deadline.remaining() / 2;
  // The newest month first: most pages are full with it. Where it begins is taken from the clock, which costs
  // a longer way where it is wrong, and changes nothing in the answer.
  const WallTime now = system_clock().wall();
  MonthRange range{month_start(std::min(search.below.time, now))};
  if (search.below.time < now) range.below = next_month(range.from);
  CITADEL_CO_ASSIGN(bool full, co_await read_range(database, search, range, deadline));
  if (full || WallTime(range.from) <= search.from) co_return std::move(search.page);
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, select_months, {}));
  std::vector<MonthStart> months;
  for (const pg::Row row : rows) {
    const MonthStart month = month_start(row.get<WallTime>(0));
    if (WallTime(next_month(month)) > search.from) months.push_back(month);
  }
  MonthStart read_from = range.from;
  for (const MonthRange& next : ranges_below(range.from, std::move(months))) {
    if (deadline.remaining() < enough) {
      search.page.next_cursor = encode({WallTime(read_from), 0});
      break;
    }
    CITADEL_CO_ASSIGN(full, co_await read_range(database, search, next, deadline));
    if (full) break;
    read_from = next.from;
  }
  co_return std::move(search.page);
}

Task<Result<SearchPage>> trace_events(store::Database& database, std::string trace_id, std::string cursor,
                                      int limit, Deadline deadline) {
  CITADEL_CO_TRY(check_limit(limit));
  CITADEL_CO_ASSIGN(const Uuid trace, parse_trace(trace_id));
  Place after{time_min, -1};
  if (!cursor.empty()) {
    CITADEL_CO_ASSIGN(after, parse_cursor(cursor));
  }
  static const std::string sql = fmt::format(
      "{} from audit.event where trace_id = $2 and trace_id is not null and (time, idx) > ($3, $4) order by "
      "time, idx limit $1",
      columns);
  const pg::Statement statement{"audit trace", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(
                        deadline, store::Intent::read, statement,
                        pg::Params(static_cast<std::int64_t>(limit) + 1, trace, after.time, after.index)));
  SearchPage page;
  CITADEL_CO_TRY(take_rows(rows, static_cast<std::size_t>(limit), page));
  co_return page;
}

}  // namespace citadel::audit
