#include "app/api_query.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aio/run.hpp"
#include "base/time_text.hpp"

namespace citadel::app {
namespace {

using testing::HasSubstr;

http::Request request_with(std::string name, std::string value) {
  http::Request request;
  request.tenant = "default";
  request.query_parameters = {{std::move(name), std::move(value)}};
  return request;
}

std::string list_error(std::string name, std::string value) {
  const auto filter = parse_request_filter(request_with(std::move(name), std::move(value)), 1000);
  return filter ? "accepted" : filter.error().message;
}

TEST(ApiQuery, NamesTheParameterThatIsNotGood) {
  EXPECT_EQ(list_error("limit", "1000"), "accepted");
  EXPECT_EQ(list_error("limit", "1001"), "limit: must be an integer from 1 to 1000");
  EXPECT_EQ(list_error("status", "99"), "status: must be an integer from 100 to 599");
  EXPECT_EQ(list_error("trace_id", "12"), "trace_id: must be 32 hexadecimal digits");
  EXPECT_EQ(list_error("model", ""), "model: must have 1 to 200 bytes");
  EXPECT_THAT(list_error("colour", "red"), HasSubstr("'colour' is not known"));
}

// Taken for the first page, it would be read for ever.
TEST(ApiQuery, AnEmptyCursorIsRefused) {
  EXPECT_EQ(list_error("cursor", ""), "cursor: is empty; leave it out for the first page");
  EXPECT_EQ(list_error("cursor", "x"), "accepted");  // list_requests() looks at what is in it
}

TEST(ApiQuery, ATimeSaysHowItMustBeWritten) {
  EXPECT_EQ(list_error("from", "2026-11-25T00:00:00+14:00"), "accepted");
  EXPECT_EQ(list_error("from", "9999-12-31T00:00:00Z"), "accepted");
  EXPECT_EQ(list_error("from", "2026-11-25T00:00:00 14:00"),
            "from: the + of the offset must be written %2B in a URL");
  EXPECT_EQ(list_error("to", "2026-11-25"), "accepted");
  EXPECT_EQ(list_error("to", "2026-11-31"),
            "to: must be a day like 2026-11-25 or an RFC 3339 time like 2026-11-25T00:00:00Z");
  EXPECT_EQ(list_error("to", "tomorrow morning"),
            "to: must be a day like 2026-11-25 or an RFC 3339 time like 2026-11-25T00:00:00Z");
}

TEST(ApiQuery, ADayIsItsMidnightInUtc) {
  EXPECT_EQ(parse_request_filter(request_with("to", "2026-11-25"), 1000)->to,
            parse_time("2026-11-25T00:00:00Z"));
  const auto now = *parse_time("2026-11-26T12:00:00Z");
  EXPECT_EQ(parse_usage_query(request_with("from", "2026-11-25"), now)->from,
            parse_time("2026-11-25T00:00:00Z"));
}

// Of another tenant than the operator's, the caller's alone; of a request without one, none.
TEST(ApiQuery, WhoIsOfATenantSeesThatTenant) {
  const auto now = *parse_time("2026-11-26T12:00:00Z");
  for (const std::string_view tenant : {"acme", ""}) {
    http::Request request;
    request.tenant = tenant;
    EXPECT_EQ(parse_request_filter(request, 1000)->tenant, tenant);
    EXPECT_EQ(parse_usage_query(request, now)->tenant, tenant);
    request.query_parameters = {{"tenant", "other"}};
    for (const auto& refused :
         {parse_request_filter(request, 1000).error(), parse_usage_query(request, now).error()}) {
      EXPECT_EQ(refused.code, Code::permission_denied);
      EXPECT_EQ(refused.message, "tenant: a principal sees the data of its own tenant");
    }
  }
  auto own = request_with("tenant", "acme");
  EXPECT_EQ(parse_request_filter(own, 1000)->tenant, "acme");  // the operator's, who names it
  own.tenant = "acme";
  EXPECT_EQ(parse_usage_query(own, now)->tenant, "acme");
  http::Request all;
  all.tenant = "default";
  EXPECT_EQ(parse_request_filter(all, 1000)->tenant, std::nullopt);
}

TEST(ApiQuery, ARouteWithoutParametersRefusesThem) {
  asio::io_context context{1};
  const auto handler = without_query(
      [](http::Request&) -> Task<http::Response> { co_return http::Response::json(200, "{}"); });
  http::Request plain;
  EXPECT_EQ(aio::run(context, handler(plain)).status, 200);
  auto request = request_with("verbose", "1");
  const auto refused = aio::run(context, handler(request));
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("'verbose' is not known; there are none"));
}

}  // namespace
}  // namespace citadel::app
