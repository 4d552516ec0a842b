// Query parameters of the API to the queries of rooms below. invalid_argument names the parameter and what is
// good.
#pragma once
#include "http/message.hpp"
#include "http/router.hpp"
#include "usage/queries.hpp"

namespace citadel::app {

// For routes that take no query parameters: refuses any, else `handler` answers.
http::Handler without_query(http::Handler handler);

// A day, which is its midnight UTC, or an RFC 3339 time, where there is one.
Result<std::optional<WallTime>> read_time(const http::Request& request, std::string_view name);

// nullopt: who asks is of the operator's tenant and acts for all of them. Else the one tenant whose data may
// be seen and written.
std::optional<std::string_view> bound_tenant(const http::Request& request);

// Both are bound to the caller's tenant; permission_denied where another one is named.
// tenant, model, from, to, status, trace_id, cursor, limit.
Result<usage::RequestFilter> parse_request_filter(const http::Request& request, std::int64_t page_rows_max);

// from, to, bucket, group_by, tenant, model. Without from and to: the last 24 hours. Times are taken down
// (from) and up (to) to the beginning of a bucket.
Result<usage::UsageQuery> parse_usage_query(const http::Request& request, WallTime now);

}  // namespace citadel::app
