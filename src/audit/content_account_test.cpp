#include "audit/content_account.hpp"

#include <gtest/gtest.h>

namespace citadel::audit {
namespace {

const ContentMonth june = *parse_content_month("short/2026-06");
const ContentMonth july = *parse_content_month("short/2026-07");
const ContentMonth kept = *parse_content_month("extended/2026-06");

std::string erasure(std::string_view entries) {
  return R"({"erasure":"x","entries":[)" + std::string(entries) + "]}";
}

TEST(ContentAccount, WhatAnErasureNamesIsErased) {
  ContentAccount account;
  for (const std::uint64_t index : {3u, 4u, 5u, 9u}) account.missing(index, june);
  account.missing(7, kept);
  ASSERT_TRUE(account.erased(20, erasure(R"([1,"2026-06","3-5 9"],[3,"2026-06","7"])")));
  EXPECT_EQ(account.sums().erased, 5u);
  EXPECT_EQ(account.sums().missing, 0u);
}

TEST(ContentAccount, WhatNobodyNamesIsMissing) {
  ContentAccount account;
  for (const std::uint64_t index : {3u, 4u, 6u}) account.missing(index, june);
  ASSERT_TRUE(account.erased(20, erasure(R"([1,"2026-06","3-4"])")));
  const auto sums = account.sums();
  EXPECT_EQ(sums.erased, 2u);
  EXPECT_EQ(sums.missing, 1u);
  EXPECT_EQ(sums.month, june);
  EXPECT_EQ(sums.first, 3u);
  EXPECT_EQ(sums.last, 6u);
}

TEST(ContentAccount, OneForAnotherDoesNotPass) {
  ContentAccount account;
  account.missing(3, june);
  account.missing(6, june);
  ASSERT_TRUE(account.erased(20, erasure(R"([1,"2026-06","4-5"])")));
  EXPECT_GT(account.sums().missing, 0u);
}

TEST(ContentAccount, ARunExplainsItsMonthAndNoOther) {
  ContentAccount account;
  account.missing(1, june);
  account.missing(2, july);
  account.missing(3, kept);
  account.pruned(july);
  EXPECT_EQ(account.sums().pruned, 1u);
  EXPECT_EQ(account.sums().missing, 2u);
  EXPECT_EQ(account.sums().month, june);
  account.pruned(june);
  EXPECT_EQ(account.sums().pruned, 2u);
  EXPECT_EQ(account.sums().missing, 1u);
  EXPECT_EQ(account.sums().month, kept);
}

TEST(ContentAccount, AMonthThatAHoldKeptIsMissingUntilARunNamesIt) {
  ContentAccount account;
  account.missing(1, june);
  account.missing(2, july);
  account.held(june);
  account.pruned(july);
  account.pruned(kept);
  EXPECT_EQ(account.sums().pruned, 1u);
  EXPECT_EQ(account.sums().month, june);
  account.pruned(june);
  EXPECT_EQ(account.sums().pruned, 2u);
  EXPECT_EQ(account.sums().missing, 0u);
}

TEST(ContentAccount, WhatCameAfterTheRunIsNotExplainedByIt) {
  ContentAccount account;
  account.missing(1, june);
  account.missing(2, june);
  ASSERT_TRUE(account.erased(5, erasure(R"([1,"2026-06","2"])")));
  account.pruned(june);
  account.missing(9, june);
  const auto sums = account.sums();
  EXPECT_EQ(sums.erased, 1u);
  EXPECT_EQ(sums.pruned, 1u);
  EXPECT_EQ(sums.missing, 1u);
  EXPECT_EQ(sums.first, 9u);
}

TEST(ContentAccount, WhereTheEntriesOfRunsHaveGoneWhatIsOlderCountsAsDropped) {
  ContentAccount account;
  account.missing(1, june);
  account.missing(2, july);
  account.pruned(kept);  // of the class that runs are of, of June
  EXPECT_EQ(account.sums().pruned, 1u);
  EXPECT_EQ(account.sums().missing, 1u);
  EXPECT_EQ(account.sums().month, july);
}

TEST(ContentAccount, AnErasureThatCannotBeIsRefused) {
  for (const auto* entries : {R"([1,"2026-06","5-3"])", R"([1,"2026-06","3-20"])", R"([1,"2026-06","x"])",
                              R"([4,"2026-06","3"])", R"([1,"2026-13","3"])", R"([1,"2026-06"])", "7"}) {
    ContentAccount account;
    EXPECT_FALSE(account.erased(20, erasure(entries))) << entries;
  }
  ContentAccount account;
  EXPECT_TRUE(account.erased(20, "{}"));
  EXPECT_EQ(account.sums().erasures_unread, 1u);
  EXPECT_FALSE(account.erased(20, "no JSON"));
}

}  // namespace
}  // namespace citadel::audit
