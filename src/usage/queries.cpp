#include "usage/queries.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "usage/months.hpp"
#include "usage/record_row.hpp"

namespace citadel::usage {
namespace {

constexpr std::string_view select_one = "select " CITADEL_USAGE_COLUMNS "where r.id = $1";

// Which filters a list has. Each set has a text of its own: `$n is null or …` would cost the plan its index.
enum ListFilter : unsigned {
  by_tenant = 1,
  by_model = 2,
  by_status = 4,
  by_failure = 8,
  by_trace = 16,
};

constexpr pg::Statement select_partitions{
    "usage partition bounds",
    "select lower_id from usage.request_partitions() where lower_id < $1 and upper_id > $2"};

// A list under way: what is asked for, and the page as far as it is read.
struct List {
  RequestFilter filter;
  unsigned shape = 0;
  Uuid floor, below;  // of the ids that may be in it
  WallTime from, to;
  RequestPage page = {};

  std::size_t missing() const { return static_cast<std::size_t>(filter.limit) - page.requests.size(); }
};

// $1 limit; $2, $3 bounds of the id, for the order; $4, $5 bounds of started_at; then the filters.
std::string list_sql(unsigned shape, const IdRange& range) {
  std::string sql = "select " CITADEL_USAGE_COLUMNS
                    "where r.id >= $2 and r.id < $3 and r.started_at >= $4 and r.started_at < $5";
  int next = 6;
  if (shape & by_tenant)
    sql += fmt::format(" and r.tenant_id = (select id from usage.tenant where name = ${})", next++);
  if (shape & by_model)
    sql += fmt::format(" and r.model_id = (select id from usage.model where name = ${})", next++);
  if (shape & by_status) sql += fmt::format(" and r.status = ${}", next++);
  // What the partial index asks for, so that it serves.
  if (shape & by_failure) sql += " and r.status >= 400";
  if (shape & by_trace) sql += fmt::format(" and r.trace_id = ${}", next++);
  return sql + bounds_sql("r.id", range) + " order by r.id desc limit $1";
}

pg::Params list_params(const List& list) {
  // One more than asked for tells whether there is a next page.
  pg::Params params(static_cast<std::int64_t>(list.missing()) + 1, list.floor, list.below, list.from,
                    list.to);
  const RequestFilter& filter = list.filter;
  if (filter.tenant) params.add(*filter.tenant);
  if (filter.model) params.add(*filter.model);
  if (filter.status) params.add(static_cast<std::int16_t>(*filter.status));
  if (filter.trace_id) params.add(*filter.trace_id);
  return params;
}

Result<List> begin_list(RequestFilter filter) {
  if (filter.limit < 1 || filter.limit > list_limit_max) {
    return fail(Code::invalid_argument,
                fmt::format("limit must be from 1 to {}, not {}", list_limit_max, filter.limit));
  }
  List list;
  list.filter = std::move(filter);
  list.from = list.filter.from.value_or(usage_time_min);
  list.to = list.filter.to.value_or(usage_time_end);
  if (list.from >= list.to) return fail(Code::invalid_argument, "from must lie before to");
  list.floor = id_floor(list.from - id_skew_max);
  list.below = id_floor(list.to + id_skew_max);
  if (!list.filter.cursor.empty()) {
    CITADEL_ASSIGN(const Uuid last, parse_cursor(list.filter.cursor));
    list.below = std::min(list.below, last);
  }
  if (list.filter.tenant) list.shape |= by_tenant;
  if (list.filter.model) list.shape |= by_model;
  if (list.filter.status) {
    list.shape |= by_status;
    if (*list.filter.status >= status_error_min) list.shape |= by_failure;
  }
  if (list.filter.trace_id) list.shape |= by_trace;
  return list;
}

// Appends what the range holds, until the page is full. True: it is full, and has its cursor where more
// follow.
Task<Result<bool>> read_range(store::Database& database, List& list, IdRange range, Deadline deadline) {
  const std::string sql = list_sql(list.shape, range);
  const pg::Statement statement{"usage list", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, statement, list_params(list)));
  const std::size_t found = static_cast<std::size_t>(rows.size());
  const std::size_t taken = std::min(found, list.missing());
  for (std::size_t i = 0; i < taken; ++i)
    list.page.requests.push_back(read_record(rows[static_cast<int>(i)]));
  if (found == taken) co_return false;
  list.page.next_cursor = make_cursor(list.page.requests.back().id);
  co_return true;
}

constexpr std::string_view base64url_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t cursor_length = 22;  // 16 bytes without padding

// sum() of int8 is numeric and exact; see rollup.hpp for what the greatest value means.
#define CITADEL_USAGE_SUM(column) "least(sum(" column "), 9223372036854775807)::int8, "
#define CITADEL_USAGE_SUMS                                                                        \
  CITADEL_USAGE_SUM("requests")                                                                   \
  CITADEL_USAGE_SUM("errors")                                                                     \
  CITADEL_USAGE_SUM("prompt_tokens")                                                              \
  CITADEL_USAGE_SUM("completion_tokens")                                                          \
  CITADEL_USAGE_SUM("cost_nano")                                                                  \
  CITADEL_USAGE_SUM("latency_count")                                                              \
      CITADEL_USAGE_SUM("latency_us_sum") "max(latency_us_max), " CITADEL_USAGE_SUM("ttft_count") \
          CITADEL_USAGE_SUM("ttft_us_sum") "max(ttft_us_max), " CITADEL_USAGE_SUM("queue_count")  \
              CITADEL_USAGE_SUM("queue_us_sum") "max(queue_us_max) "
#define CITADEL_USAGE_WHERE                                                              \
  "where bucket >= $1 and bucket < $2 "                                                  \
  "and ($3::text is null or tenant_id = (select id from usage.tenant where name = $3)) " \
  "and ($4::text is null or model_id = (select id from usage.model where name = $4)) "
#define CITADEL_USAGE_NONE(table)                                                      \
  "select bucket, '', " CITADEL_USAGE_SUMS "from usage." table " " CITADEL_USAGE_WHERE \
  "group by bucket order by bucket limit $5"
#define CITADEL_USAGE_BY(table, dictionary)                                         \
  "select s.* from (select bucket, d.name, " CITADEL_USAGE_SUMS "from usage." table \
  " join usage." dictionary " d on d.id = " dictionary "_id " CITADEL_USAGE_WHERE   \
  "group by bucket, d.name) s order by bucket, name limit $5"

// The order of Bucket and of GroupBy.
constexpr pg::Statement usage_statements[3][3] = {
    {{"usage minute", CITADEL_USAGE_NONE("rollup_minute")},
     {"usage minute by model", CITADEL_USAGE_BY("rollup_minute", "model")},
     {"usage minute by tenant", CITADEL_USAGE_BY("rollup_minute", "tenant")}},
    {{"usage hour", CITADEL_USAGE_NONE("rollup_hour")},
     {"usage hour by model", CITADEL_USAGE_BY("rollup_hour", "model")},
     {"usage hour by tenant", CITADEL_USAGE_BY("rollup_hour", "tenant")}},
    {{"usage day", CITADEL_USAGE_NONE("rollup_day")},
     {"usage day by model", CITADEL_USAGE_BY("rollup_day", "model")},
     {"usage day by tenant", CITADEL_USAGE_BY("rollup_day", "tenant")}}};
constexpr pg::Statement select_pruned{
    "usage pruned", "select exists (select from usage.rollup_pruned where rollup = $1 and before > $2)"};

UsageRow read_usage(const pg::Row& row) {
  const auto at = [&](int column) { return row.get<std::int64_t>(column); };
  return {.start = row.get<WallTime>(0),
          .group = row.get<std::string>(1),
          .sums = {.requests = at(2),
                   .errors = at(3),
                   .prompt_tokens = at(4),
                   .completion_tokens = at(5),
                   .cost_nano = at(6),
                   .latency = {.count = at(7), .sum = at(8), .max = at(9)},
                   .ttft = {.count = at(10), .sum = at(11), .max = at(12)},
                   .queue = {.count = at(13), .sum = at(14), .max = at(15)}}};
}

// The smallest id of version 7 at the lower bound of a month: all ids of the months before are smaller.
Uuid cursor_at(const Uuid& month) {
  return make_uuid7(month.time(), 0, 0);
}

}  // namespace

Task<Result<RequestRecord>> get_request(store::Database& database, Uuid id, Deadline deadline) {
  // An id of no time that a query may ask for is nobody's, and has no month.
  if (id.time() >= usage_time_end) co_return no_such_request(id);
  const std::string sql =
      std::string(select_one) + bounds_sql("r.id", {month_floor(id), next_month_floor(id)});
  const pg::Statement statement{"usage request", sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, statement, pg::Params(id)));
  if (rows.empty()) co_return no_such_request(id);
  co_return read_record(rows[0]);
}

Task<Result<RequestPage>> list_requests(store::Database& database, RequestFilter filter, Deadline deadline) {
  CITADEL_CO_ASSIGN(List list, begin_list(std::move(filter)));
  const auto enough = deadline.remaining() / 2;
  // The newest month first: most pages are full with it. Where it begins is taken from the clock, which costs
  // a longer way where it is wrong, and changes nothing in the answer.
  const Uuid now = id_floor(system_clock().wall());
  IdRange range{month_floor(std::min(list.below, now))};
  if (list.below < now) range.below = next_month_floor(list.below);
  CITADEL_CO_ASSIGN(bool full, co_await read_range(database, list, range, deadline));
  if (full || range.from <= list.floor) co_return std::move(list.page);
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, select_partitions,
                                            pg::Params(range.from, list.floor)));
  std::vector<Uuid> floors;
  for (const pg::Row row : rows) floors.push_back(row.get<Uuid>(0));
  Uuid read_from = range.from;
  for (const IdRange& next : ranges_below(range.from, std::move(floors))) {
    if (deadline.remaining() < enough) {
      list.page.next_cursor = make_cursor(cursor_at(read_from));
      break;
    }
    CITADEL_CO_ASSIGN(full, co_await read_range(database, list, next, deadline));
    if (full) break;
    read_from = next.from;
  }
  co_return std::move(list.page);
}

std::string make_cursor(const Uuid& last) {
  std::string out;
  unsigned bits = 0, held = 0;
  for (const auto byte : last.bytes) {
    held = held << 8 | byte;
    for (bits += 8; bits >= 6; bits -= 6) out += base64url_digits[held >> (bits - 6) & 63];
  }
  return out + base64url_digits[held << (6 - bits) & 63];
}

Result<Uuid> parse_cursor(std::string_view text) {
  Uuid id;
  unsigned bits = 0, held = 0;
  std::size_t filled = 0;
  bool good = text.size() == cursor_length;
  for (const char c : text.substr(0, cursor_length)) {
    const auto digit = base64url_digits.find(c);
    good = good && digit != std::string_view::npos;
    held = held << 6 | static_cast<unsigned>(digit & 63);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    if (filled < id.bytes.size()) id.bytes[filled++] = static_cast<std::uint8_t>(held >> bits);
  }
  if (!good || !id.is_version7() || make_cursor(id) != text) {
    return fail(Code::invalid_argument, "cursor is not one that a page of this list has given");
  }
  return id;
}

std::string_view to_string(GroupBy group_by) {
  switch (group_by) {
    case GroupBy::none:
      return "";
    case GroupBy::model:
      return "model";
    case GroupBy::tenant:
      return "tenant";
  }
  return "";
}

Result<GroupBy> parse_group_by(std::string_view text) {
  for (const GroupBy group_by : {GroupBy::none, GroupBy::model, GroupBy::tenant}) {
    if (text == to_string(group_by)) return group_by;
  }
  return fail(Code::invalid_argument, fmt::format("group_by must be model or tenant, not \"{}\"", text));
}

Result<void> check_usage_query(const UsageQuery& query) {
  if (query.from < usage_time_min || query.to > usage_time_end) {
    return fail(Code::invalid_argument, "from and to must lie between the years 1970 and 9999");
  }
  for (const auto& [name, time] : {std::pair("from", query.from), std::pair("to", query.to)}) {
    if (start_of(query.bucket, time) != time) {
      return fail(Code::invalid_argument,
                  fmt::format("{} must be the beginning of a {} (UTC)", name, to_string(query.bucket)));
    }
  }
  if (query.from >= query.to) return fail(Code::invalid_argument, "from must lie before to");
  if (const auto buckets = (query.to - query.from) / length_of(query.bucket); buckets > usage_buckets_max) {
    return fail(
        Code::invalid_argument,
        fmt::format("from and to span {} buckets; the limit is {}: ask for less time or longer buckets",
                    buckets, usage_buckets_max));
  }
  return {};
}

Task<Result<UsageReport>> usage_report(store::Database& database, UsageQuery query, Deadline deadline) {
  CITADEL_CO_TRY(check_usage_query(query));
  UsageReport report{.query = query};
  const auto& statement =
      usage_statements[static_cast<std::size_t>(query.bucket)][static_cast<std::size_t>(query.group_by)];
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, statement,
                                            pg::Params(query.from, query.to, query.tenant, query.model,
                                                       std::int64_t{usage_rows_max} + 1)));
  if (rows.size() > usage_rows_max) {
    co_return fail(Code::overloaded,
                   fmt::format("the answer has more than {} rows: ask for less time, longer "
                               "buckets or one tenant or model",
                               usage_rows_max));
  }
  report.rows.reserve(static_cast<std::size_t>(rows.size()));
  for (const pg::Row row : rows) {
    report.rows.push_back(read_usage(row));
    report.totals.add(report.rows.back().sums);
  }
  // Sums by day are never pruned.
  if (query.bucket != Bucket::day) {
    CITADEL_CO_ASSIGN(const pg::Rows pruned,
                      co_await database.query(deadline, store::Intent::read, select_pruned,
                                              pg::Params(to_string(query.bucket), query.from)));
    report.complete = !pruned[0].get<bool>(0);
  }
  co_return report;
}

}  // namespace citadel::usage
