#include "app/api_audit_query.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/audit_testing.hpp"
#include "base/bytes.hpp"
#include "crypto/sha256.hpp"

namespace citadel::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

http::Request with(std::vector<http::Parameter> query) {
  http::Request request;
  request.query_parameters = std::move(query);
  return request;
}

TEST(AuditQuery, NamesTheParameterThatIsWrong) {
  const auto error = [](std::string name, std::string value) {
    const auto filter = parse_search(with({{std::move(name), std::move(value)}}), 1'000);
    return filter ? std::string("accepted") : filter.error().message;
  };
  EXPECT_EQ(error("limit", "1000"), "accepted");
  EXPECT_EQ(error("limit", "1001"), "limit: must be an integer from 1 to 1000");
  EXPECT_THAT(error("limit", "-1"), HasSubstr("limit: "));
  EXPECT_EQ(error("outcome", "good"), "outcome: must be success, failure, denied or unknown");
  EXPECT_EQ(error("outcome", "denied"), "accepted");
  EXPECT_EQ(error("actor", ""), "actor: must have 1 to 1000 bytes");
  EXPECT_EQ(error("cursor", ""), "cursor: is empty; leave it out for the first page");
  EXPECT_THAT(error("from", "yesterday"), HasSubstr("from: must be a day like 2026-11-25 or"));
  EXPECT_THAT(error("colour", "red"), HasSubstr("'colour' is not known"));
}

// Nothing found would read like "it never happened".
TEST(AuditQuery, AnActionThatNobodyCanRecordIsRefusedWithTheNearest) {
  const auto error = [](std::string action) {
    const auto filter = parse_search(with({{"action", std::move(action)}}), 1'000);
    return filter ? *filter->action : filter.error().message;
  };
  EXPECT_EQ(error("auth.failure"), "auth.failure");
  EXPECT_EQ(error("audit.searched"), "audit.searched");
  EXPECT_EQ(error("x.billing.invoice_sent"), "x.billing.invoice_sent");
  EXPECT_THAT(error("auth.failur"), AllOf(StartsWith("action: "), HasSubstr("did you mean \"auth.failure\"?"),
                                          HasSubstr("begins with \"x.\"")));
  EXPECT_THAT(error("something.else.entirely"),
              AllOf(StartsWith("action: "), Not(HasSubstr("did you mean"))));
  EXPECT_THAT(error("x."), StartsWith("action: "));
}

TEST(AuditQuery, ASubjectIsSearchedForAndItsNameIsNotRecorded) {
  EXPECT_EQ(parse_search(with({{"subject", "customer-9"}}), 1'000)->subject, "customer-9");
  const auto recorded = [](std::string target) {
    http::Request request;
    request.target = std::move(target);
    return recorded_query(request);
  };
  const auto digest = to_hex(crypto::sha256(as_bytes(std::string_view("customer 9"))));
  EXPECT_EQ(recorded("/v1/audit/events"), "everything");
  EXPECT_EQ(recorded("/v1/audit/events?actor=ada&text=a%26b"), "actor=ada&text=a%26b");
  EXPECT_EQ(recorded("/v1/audit/events?actor=ada&subject=customer%209&limit=2"),
            "actor=ada&subject_sha256=" + digest + "&limit=2");
  EXPECT_EQ(recorded("/v1/audit/events?%73ubject=customer+9"), "subject_sha256=" + digest);
}

TEST(AuditQuery, AckIsOneOfThree) {
  EXPECT_EQ(*parse_ack(with({})), Ack::journal);
  EXPECT_EQ(*parse_ack(with({{"ack", "checkpoint"}})), Ack::checkpoint);
  EXPECT_EQ(parse_ack(with({{"ack", "disk"}})).error().message,
            "ack: must be journal, database or checkpoint");
}

TEST(AuditQuery, AnIndexIsStrict) {
  EXPECT_EQ(*parse_index("0", "index"), 0u);
  for (const auto text : {"", "-1", "01", "1.0", "99999999999999999999"})
    EXPECT_FALSE(parse_index(text, "index")) << text;
}

struct Keyed {
  std::string error;
  audit::Event event;
};

Keyed apply_key(std::string key, std::string_view body, audit::Event event = audit::minimal_event()) {
  http::Request request;
  request.headers.add("Idempotency-Key", key);
  std::vector<audit::Event> events{std::move(event)};
  const auto done = apply_idempotency_key(request, events, body, {});
  return {done ? "" : done.error().message, events.front()};
}

TEST(IdempotencyKey, AUuidIsTheId) {
  const auto id = audit::testing_id(77);
  const auto keyed = apply_key(id.to_string(), R"({"action":"x.y"})");
  EXPECT_EQ(keyed.error, "");
  EXPECT_EQ(keyed.event.id, id);
  EXPECT_EQ(keyed.event.time, WallTime(id.time())) << "a repeat has the same time";
}

TEST(IdempotencyKey, ItsTimeIsHeldAgainstTheLimits) {
  for (const auto off : {std::chrono::hours(-24 * 31), std::chrono::hours(1)}) {
    const auto id =
        make_uuid7(std::chrono::floor<std::chrono::milliseconds>(audit::testing_now + off), 0, 77);
    EXPECT_THAT(apply_key(id.to_string(), R"({"action":"x.y"})").error, HasSubstr("within the limits"));
  }
}

// The same request has the same id, and another one another.
TEST(IdempotencyKey, AnyTextMakesAnIdWithTheEventsTime) {
  const auto body = R"({"time":"2026-11-25T12:00:00Z"})";
  const auto one = apply_key("order 7", body), again = apply_key("order-7", body),
             third = apply_key("order-7", body);
  EXPECT_THAT(one.error, HasSubstr("printable ASCII"));
  EXPECT_EQ(again.event.id, third.event.id);
  EXPECT_TRUE(again.event.id.is_version7());
  EXPECT_NE(apply_key("order-8", body).event.id, again.event.id);
  auto other_tenant = audit::minimal_event();
  other_tenant.tenant = "acme";
  EXPECT_NE(apply_key("order-7", body, other_tenant).event.id, again.event.id);
}

TEST(IdempotencyKey, IsRefusedWhereItCannotHold) {
  EXPECT_THAT(apply_key("order-7", "{}").error, HasSubstr("UUID of version 7 where the event has no time"));
  const auto id = audit::testing_id(1).to_string();
  EXPECT_THAT(apply_key(id, R"({"id":"x"})", audit::minimal_event(2)).error, HasSubstr("contradicts"));
  http::Request request;
  request.headers.add("Idempotency-Key", id);
  std::vector<audit::Event> two(2, audit::minimal_event());
  EXPECT_THAT(apply_idempotency_key(request, two, "[]", {}).error().message,
              HasSubstr("a body of one event"));
}

}  // namespace
}  // namespace citadel::app
