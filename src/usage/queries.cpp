#include "usage/queries.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

namespace citadel::usage {
namespace {

#define CITADEL_USAGE_COLUMNS                                                                           \
  "r.id, r.started_at, t.name, m.name, r.prompt_tokens, r.completion_tokens, r.latency_us, r.ttft_us, " \
  "r.queue_us, r.status, r.cost_nano, r.streamed, r.trace_id, r.error_code, r.session, r.endpoint, "    \
  "r.api_key "                                                                                          \
  "from usage.request r join usage.tenant t on t.id = r.tenant_id join usage.model m on m.id = r.model_id "

constexpr pg::Statement select_one{"usage request", "select " CITADEL_USAGE_COLUMNS "where r.id = $1"};

RequestRecord read_record(const pg::Row& row) {
  RequestRecord record;
  record.id = row.get<Uuid>(0);
  record.started_at = row.get<WallTime>(1);
  record.tenant = row.get<std::string>(2);
  record.model = row.get<std::string>(3);
  record.prompt_tokens = row.get<std::int32_t>(4);
  record.completion_tokens = row.get<std::int32_t>(5);
  record.latency_us = row.get<std::optional<std::int64_t>>(6);
  record.ttft_us = row.get<std::optional<std::int64_t>>(7);
  record.queue_us = row.get<std::optional<std::int64_t>>(8);
  record.status = row.get<std::int16_t>(9);
  record.cost_nano = row.get<std::int64_t>(10);
  record.streamed = row.get<bool>(11);
  record.trace_id = row.get<std::optional<Uuid>>(12);
  record.error_code = row.get<std::optional<std::string>>(13);
  record.session = row.get<std::optional<std::string>>(14);
  record.endpoint = row.get<std::optional<std::string>>(15);
  record.api_key = row.get<std::optional<std::string>>(16);
  return record;
}

// One SQL text for each set of filters, made once: `$n is null or …` would cost the plan its index.
enum ListFilter : unsigned {
  by_tenant = 1,
  by_model = 2,
  by_status = 4,
  by_failure = 8,
  by_trace = 16,
  list_shapes = 32
};

// $1 limit; $2, $3 bounds of the id, for the partitions and the order; $4, $5 bounds of started_at; then the
// filters.
std::string list_sql(unsigned shape) {
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
  return sql + " order by r.id desc limit $1";
}

struct ListStatement {
  std::string name, sql;
  pg::Statement statement;
};

const pg::Statement& list_statement(unsigned shape) {
  static const auto statements = [] {
    auto made = std::make_unique<std::array<ListStatement, list_shapes>>();
    for (unsigned i = 0; i < list_shapes; ++i) {
      ListStatement& one = (*made)[i];
      one.name = fmt::format("usage list {:05b}", i);
      one.sql = list_sql(i);
      one.statement = {.name = one.name, .sql = one.sql};
    }
    return made;
  }();
  return (*statements)[shape].statement;
}

Uuid id_floor(WallTime time) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(time);
  Uuid id = make_uuid7(std::max(ms, decltype(ms){}), 0, 0);
  id.bytes[6] = id.bytes[8] = 0;
  return id;
}

constexpr WallTime earliest = std::chrono::sys_days{std::chrono::year{1970} / 1 / 1};
constexpr WallTime latest = std::chrono::sys_days{std::chrono::year{9999} / 1 / 1};

constexpr std::string_view base64url_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t cursor_length = 22;  // 16 bytes without padding

// The order of Bucket and of GroupBy.
#define CITADEL_USAGE_SUMS                                                                           \
  "sum(requests)::int8, sum(errors)::int8, sum(prompt_tokens)::int8, sum(completion_tokens)::int8, " \
  "sum(cost_nano)::int8, sum(latency_count)::int8, sum(latency_us_sum)::int8, max(latency_us_max), " \
  "sum(ttft_count)::int8, sum(ttft_us_sum)::int8, max(ttft_us_max), "                                \
  "sum(queue_count)::int8, sum(queue_us_sum)::int8, max(queue_us_max) "
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

}  // namespace

Task<Result<RequestRecord>> get_request(store::Database& database, Uuid id, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read, select_one, pg::Params(id)));
  if (rows.empty()) co_return fail(Code::not_found, fmt::format("no request has the id {}", id.to_string()));
  co_return read_record(rows[0]);
}

Task<Result<RequestPage>> list_requests(store::Database& database, RequestFilter filter, Deadline deadline) {
  if (filter.limit < 1 || filter.limit > list_limit_max) {
    co_return fail(Code::invalid_argument,
                   fmt::format("limit must be from 1 to {}, not {}", list_limit_max, filter.limit));
  }
  const WallTime from = filter.from.value_or(earliest), to = filter.to.value_or(latest);
  if (from >= to) co_return fail(Code::invalid_argument, "from must lie before to");
  Uuid below = id_floor(std::min(to, latest - id_skew_max) + id_skew_max);
  if (!filter.cursor.empty()) {
    CITADEL_CO_ASSIGN(const Uuid last, parse_cursor(filter.cursor));
    below = std::min(below, last);
  }
  unsigned shape = 0;
  // One more than asked for tells whether there is a next page.
  pg::Params params(std::int64_t{filter.limit} + 1, id_floor(from - id_skew_max), below, from, to);
  const auto add = [&](const auto& value, unsigned bit) {
    if (!value) return;
    shape |= bit;
    params.add(*value);
  };
  add(filter.tenant, by_tenant);
  add(filter.model, by_model);
  if (filter.status) {
    add(std::optional(static_cast<std::int16_t>(*filter.status)), by_status);
    if (*filter.status >= status_error_min) shape |= by_failure;
  }
  add(filter.trace_id, by_trace);
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read,
                                                                 list_statement(shape), std::move(params)));
  RequestPage page;
  const int count = std::min(rows.size(), filter.limit);
  page.requests.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) page.requests.push_back(read_record(rows[i]));
  if (rows.size() > filter.limit) page.next_cursor = make_cursor(page.requests.back().id);
  co_return page;
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
  if (!good || make_cursor(id) != text) {
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
  if (query.from < earliest || query.to > latest) {
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
