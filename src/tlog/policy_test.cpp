#include "tlog/policy.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace citadel::tlog {
namespace {

std::string key_of(std::string_view name, KeyType type = KeyType::cosignature_v1) {
  return NoteSigner::generate(name, type)->verifier().encode();
}

// Witnesses w1 to wN, one a line.
std::string witnesses(int count) {
  std::string text;
  for (int i = 1; i <= count; ++i)
    text +=
        fmt::format("witness w{0} {1} http://127.0.0.1:84{0}0\n", i, key_of(fmt::format("example/w{}", i)));
  return text;
}

std::string fault(const std::string& text) {
  const auto policy = WitnessPolicy::parse(text);
  return policy ? "" : policy.error().message;
}

TEST(WitnessPolicy, ReadsWitnessesTheirPlacesAndTheLog) {
  const auto policy =
      WitnessPolicy::parse("# a comment\n\n\t log " + key_of("example/log", KeyType::ed25519) +
                           " http://log\n" + witnesses(2) + "  quorum\tw2 \n")
          .value();
  ASSERT_EQ(policy.witnesses().size(), 2u);
  EXPECT_EQ(policy.witnesses()[1].name, "w2");
  EXPECT_EQ(policy.witnesses()[1].key.name(), "example/w2");
  EXPECT_EQ(policy.witnesses()[1].url, "http://127.0.0.1:8420");
  EXPECT_EQ(policy.logs().front().name(), "example/log");
  EXPECT_EQ(policy.quorum(), "w2");
  EXPECT_FALSE(policy.quorum_met({true, false}));
  EXPECT_TRUE(policy.quorum_met({false, true}));
}

TEST(WitnessPolicy, NoneAsksForNothing) {
  EXPECT_TRUE(WitnessPolicy::parse("quorum none\n")->quorum_met({}));
  EXPECT_TRUE(WitnessPolicy::parse(witnesses(1) + "quorum none\n")->quorum_met({false}));
}

TEST(WitnessPolicy, GroupsOfGroupsAreMetByTheirThresholds) {
  const auto policy = WitnessPolicy::parse(witnesses(5) +
                                           "group x 2 w1 w2 w3\ngroup y any w4 w5\ngroup both all x y\n"
                                           "quorum both\n")
                          .value();
  for (unsigned bits = 0; bits < 32; ++bits) {
    std::vector<bool> cosigned;
    for (unsigned i = 0; i < 5; ++i) cosigned.push_back((bits >> i & 1) != 0);
    const bool expected = cosigned[0] + cosigned[1] + cosigned[2] >= 2 && (cosigned[3] || cosigned[4]);
    EXPECT_EQ(policy.quorum_met(cosigned), expected) << bits;
  }
}

TEST(WitnessPolicy, SaysWhichLineIsWrong) {
  const std::string two = witnesses(2);
  EXPECT_EQ(fault(""), "there is no line `quorum NAME`, or `quorum none`");
  EXPECT_EQ(fault("quorum none"), "line 1: it does not end with a newline");
  EXPECT_EQ(fault("quorum none\nquorum none\n"), "line 2: a second quorum");
  EXPECT_EQ(fault("quorum \x01\n"), "line 1: a control character");
  EXPECT_EQ(fault("colour red\n"), "line 1: 'colour' is not one of log, witness, group, quorum");
  EXPECT_EQ(fault("quorum w1\n"), "line 1: no witness and no group 'w1' stands above");
  EXPECT_EQ(fault(two + "group w1 1 w2\n"), "line 3: 'w1' is there already");
  EXPECT_EQ(fault(two + "group none 1 w2\n"), "line 3: 'none' is no name that can be given");
  EXPECT_EQ(fault(two + "group g 3 w1 w2\n"), "line 3: '3' is not all, any, or a number from 1 to 2");
  EXPECT_EQ(fault(two + "group g 0 w1\n"), "line 3: '0' is not all, any, or a number from 1 to 1");
  EXPECT_EQ(fault(two + "group g 2 w1 w1\n"), "line 3: 'w1' is a member of a group already");
  EXPECT_EQ(fault(two + "group g any g\n"), "line 3: no witness and no group 'g' stands above");
  EXPECT_EQ(fault("group g any\n"), "line 1: a group is `group NAME all|any|K MEMBER…`");
  EXPECT_EQ(fault("witness w1\n"), "line 1: a witness is `witness NAME VKEY [URL]`");
  const auto same = key_of("example/w1");
  EXPECT_EQ(fault(fmt::format("witness a {0}\nwitness b {0}\n", same)),
            "line 2: the key of b is another witness's too");
  EXPECT_EQ(fault(fmt::format("witness a {}\n", key_of("example/log", KeyType::ed25519))),
            "line 1: the key of a is not for cosignatures");
  EXPECT_EQ(fault(fmt::format("log {}\n", same)), "line 1: the key of example/w1 is not a log's");
  EXPECT_EQ(fault(witnesses(33) + "quorum none\n"), "line 33: more than 32 witnesses");
}

}  // namespace
}  // namespace citadel::tlog
