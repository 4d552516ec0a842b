// Queries: one request, lists of requests, and usage by bucket. All calls on the database's executor.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aio/task.hpp"
#include "base/deadline.hpp"
#include "store/database.hpp"
#include "usage/record.hpp"
#include "usage/rollup.hpp"

namespace citadel::usage {

// not_found where no record has the id.
Task<Result<RequestRecord>> get_request(store::Database& database, Uuid id, Deadline deadline);

inline constexpr int list_limit_max = 1000;

struct RequestFilter {
  std::optional<std::string> tenant = {}, model = {};
  std::optional<WallTime> from = {}, to = {};  // of started_at: from <= started_at < to
  std::optional<int> status = {};
  std::optional<Uuid> trace_id = {};
  std::string cursor = {};  // from the page before; "" at the beginning
  int limit = 100;          // 1 to list_limit_max
};
struct RequestPage {
  std::vector<RequestRecord> requests = {};     // newest first, by id
  std::optional<std::string> next_cursor = {};  // nullopt on the last page
};

// A list that goes on while records arrive neither repeats nor skips one that was there at its start. A page
// has fewer than `limit` records, and a cursor all the same, where half of the time went by before they were
// found: go on with it.
Task<Result<RequestPage>> list_requests(store::Database& database, RequestFilter filter, Deadline deadline);

// A cursor is opaque to clients: base64url of a version 7 id, below which the next page begins.
// invalid_argument for anything else.
std::string make_cursor(const Uuid& last);
Result<Uuid> parse_cursor(std::string_view text);

enum class GroupBy : std::uint8_t { none, model, tenant };
std::string_view to_string(GroupBy group_by);
Result<GroupBy> parse_group_by(std::string_view text);  // "", "model", "tenant"

inline constexpr std::int64_t usage_buckets_max = 10'000;
inline constexpr int usage_rows_max = 100'000;

struct UsageQuery {
  WallTime from, to;  // from <= bucket < to; both at the beginning of a bucket
  Bucket bucket = Bucket::hour;
  GroupBy group_by = GroupBy::none;
  std::optional<std::string> tenant = {}, model = {};  // only theirs
};
// invalid_argument names the parameter and its limit.
Result<void> check_usage_query(const UsageQuery& query);

struct UsageRow {
  WallTime start;
  std::string group;  // the model's or tenant's name; "" with GroupBy::none
  Sums sums;
};
struct UsageReport {
  UsageQuery query;
  std::vector<UsageRow> rows = {};  // by start, then group; buckets without requests are left out
  Sums totals = {};
  bool complete = true;  // false: retention has removed sums at or after query.from
};
// overloaded where the answer has more than usage_rows_max rows.
Task<Result<UsageReport>> usage_report(store::Database& database, UsageQuery query, Deadline deadline);

std::string to_json(const RequestRecord& record);
// {"requests": [...], "next_cursor": "..." or null}
std::string to_json(const RequestPage& page);
// {"from", "to", "bucket", "group_by", "complete", "saturated" (only where it is true), "buckets": [{"start",
// "model", "requests", …}], "totals": {…}}
std::string to_json(const UsageReport& report);

}  // namespace citadel::usage
