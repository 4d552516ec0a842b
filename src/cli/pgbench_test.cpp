#include "cli/pgbench.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

// As pgbench 15 prints it.
std::string summary_of(std::string_view what_it_measured) {
  return fmt::format(
      "pgbench (15.20 (Debian 15.20-0+deb12u1))\n"
      "transaction type: <builtin: select only>\n"
      "scaling factor: 10\n"
      "query mode: prepared\n"
      "number of clients: 100\n"
      "number of threads: 2\n"
      "maximum number of tries: 1\n"
      "duration: 5 s\n{}",
      what_it_measured);
}
const std::string measured = summary_of(
    "number of transactions actually processed: 24570\n"
    "number of failed transactions: 0 (0.000%)\n"
    "latency average = 18.322 ms\n"
    "initial connection time = 498.731 ms\n"
    "tps = 5457.981532 (without initial connection time)\n");
// Its time was over with the logins.
const std::string nothing = summary_of(
    "number of transactions actually processed: 0\n"
    "number of failed transactions: 0 (NaN%)\n");

const PgbenchRun wanted{.script = "<builtin: select only>", .clients = 100};

// Answers the runs one after the other, the last for ever.
struct Runs {
  std::vector<std::string> answers;
  std::vector<std::chrono::seconds> times = {};
  RunPgbench run() {
    return [this](std::chrono::seconds time) -> Result<std::string> {
      times.push_back(time);
      return answers[std::min(times.size(), answers.size()) - 1];
    };
  }
};

std::string replaced(std::string_view from, std::string_view to) {
  std::string out = measured;
  return out.replace(out.find(from), from.size(), to);
}

TEST(Pgbench, ItsThroughputIsThatWithoutItsLogins) {
  Runs runs{{measured}};
  const auto found = pgbench_throughput(wanted, 1s, runs.run());
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_DOUBLE_EQ(*found, 5457.981532);
  EXPECT_THAT(runs.times, ElementsAre(5s));
  Runs longer{{measured}};
  EXPECT_TRUE(pgbench_throughput(wanted, 100s, longer.run()));
  EXPECT_THAT(longer.times, ElementsAre(100s));
}

TEST(Pgbench, WhereItsLoginsTakeItsTimeItIsGivenTwiceAsMuch) {
  Runs runs{{nothing, nothing, measured}};
  EXPECT_TRUE(pgbench_throughput(wanted, 1s, runs.run()));
  EXPECT_THAT(runs.times, ElementsAre(5s, 10s, 20s));
  Runs never{{nothing}};
  const auto failed = pgbench_throughput(wanted, 7s, never.run());
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::unavailable);
  EXPECT_THAT(never.times, ElementsAre(7s, 14s, 28s, 56s));
}

TEST(Pgbench, AYardstickForSomethingElseIsRefused) {
  for (const auto& [from, to] : {std::pair("clients: 100", "clients: 10"),
                                 {"clients: 100", "clients: 1000"},
                                 {"mode: prepared", "mode: simple"},
                                 {"select only", "TPC-B (sort of)"},
                                 {"failed transactions: 0", "failed transactions: 7"}}) {
    Runs runs{{replaced(from, to)}};
    const auto refused = pgbench_throughput(wanted, 1s, runs.run());
    ASSERT_FALSE(refused) << to;
    EXPECT_EQ(refused.error().code, Code::internal);
    EXPECT_THAT(refused.error().message, HasSubstr("pgbench does not say"));
  }
  const auto failed = pgbench_throughput(wanted, 1s, [](std::chrono::seconds) -> Result<std::string> {
    return fail(Code::not_found, "no pgbench");
  });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::not_found);
}

}  // namespace
}  // namespace citadel::cli
