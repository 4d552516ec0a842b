#include "usage/months.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/time_text.hpp"

namespace citadel::usage {
namespace {

using testing::ElementsAre;

Uuid floor_at(std::string_view time) {
  return id_floor(*parse_time(time));
}
Uuid id_at(std::string_view time) {
  return make_uuid7(std::chrono::floor<std::chrono::milliseconds>(*parse_time(time)), 0xFFF, ~0ULL);
}

TEST(Months, HoldAnIdBetweenTheirBounds) {
  for (const auto& [id, from, below] :
       {std::tuple("2026-11-25T12:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        std::tuple("2026-12-31T23:59:59.999Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        std::tuple("2024-02-29T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        std::tuple("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z")}) {
    EXPECT_EQ(month_floor(id_at(id)), floor_at(from)) << id;
    EXPECT_EQ(next_month_floor(id_at(id)), floor_at(below)) << id;
  }
  EXPECT_EQ(next_month_floor(id_at("9999-12-31T23:59:59Z")), id_floor(usage_time_end));
  EXPECT_EQ(id_floor(WallTime(std::chrono::hours(-1))), id_floor(usage_time_min));
}

TEST(Months, StandInTheTextAsLiterals) {
  EXPECT_EQ(bounds_sql("r.id", {floor_at("1970-01-01T00:00:01Z"), {}}),
            " and r.id >= '00000000-03e8-0000-0000-000000000000'");
  EXPECT_EQ(
      bounds_sql("id", {floor_at("1970-01-01T00:00:00Z"), floor_at("1970-01-01T00:00:01Z")}),
      " and id >= '00000000-0000-0000-0000-000000000000' and id < '00000000-03e8-0000-0000-000000000000'");
}

TEST(Months, AreReadBackwardsInGrowingSteps) {
  const Uuid below = floor_at("2026-11-01T00:00:00Z");
  // In any order; days of one month count once; what lies at or above `below` was read.
  EXPECT_THAT(ranges_below(below, {floor_at("2023-11-16T00:00:00Z"), floor_at("2026-12-01T00:00:00Z"),
                                   floor_at("2026-10-02T00:00:00Z"), floor_at("2026-11-01T00:00:00Z"),
                                   floor_at("2023-11-17T00:00:00Z"), floor_at("2026-08-01T00:00:00Z")}),
              ElementsAre(IdRange{floor_at("2026-10-01T00:00:00Z"), below},
                          IdRange{floor_at("2023-11-01T00:00:00Z"), floor_at("2026-10-01T00:00:00Z")}));
  EXPECT_TRUE(ranges_below(below, {}).empty());
  std::vector<Uuid> many;
  for (int month = 0; month < 50; ++month) {
    const auto at = std::chrono::year(2000) / 1 / 1 + std::chrono::months(month);
    many.push_back(id_floor(WallTime(std::chrono::sys_days(at))));
  }
  const auto ranges = ranges_below(below, many);
  std::vector<long> months;
  Uuid end = below;
  for (const IdRange& range : ranges) {
    EXPECT_EQ(range.below, end);
    end = range.from;
    months.push_back(std::ranges::count_if(
        many, [&](const Uuid& floor) { return floor >= range.from && floor < *range.below; }));
  }
  EXPECT_EQ(end, many.front());
  EXPECT_THAT(months, ElementsAre(1, 2, 4, 8, 12, 12, 11));
}

}  // namespace
}  // namespace citadel::usage
