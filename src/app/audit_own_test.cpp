#include "app/audit_own.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/catalogue.hpp"

namespace citadel::app {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const WallTime now = WallTime(std::chrono::sys_days{std::chrono::year{2026} / 11 / 25});

TEST(OwnEvent, IsAlwaysAnEventThatMayBeKept) {
  SeededRandom random(1);
  const OwnEvent own{.action = "audit.read",
                     .object = {.type = "", .id = std::string(3'000, 'x')},
                     .reason = "two\nlines\xff",
                     .actor = {.type = "key", .id = "", .address = "\x01"}};
  const auto event = make_event(own, now, random);
  const auto checked = audit::check_event(event, {});
  EXPECT_TRUE(checked) << checked.error().message;
  EXPECT_EQ(event.object.type, "unknown");
  EXPECT_EQ(event.actor.id, "unknown");
}

TEST(OwnEvent, AnActorIsNamedByWhatItShowed) {
  EXPECT_EQ(actor_type(""), "unknown");
  EXPECT_EQ(actor_type("admin"), "key");
  EXPECT_EQ(actor_type("acme/alice"), "principal");
  EXPECT_EQ(auth_method(""), "api_key");
  EXPECT_EQ(auth_method("Abcdef12"), "api_key:Abcdef12");
}

TEST(OwnEvent, ARequestSaysWhoAskedAlsoWhereTheKeyHasEnded) {
  http::RequestSummary summary{http::Method::get, "/v1/usage", 200, 0, 0, {}};
  summary.path = "/v1/usage";
  summary.remote = "10.0.0.1";
  summary.principal = "acme/alice";
  summary.key = "Abcdef12";
  summary.tenant = "acme";
  const auto said = [&] {
    const auto event = request_event(summary);
    return event ? fmt::format("{} {} {} {} {}", event->action, event->tenant, event->actor.id,
                               event->actor.auth_method, event->outcome == audit::Outcome::denied)
                 : "nothing";
  };
  EXPECT_EQ(said(), "auth.success acme acme/alice api_key:Abcdef12 false");
  summary.status = 403;
  EXPECT_EQ(said(), "key.denied acme acme/alice api_key:Abcdef12 true");
  summary.status = 401;
  EXPECT_EQ(said(), "auth.failure acme acme/alice api_key:Abcdef12 true");
  summary.principal = summary.key = summary.tenant = "";
  EXPECT_EQ(said(), "auth.failure default unknown api_key true");
  summary.status = 200;
  EXPECT_EQ(said(), "nothing");
}

TEST(OwnEvent, StartAndGapAreReadByTheVerifier) {
  SeededRandom random(1);
  const Uuid producer{{1, 2, 3}};
  const auto started = make_event(started_event({producer, 3, 20}, "0.1.0"), now, random);
  EXPECT_EQ(audit::parse_journal_position(started.object.id), (audit::JournalPosition{producer, 3, 20}));
  const auto gap = make_event(gap_event({producer, 3, 17, 20}, "damage"), now, random);
  EXPECT_EQ(audit::parse_journal_range(gap.object.id), (audit::JournalRange{producer, 3, 17, 20}));
  EXPECT_THAT(gap.reason, HasSubstr("4 acknowledged events were lost"));
  for (const auto& event : {started, gap}) EXPECT_TRUE(audit::find_action(event.action)) << event.action;
}

TEST(ConfigChange, NamesKeysAndValuesAndOfASecretItsFile) {
  Config before, after;
  EXPECT_FALSE(config_change(before, after));
  after.log.level = log::Level::debug;
  after.database.password_file = {"/etc/password", Secret("hunter2")};
  after.pool.size_max = 7;  // not reloadable
  const auto changed = config_change(before, after);
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->reason, "database.password_file log.level");
  EXPECT_THAT(changed->details, HasSubstr(R"("before":"info","after":"debug")"));
  EXPECT_THAT(changed->details, HasSubstr("/etc/password"));
  EXPECT_THAT(changed->details, testing::Not(HasSubstr("hunter2")));
}

TEST(AuthPolicy, RecordsFailuresUpToItsRateAndCountsTheRest) {
  AuthPolicy policy(1h);
  const MonotonicTime start(1h);
  for (std::size_t i = 0; i < AuthPolicy::failures_per_second; ++i) EXPECT_TRUE(policy.record_failure(start));
  EXPECT_FALSE(policy.record_failure(start + 999ms));
  EXPECT_FALSE(policy.record_failure(start + 999ms));
  EXPECT_EQ(policy.take_uncounted(), 2u);
  EXPECT_EQ(policy.take_uncounted(), 0u);
  EXPECT_TRUE(policy.record_failure(start + 1s));
}

TEST(AuthPolicy, RecordsASuccessOnceForKeyAndAddressInItsTime) {
  AuthPolicy policy(1h);
  const MonotonicTime start(10h);
  EXPECT_TRUE(policy.record_success("admin", "10.0.0.1", start));
  EXPECT_FALSE(policy.record_success("admin", "10.0.0.1", start + 59min));
  EXPECT_TRUE(policy.record_success("admin", "10.0.0.2", start + 59min));
  EXPECT_TRUE(policy.record_success("admin", "10.0.0.1", start + 60min));
  AuthPolicy each(0s);
  EXPECT_TRUE(each.record_success("admin", "a", start));
  EXPECT_TRUE(each.record_success("admin", "a", start));
}

// Many addresses do not take memory without a bound.
TEST(AuthPolicy, RemembersABoundedNumber) {
  AuthPolicy policy(1h);
  const MonotonicTime start(10h);
  for (std::size_t i = 0; i < AuthPolicy::remembered_max + 5; ++i) {
    EXPECT_TRUE(policy.record_success("admin", std::to_string(i), start));
  }
  EXPECT_TRUE(policy.record_success("admin", "0", start)) << "was forgotten, and is recorded once more";
}

}  // namespace
}  // namespace citadel::app
