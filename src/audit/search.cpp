#include "audit/search.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "audit/months.hpp"
#include "audit/record_codec.hpp"

namespace citadel::audit {
namespace {

constexpr WallTime time_min = std::chrono::sys_days{std::chrono::year{1970} / 1 / 1};
constexpr WallTime time_end = std::chrono::sys_days{std::chrono::year{10000} / 1 / 1};

constexpr pg::Statement select_months{"audit event months", "select month from audit.event_months()"};
constexpr std::string_view columns =
    "select idx, class, severity, retention, envelope from audit.event where ";
// As the index event_by_word has it.
constexpr std::string_view words =
    "to_tsvector('simple'::regconfig, translate(action || ' ' || actor || ' ' || object_type || ' ' || "
    "object || ' ' "
    "|| reason, './:@_-', '      '))";

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
  where.equal("actor", filter.actor);
  where.equal("action", filter.action);
  where.equal("object_type", filter.object_type);
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
                    words),
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
  const std::string sql =
      fmt::format("{}time >= $2 and (time, idx) < ($3, $4){}{} order by time desc, idx desc limit $1",
                  columns, where.sql(), bounds_sql(range));
  const pg::Statement statement{"audit search", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, statement, std::move(params)));
  co_return take_rows(rows, search.missing(), search.page);
}

}  // namespace

Task<Result<SearchPage>> search_events(store::Database& database, SearchFilter filter, Deadline deadline) {
  CITADEL_CO_ASSIGN(Search search, begin_search(std::move(filter)));
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
      "{}trace_id = $2 and trace_id is not null and (time, idx) > ($3, $4) order by time, idx limit $1",
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
