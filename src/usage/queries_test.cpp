#include "usage/queries.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time_text.hpp"

namespace citadel::usage {
namespace {

using testing::HasSubstr;

TEST(Cursor, GivesTheIdBack) {
  SeededRandom random(3);
  for (int i = 0; i < 1000; ++i) {
    const Uuid id = new_uuid7(WallTime(std::chrono::seconds(1'700'000'000 + i)), random);
    const std::string cursor = make_cursor(id);
    EXPECT_EQ(cursor.size(), 22u);
    ASSERT_EQ(parse_cursor(cursor).value(), id);
  }
}

TEST(Cursor, RefusesAnythingElse) {
  ASSERT_TRUE(parse_cursor("AAAAAAAAcACAAAAAAAAAAA"));
  for (const std::string_view bad :
       {"", "x", "AAAAAAAAcACAAAAAAAAAA", "AAAAAAAAcACAAAAAAAAAAAA", "AAAAAAAAcACAAAAAAAAA+/",
        "AAAAAAAAcACAAAAAAAAAAB", "AAAAAAAAcACAAAAAAAAAA=",
        // Not of version 7, not of its variant: no page gives such an id.
        "AAAAAAAAAACAAAAAAAAAAA", "AAAAAAAAcAAAAAAAAAAAAA"}) {
    const auto id = parse_cursor(bad);
    ASSERT_FALSE(id.has_value()) << bad;
    EXPECT_EQ(id.error().code, Code::invalid_argument);
  }
}

UsageQuery hours(std::string_view from, std::string_view to) {
  return {.from = *parse_time(from), .to = *parse_time(to), .bucket = Bucket::hour};
}
std::string error_of(const UsageQuery& query) {
  const auto checked = check_usage_query(query);
  return checked ? "accepted" : checked.error().message;
}

TEST(UsageQuery, AsksForWholeBuckets) {
  EXPECT_EQ(error_of(hours("2026-11-25T00:00:00Z", "2026-11-25T01:00:00Z")), "accepted");
  EXPECT_EQ(error_of(hours("2026-11-25T00:30:00Z", "2026-11-25T01:00:00Z")),
            "from must be the beginning of a hour (UTC)");
  EXPECT_EQ(error_of(hours("2026-11-25T00:00:00Z", "2026-11-25T01:00:01Z")),
            "to must be the beginning of a hour (UTC)");
  EXPECT_EQ(error_of(hours("2026-11-25T01:00:00Z", "2026-11-25T01:00:00Z")), "from must lie before to");
}

TEST(UsageQuery, IsBoundedInBuckets) {
  UsageQuery query = hours("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
  query.to = query.from + std::chrono::hours(usage_buckets_max);
  EXPECT_EQ(error_of(query), "accepted");
  query.to += std::chrono::hours(1);
  EXPECT_THAT(error_of(query), HasSubstr("span 10001 buckets; the limit is 10000"));
  query.from = WallTime(std::chrono::hours(-24));
  EXPECT_THAT(error_of(query), HasSubstr("between the years 1970 and 9999"));
}

TEST(UsageQuery, NamesItsGroups) {
  for (const GroupBy group : {GroupBy::none, GroupBy::model, GroupBy::tenant}) {
    EXPECT_EQ(parse_group_by(to_string(group)).value(), group);
  }
  ASSERT_FALSE(parse_group_by("key").has_value());
  EXPECT_THAT(parse_group_by("key").error().message, HasSubstr("model or tenant, not \"key\""));
}

TEST(UsageJson, WritesReportsAndPages) {
  UsageReport report{.query = hours("2026-11-25T00:00:00Z", "2026-11-25T02:00:00Z")};
  report.query.group_by = GroupBy::model;
  report.complete = false;
  report.rows.push_back({report.query.from,
                         "m\"",
                         {.requests = 2,
                          .errors = 1,
                          .prompt_tokens = 3,
                          .completion_tokens = 4,
                          .cost_nano = 5,
                          .latency = {.count = 2, .sum = 3000, .max = 2000}}});
  report.totals = report.rows[0].sums;
  const std::string sums = R"("requests":2,"errors":1,"prompt_tokens":3,"completion_tokens":4,"cost_nano":5,)"
                           R"("latency":{"count":2,"mean_ms":1.5,"max_ms":2.0},"ttft":null,"queue":null)";
  EXPECT_EQ(
      to_json(report),
      R"({"from":"2026-11-25T00:00:00Z","to":"2026-11-25T02:00:00Z","bucket":"hour","group_by":"model",)"
      R"("complete":false,"buckets":[{"start":"2026-11-25T00:00:00Z","model":"m\"",)" +
          sums + R"(}],"totals":{)" + sums + "}}");
  EXPECT_THAT(to_json(report), testing::Not(HasSubstr("saturated")));
  report.totals.add({.cost_nano = sum_max});
  EXPECT_THAT(to_json(report), HasSubstr(R"("complete":false,"saturated":true,"buckets")"));
  EXPECT_THAT(to_json(report), HasSubstr(R"("cost_nano":9223372036854775807)"));
  EXPECT_EQ(to_json(RequestPage{}), R"({"requests":[],"next_cursor":null})");
  EXPECT_THAT(to_json(RequestPage{.requests = {RequestRecord{}}, .next_cursor = "abc"}),
              HasSubstr(R"(}],"next_cursor":"abc"})"));
}

}  // namespace
}  // namespace citadel::usage
