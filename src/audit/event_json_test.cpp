#include "audit/event_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/audit_testing.hpp"

namespace citadel::audit {
namespace {

using namespace std::chrono_literals;
using json::BodyForm;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view one =
    R"({"actor":{"type":"user","id":"ada"},"action":"model.create","object":{"type":"model","id":"fraud"}})";

Result<std::vector<Event>> parse(std::string_view body, BodyForm form = BodyForm::json,
                                 const EventLimits& limits = {}) {
  SeededRandom random(7);
  return parse_events(body, form, limits, testing_now, random);
}
std::string error_of(std::string_view body, BodyForm form = BodyForm::json, const EventLimits& limits = {}) {
  const auto events = parse(body, form, limits);
  if (events) return "accepted";
  EXPECT_EQ(events.error().code, Code::invalid_argument);
  return events.error().message;
}
// The error of a good event with one more field.
std::string error_with(std::string_view field) {
  return error_of(std::string(one.substr(0, one.size() - 1)) + "," + std::string(field) + "}");
}
std::string json_of(const Event& event) {
  json::Writer out;
  write_event(out, event);
  return out.take();
}
// received_at is ours to say, so that what is shown is not a field of the way in.
std::string sent(const Event& event) {
  std::string text = json_of(event);
  const auto begin = text.find(",\"received_at\""), end = text.find(",\"tenant\"");
  return text.erase(begin, end - begin);
}

TEST(EventJson, FillsInWhatIsAbsent) {
  const auto events = parse(one);
  ASSERT_TRUE(events.has_value()) << events.error().message;
  const Event& event = events->front();
  EXPECT_TRUE(event.id.is_version7());
  EXPECT_EQ(event.time, testing_now);
  EXPECT_EQ(event.received_at, testing_now);
  EXPECT_EQ(event.tenant, "default");
  EXPECT_EQ(event.outcome, Outcome::unknown);
  EXPECT_EQ(event.actor.address, "");
  for (const auto& group : event.groups) EXPECT_EQ(group, "");
}

// So that a repeat says the same.
TEST(EventJson, AnIdWithoutATimeGivesTheTime) {
  std::string text(one);
  const auto id = testing_id(9);
  text.insert(text.find('{') + 1, "\"id\":\"" + id.to_string() + "\",");
  const auto events = parse(text);
  ASSERT_TRUE(events.has_value()) << events.error().message;
  EXPECT_EQ(events->front().time, WallTime(id.time()));
}

TEST(EventJson, ReadsWhatItWrites) {
  for (const Event& event : {minimal_event(), full_event()}) {
    const auto again = parse(sent(event));
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(again->front(), event);
  }
}

TEST(EventJson, IsWrittenInOneOrder) {
  EXPECT_EQ(
      json_of(full_event()),
      R"({"id":")" + full_event().id.to_string() +
          R"(","time":"2026-11-25T11:59:58.750000Z","received_at":"2026-11-25T12:00:00.250000Z",)"
          R"("tenant":"acme","actor":{"type":"user","id":"ada","auth_method":"mtls","address":"2001:db8::7",)"
          R"("on_behalf_of":"bob"},"action":"inference.complete","object":{"type":"model_version","id":"fraud/7"},)"
          R"("outcome":"success","reason":"asked \"why\" by é","trace_id":"0af7651916cd43dd8448eb211c80319c",)"
          R"("request_id":"req-1","subject":"customer-9","prompt":[{"role":"user","content":"hi"}],)"
          R"("response":{"text":"ho"},"tool":17,"details":"plain"})");
}

TEST(EventJson, AGroupIsKeptAsItsValueIsSerialised) {
  const auto events =
      parse(std::string(one.substr(0, one.size() - 1)) +
            R"(, "details": { "b" : 1.50, "a" : [ true, null, "\u00e9\n" ] }, "tool": null })");
  ASSERT_TRUE(events.has_value()) << events.error().message;
  EXPECT_EQ(events->front().group(Group::details), R"({"b":1.5,"a":[true,null,"é\n"]})");
  EXPECT_EQ(events->front().group(Group::tool), "");
}

TEST(EventJson, TheIdsTimeIsTheEvents) {
  const auto events =
      parse(std::string(one.substr(0, one.size() - 1)) + R"(,"time":"2026-11-24T12:00:00+02:00"})");
  EXPECT_EQ(format_time(events->front().time), "2026-11-24T10:00:00Z");
  EXPECT_EQ(format_time(events->front().id.time()), "2026-11-24T10:00:00Z");
}

TEST(EventJson, TakesArraysAndLines) {
  const std::string two = std::string(one) + "\n\n" + std::string(one) + "\r\n";
  EXPECT_EQ(parse(two, BodyForm::ndjson)->size(), 2u);
  EXPECT_EQ(parse("[" + std::string(one) + "," + std::string(one) + "]")->size(), 2u);
}

TEST(EventJson, ABadEventRefusesTheWholeBodyAndIsNamed) {
  const std::string good(one);
  const std::string bad =
      R"({"actor":{"type":"user"},"action":"model.create","object":{"type":"m","id":"f"}})";
  EXPECT_EQ(error_of("[" + good + "," + bad + "]"), "/1/actor/id: is missing");
  EXPECT_EQ(error_of(good + "\n\n" + bad, BodyForm::ndjson), "line 3, /actor/id: is missing");
  EXPECT_THAT(error_of(good + "\n{", BodyForm::ndjson), StartsWith("line 2, column 2"));
  EXPECT_EQ(error_of("[7]"), "/0: must be an object with the fields of an audit event");
  EXPECT_EQ(error_of("7"), "must be an object with the fields of an audit event");
  EXPECT_EQ(error_of("[]"), "the body holds no event");
  EXPECT_EQ(error_of("\n", BodyForm::ndjson), "the body holds no event");
}

TEST(EventJson, EachFieldThatIsMissingOrWrongIsNamed) {
  EXPECT_EQ(error_of("{}"), "/actor: is missing");
  EXPECT_EQ(error_of(R"({"actor":7})"), "/actor: must be an object");
  EXPECT_EQ(error_of(R"({"actor":{"type":"u","id":"a"}})"), "/action: is missing");
  EXPECT_EQ(error_of(R"({"actor":{"type":"u","id":"a"},"action":"model.create"})"), "/object: is missing");
  EXPECT_EQ(error_of(R"({"actor":{"type":"u","id":"a","ip":"x"},"action":"model.create"})"),
            "/actor/ip: is not a known field; did you mean \"id\"?");
  EXPECT_EQ(
      error_of(R"({"actor":{"type":"u","id":"a"},"action":"model.creat","object":{"type":"m","id":"f"}})"),
      "/action: \"model.creat\" is not a known action, did you mean \"model.create\"?; one of your own "
      "begins "
      "with \"x.\"");
  EXPECT_EQ(
      error_of(R"({"actor":{"type":"u","id":"a"},"action":"audit.gap","object":{"type":"m","id":"f"}})"),
      "/action: is recorded by the daemon alone");
  EXPECT_EQ(error_with(R"("id":"x")"), "/id: must be a text of 36 to 36 bytes, not \"x\"");
  EXPECT_EQ(error_with(R"("id":"0af76519-16cd-43dd-8448-eb211c80319c")"),
            "/id: must be a UUID of version 7 (RFC 9562)");
  EXPECT_THAT(error_with(R"("time":"yesterday at about noon")"),
              StartsWith("/time: must be a time as RFC 3339"));
  EXPECT_THAT(error_with(R"("time":"tomorrow")"), StartsWith("/time: must be a time as RFC 3339"));
  EXPECT_THAT(error_with(R"("time":"2026-11-25T12:10:01Z")"), StartsWith("/time: its time must lie between"));
  EXPECT_THAT(error_with(R"("time":"2026-10-26T11:00:00Z")"), StartsWith("/time: its time must lie between"));
  EXPECT_THAT(error_with(R"("id":"00000000-0000-7000-8000-000000000000")"),
              StartsWith("/id: its time must lie within"));
  EXPECT_EQ(error_with(R"("outcome":"ok")"),
            R"(/outcome: must be "success", "failure", "denied" or "unknown")");
  EXPECT_THAT(error_with(R"("trace_id":"00000000000000000000000000000000")"),
              StartsWith("/trace_id: must be 32"));
  EXPECT_THAT(error_with(R"("trace_id":"zz000000000000000000000000000000")"),
              StartsWith("/trace_id: must be 32"));
  EXPECT_EQ(error_with(R"("reason":"a\u0000b")"), "/reason: must not hold control characters");
  EXPECT_EQ(error_with(R"("tenant":"")"), "/tenant: must be a text of 1 to 200 bytes, not \"\"");
  EXPECT_EQ(error_with(R"("resaon":"x")"), "/resaon: is not a known field; did you mean \"reason\"?");
  EXPECT_EQ(error_with(R"("received_at":"2026-11-25T12:00:00Z")").substr(0, 13), "/received_at:");
}

TEST(EventJson, WhatJsonCannotHoldExactlyIsRefused) {
  EXPECT_THAT(error_with(R"("details":{"a":1,"a":2})"), HasSubstr("/details/a: the key stands twice"));
  EXPECT_THAT(error_with(R"("details":{"n":123456789012345678901234567890})"), HasSubstr("beyond 64 bits"));
  EXPECT_THAT(error_with(R"("details":{"n":1e999})"), HasSubstr("too large for a double"));
  EXPECT_NE(error_with("\"details\":\"\xff\""), "accepted");
  EXPECT_NE(error_with(R"("details":"\ud800")"), "accepted");
}

TEST(EventJson, EachLimitRefusesOneMore) {
  const EventLimits limits{.events_max = 2, .body_bytes_max = 1'000, .line_bytes_max = 200};
  const std::string line(one);
  EXPECT_EQ(error_of("[" + line + "," + line + "," + line + "]", BodyForm::json, limits),
            "the body holds more than 2 events");
  EXPECT_EQ(error_of(line + "\n" + line + "\n" + line, BodyForm::ndjson, limits),
            "the body holds more than 2 events");
  EXPECT_EQ(error_of(std::string(1'001, ' '), BodyForm::json, limits),
            "the body has 1001 bytes; the limit is 1000");
  EXPECT_THAT(error_of(line + std::string(200, ' ') + "\n", BodyForm::ndjson, limits),
              HasSubstr("the limit is 200"));
  EXPECT_THAT(error_with("\"reason\":\"" + std::string(1'001, 'x') + "\""),
              StartsWith("/reason: must be a text of 0 to 1000"));
  EXPECT_EQ(error_with("\"reason\":\"" + std::string(1'000, 'x') + "\""), "accepted");
  EXPECT_THAT(error_with("\"details\":\"" + std::string(48 << 10, 'x') + "\""),
              StartsWith("/details: the field groups have more than 49152 bytes"));
  EXPECT_EQ(error_with("\"details\":" + std::string(16, '[') + std::string(16, ']')), "accepted");
  EXPECT_NE(error_of("[" + std::string(one.substr(0, one.size() - 1)) +
                     ",\"details\":" + std::string(17, '[') + std::string(17, ']') + "}]"),
            "accepted");
}

}  // namespace
}  // namespace citadel::audit
