#include "app/api_query.hpp"

#include <fmt/format.h>

#include <charconv>

#include "access/routes.hpp"
#include "base/bytes.hpp"
#include "base/time_text.hpp"
#include "http/problem.hpp"

namespace citadel::app {
namespace {

std::unexpected<Error> bad(std::string_view parameter, std::string_view must) {
  return fail(Code::invalid_argument, fmt::format("{}: {}", parameter, must));
}

Result<std::optional<std::int64_t>> read_integer(const http::Request& request, std::string_view name,
                                                 std::int64_t min, std::int64_t max) {
  const auto text = request.query(name);
  if (!text) return std::optional<std::int64_t>();
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < min || value > max) {
    return bad(name, fmt::format("must be an integer from {} to {}", min, max));
  }
  return std::optional(value);
}

std::optional<std::string> read_text(const http::Request& request, std::string_view name) {
  const auto text = request.query(name);
  return text ? std::optional(std::string(*text)) : std::nullopt;
}

// Refuses what no record can have, so that a misspelt name is told from an empty answer.
Result<std::optional<std::string>> read_name(const http::Request& request, std::string_view name) {
  auto text = read_text(request, name);
  if (text && (text->empty() || text->size() > usage::name_bytes_max)) {
    return bad(name, fmt::format("must have 1 to {} bytes", usage::name_bytes_max));
  }
  return text;
}

Result<std::optional<Uuid>> read_trace_id(const http::Request& request) {
  const auto text = request.query("trace_id");
  if (!text) return std::optional<Uuid>();
  const auto raw = from_hex(*text);
  if (!raw || raw->size() != 16) return bad("trace_id", "must be 32 hexadecimal digits");
  Uuid id;
  std::memcpy(id.bytes.data(), raw->data(), id.bytes.size());
  return std::optional(id);
}

Result<std::optional<std::string>> read_tenant(const http::Request& request) {
  CITADEL_ASSIGN(auto named, read_name(request, "tenant"));
  const auto bound = bound_tenant(request);
  if (!bound) return named;
  if (named && *named != *bound)
    return fail(Code::permission_denied, "tenant: a principal sees the data of its own tenant");
  return std::optional(std::string(*bound));
}

Task<http::Response> refuse(http::Request& request, Error error) {
  co_return http::problem_response(request, error);
}

}  // namespace

Result<std::optional<WallTime>> read_time(const http::Request& request, std::string_view name) {
  const auto text = request.query(name);
  if (!text) return std::optional<WallTime>();
  if (const auto time = parse_day_or_time(*text)) return std::optional(*time);
  // A + that is not escaped has become a space.
  std::string escaped(*text);
  if (const auto space = escaped.rfind(' '); space != std::string::npos) escaped[space] = '+';
  return bad(name, parse_time(escaped)
                       ? "the + of the offset must be written %2B in a URL"
                       : "must be a day like 2026-11-25 or an RFC 3339 time like 2026-11-25T00:00:00Z");
}

std::optional<std::string_view> bound_tenant(const http::Request& request) {
  if (request.tenant == access::operators_tenant) return std::nullopt;
  return request.tenant;
}

http::Handler without_query(http::Handler handler) {
  return [handler = std::move(handler)](http::Request& request) {
    auto none = request.allow_query({});
    return none ? handler(request) : refuse(request, std::move(none).error());
  };
}

Result<usage::RequestFilter> parse_request_filter(const http::Request& request, std::int64_t page_rows_max) {
  CITADEL_TRY(
      request.allow_query({"tenant", "model", "from", "to", "status", "trace_id", "cursor", "limit"}));
  usage::RequestFilter filter;
  CITADEL_ASSIGN(filter.tenant, read_tenant(request));
  CITADEL_ASSIGN(filter.model, read_name(request, "model"));
  CITADEL_ASSIGN(filter.from, read_time(request, "from"));
  CITADEL_ASSIGN(filter.to, read_time(request, "to"));
  CITADEL_ASSIGN(const auto status, read_integer(request, "status", usage::status_min, usage::status_max));
  if (status) filter.status = static_cast<int>(*status);
  CITADEL_ASSIGN(filter.trace_id, read_trace_id(request));
  filter.cursor = read_text(request, "cursor").value_or("");
  // Taken for the first page, it would send a client that puts null in as "" round and round.
  if (request.query("cursor") == "") return bad("cursor", "is empty; leave it out for the first page");
  const auto limit_max = std::min<std::int64_t>(page_rows_max, usage::list_limit_max);
  CITADEL_ASSIGN(const auto limit, read_integer(request, "limit", 1, limit_max));
  filter.limit = static_cast<int>(limit.value_or(std::min<std::int64_t>(100, limit_max)));
  return filter;
}

Result<usage::UsageQuery> parse_usage_query(const http::Request& request, WallTime now) {
  CITADEL_TRY(request.allow_query({"from", "to", "bucket", "group_by", "tenant", "model"}));
  usage::UsageQuery query;
  CITADEL_ASSIGN(query.bucket, usage::parse_bucket(read_text(request, "bucket").value_or("hour")));
  CITADEL_ASSIGN(query.group_by, usage::parse_group_by(read_text(request, "group_by").value_or("")));
  CITADEL_ASSIGN(query.tenant, read_tenant(request));
  CITADEL_ASSIGN(query.model, read_name(request, "model"));
  CITADEL_ASSIGN(const auto from, read_time(request, "from"));
  CITADEL_ASSIGN(const auto to, read_time(request, "to"));
  const auto length = usage::length_of(query.bucket);
  const auto end = to.value_or(now);
  query.to = usage::start_of(query.bucket, end);
  if (query.to < end) query.to += length;
  query.from = usage::start_of(query.bucket, from.value_or(query.to - std::chrono::hours(24)));
  CITADEL_TRY(usage::check_usage_query(query));
  return query;
}

}  // namespace citadel::app
