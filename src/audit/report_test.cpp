#include "audit/report.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "json/parse.hpp"

namespace citadel::audit {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

constexpr WallTime day{std::chrono::sys_days{std::chrono::year{2026} / 11 / 1}};

class ReportTest : public testing::Test {
 protected:
  void begin(std::string_view profile, std::size_t groups_max = 500) {
    builder_.emplace(ReportOptions{.profile = find_profile(profile).value(),
                                   .from = day,
                                   .to = day + 24h,
                                   .seed = 7,
                                   .sample = 3,
                                   .groups_max = groups_max});
  }
  // The n-th entry is of n seconds after midnight.
  void add(std::string_view action, std::string_view actor = "ada", Outcome outcome = Outcome::success) {
    Event event;
    event.action = action;
    event.actor = {.type = "user", .id = std::string(actor), .auth_method = "api_key", .address = "10.0.0.1"};
    event.object = {.type = "thing", .id = "one"};
    event.outcome = outcome;
    add(event, day + std::chrono::seconds(next_));
  }
  static Leaf leaf_of(ActionClass action_class, WallTime time) {
    Leaf leaf;
    leaf.action_class = action_class;
    leaf.time = time;
    return leaf;
  }
  void add(Event event, WallTime time) {
    event.received_at = time;
    builder_->add(next_++, leaf_of(find_action(event.action)->action_class, time), &event);
  }
  Report finish() {
    ReportVerification verified;
    verified.passed = true;
    verified.entries = next_;
    return builder_->finish(verified, "example.com/log", day + 48h);
  }
  static const ReportTopic& topic(const Report& report, Topic wanted) {
    return *std::ranges::find(report.topics, wanted, &ReportTopic::topic);
  }
  static bool says(const ReportTopic& topic, std::string_view text) {
    return std::ranges::any_of(topic.statements, [&](const auto& s) { return s.contains(text); });
  }

  std::optional<ReportBuilder> builder_;
  std::uint64_t next_ = 0;
};

TEST_F(ReportTest, EachKindIsCountedGroupedAndCited) {
  begin("soc2");
  add("auth.success");                          // 0
  add("auth.failure", "eve", Outcome::denied);  // 1
  add("auth.failure", "eve", Outcome::denied);  // 2
  add("role.grant", "root");                    // 3
  add("model_version.promote");                 // 4
  add("audit.exported", "auditor");             // 5
  add("inference.complete");                    // 6
  const auto report = finish();
  EXPECT_EQ(report.in_span, 7u);
  const auto& failed = topic(report, Topic::failed_logins);
  ASSERT_EQ(failed.groups.size(), 1u);
  EXPECT_EQ(failed.groups[0].key, (std::vector<std::string>{"10.0.0.1", "user eve", "auth.failure"}));
  EXPECT_EQ(failed.groups[0].cited, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_TRUE(says(failed, "2 entries of this time record a failed authentication"));
  EXPECT_EQ(topic(report, Topic::privileged).listed, (std::vector<std::uint64_t>{3}));
  EXPECT_EQ(topic(report, Topic::configuration).listed, (std::vector<std::uint64_t>{4}));
  EXPECT_EQ(topic(report, Topic::readers).listed, (std::vector<std::uint64_t>{5}));
  EXPECT_EQ(topic(report, Topic::access).listed, (std::vector<std::uint64_t>{0}));
  EXPECT_EQ(topic(report, Topic::population).count, 7u);
  EXPECT_EQ(topic(report, Topic::population).listed.size(), 3u);
  for (const auto& one : report.topics) {
    for (const auto index : one.listed) EXPECT_TRUE(report.cited.contains(index));
    for (const auto& group : one.groups)
      for (const auto index : group.cited) EXPECT_TRUE(report.cited.contains(index));
  }
}

TEST_F(ReportTest, ASilenceIsNotEvidence) {
  begin("pci");
  add("inference.complete");
  const auto report = finish();
  EXPECT_TRUE(says(topic(report, Topic::failed_logins), "not evidence that nothing happened"));
  EXPECT_EQ(topic(report, Topic::failed_logins).count, 0u);
}

TEST_F(ReportTest, OnlyTheTimeSpanCountsAndItsEndIsOutside) {
  begin("soc2");
  Event event;
  event.action = "model.create";
  for (const auto time : {day - 1us, day, day + 24h - 1us, day + 24h}) add(event, time);
  const auto report = finish();
  EXPECT_EQ(report.examined, 4u);
  EXPECT_EQ(topic(report, Topic::configuration).listed, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(report.oldest_content, day - 1us);
}

TEST_F(ReportTest, ErasedContentIsCountedAndNothingIsClaimedOfIt) {
  begin("gdpr");
  builder_->add(next_++, leaf_of(ActionClass::change, day), nullptr);
  const auto report = finish();
  EXPECT_TRUE(says(topic(report, Topic::population), "Of 1 entries the content is not there"));
  EXPECT_EQ(topic(report, Topic::configuration).count, 0u);
  EXPECT_THAT(report_html(report), HasSubstr("the content is gone"));
}

TEST_F(ReportTest, AStartWithoutAStopIsNamed) {
  begin("soc2");
  for (const auto* action : {"audit.started", "audit.stopped", "audit.started", "audit.started"}) add(action);
  EXPECT_TRUE(says(topic(finish(), Topic::outages),
                   "Daemons started 3 times; 1 of these starts had no recorded stop before them."));
}

TEST_F(ReportTest, ALogYoungerThanTheFloorIsSaidToBe) {
  begin("hipaa");
  add("model.create");
  const auto report = finish();
  EXPECT_TRUE(says(topic(report, Topic::retention), "less than the 2192 days that the profile asks for"));
  EXPECT_TRUE(says(topic(report, Topic::retention), "that the profile asks for: the log is younger."));
  EXPECT_TRUE(says(topic(report, Topic::retention), "content of the log's first entry, index 0, is there"));
}

// A sender may claim any time that audit.past_max allows.
TEST_F(ReportTest, AnEventThatClaimsToBeOldDoesNotMakeTheLogOlder) {
  begin("hipaa");
  Event event;
  event.action = "model.create";
  event.received_at = day;
  builder_->add(next_++, leaf_of(ActionClass::change, day - std::chrono::days(3'000)), &event);
  EXPECT_TRUE(says(topic(finish(), Topic::retention), "2 days before this report"));
}

TEST_F(ReportTest, LeavesWithoutContentDoNotMakeTheLogOlder) {
  begin("hipaa");
  for (int i = 0; i < 2; ++i)
    builder_->add(next_++, leaf_of(ActionClass::change, day - std::chrono::days(3'000)), nullptr);
  add("model.create");
  const auto retained = topic(finish(), Topic::retention);
  EXPECT_TRUE(says(retained, "1 days before this report"));
  EXPECT_TRUE(says(retained, "less than the 2192 days that the profile asks for."));
  EXPECT_TRUE(says(retained, "Of the first 2 entries the leaves alone are there."));
}

TEST_F(ReportTest, AContentThatNothingExplainsIsSaidToBe) {
  const auto verified_with = [&](std::uint64_t erasures_unread) {
    begin("soc2");
    next_ = 0;
    add("model.create");
    ReportVerification found;
    found.passed = true;
    found.envelopes_missing = 7;
    found.contents = {.erased = 0,
                      .pruned = 4,
                      .missing = 3,
                      .month = parse_content_month("short/2026-10").value(),
                      .first = 17,
                      .last = 19,
                      .erasures_unread = erasures_unread};
    return builder_->finish(found, "example.com/log", day + 48h);
  };
  const auto report = verified_with(0);
  const auto& checked = topic(report, Topic::verification);
  EXPECT_TRUE(says(checked, "4 of these were dropped when due"));
  EXPECT_TRUE(says(checked, "Of 3 of these, in short/2026-10 from entry 17 to 19, nothing in this log says"));
  EXPECT_THAT(report_html(report), HasSubstr("of 7 it is not there"));
  EXPECT_THAT(report_json(report), HasSubstr(R"("contents_not_there":7,"contents_dropped":4)"));
  // What erasures took cannot be told from it while they are closed.
  const auto sealed = verified_with(1);
  const auto& unread = topic(sealed, Topic::verification);
  EXPECT_FALSE(says(unread, "nothing in this log says why"));
  EXPECT_THAT(unread.limits, testing::Contains(HasSubstr("content of 3 entries was erased or taken away")));
}

TEST_F(ReportTest, MemoryIsBounded) {
  begin("soc2", 10);
  for (int i = 0; i < 5'000; ++i) add("auth.failure", fmt::format("eve{}", i), Outcome::denied);
  const auto report = finish();
  const auto& failed = topic(report, Topic::failed_logins);
  EXPECT_EQ(failed.count, 5'000u);
  EXPECT_EQ(failed.groups.size(), 10u);
  EXPECT_EQ(failed.ungrouped, 4'990u);
  EXPECT_EQ(failed.listed.size(), 200u);
  EXPECT_LE(report.cited.size(), 220u);
}

TEST_F(ReportTest, TheSampleFollowsFromTheSeed) {
  const auto sampled = [&] {
    next_ = 0;
    begin("soc2");
    for (int i = 0; i < 1'000; ++i) add("inference.complete");
    return topic(finish(), Topic::population).listed;
  };
  const auto first = sampled();
  EXPECT_EQ(first, sampled());
  EXPECT_EQ(first.size(), 3u);
  EXPECT_GT(first.back(), 3u);
}

TEST_F(ReportTest, WhatPeopleWroteIsEscaped) {
  begin("soc2");
  add("auth.success", "<script>alert(1)</script>\"&");
  const auto report = finish();
  const auto html = report_html(report);
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;"));
  const auto json = json::parse(report_json(report), {.depth_max = 16, .size_bytes_max = 1 << 24});
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->at("entries").as_array().size(), report.cited.size());
}

TEST_F(ReportTest, ALogThatDoesNotVerifySaysSoFirst) {
  begin("soc2");
  add("auth.success");
  ReportVerification faulty;
  faulty.finding = "entry 0: is missing";
  const auto report = builder_->finish(faulty, "o", day + 48h);
  const auto html = report_html(report);
  EXPECT_THAT(html, HasSubstr("verdict bad"));
  EXPECT_THAT(html, Not(HasSubstr("The log verified")));
  EXPECT_TRUE(says(topic(report, Topic::verification), "did NOT verify"));
}

TEST(ReportProfiles, AllHaveTheSectionsThatAnAuditorAsksFor) {
  for (const auto& profile : report_profiles()) {
    for (const auto topic : {Topic::population, Topic::privileged, Topic::failed_logins, Topic::configuration,
                             Topic::readers, Topic::retention, Topic::outages, Topic::verification}) {
      EXPECT_NE(std::ranges::find(profile.topics, topic, &ProfileTopic::topic), profile.topics.end())
          << profile.name;
    }
  }
  EXPECT_EQ(find_profile("sox").error().message,
            "--profile: 'sox' is not one of soc2, eu-ai-act, hipaa, pci, gdpr");
}

}  // namespace
}  // namespace citadel::audit
