#include "audit/redaction.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "audit/audit_testing.hpp"

namespace citadel::audit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const Redactor& redactor() {
  static const Redactor compiled = Redactor::compile(default_redaction_rules()).value();
  return compiled;
}

std::string redacted(std::string details) {
  Event event = minimal_event();
  event.group(Group::details) = std::move(details);
  EXPECT_TRUE(redactor().apply(event).has_value());
  return event.group(Group::details);
}
std::string redacted_reason(std::string reason) {
  Event event = minimal_event();
  event.reason = std::move(reason);
  EXPECT_TRUE(redactor().apply(event).has_value());
  return event.reason;
}

TEST(Redaction, MembersAreFoundByNameAtAnyDepth) {
  EXPECT_EQ(redacted(R"({"Authorization":"Basic abc"})"), R"({"Authorization":"[redacted:authorization]"})");
  EXPECT_EQ(redacted(R"([{"a":{"API-Key":"k","n":1}}])"),
            R"([{"a":{"API-Key":"[redacted:api_key]","n":1}}])");
  EXPECT_EQ(redacted(R"({"setCookie":["a=1","b=2"]})"), R"({"setCookie":"[redacted:cookie]"})");
  EXPECT_EQ(redacted(R"({"Set-Cookie":{"a":1}})"), R"({"Set-Cookie":"[redacted:cookie]"})");
  EXPECT_EQ(redacted(R"({"pass word":7})"), R"({"pass word":"[redacted:password]"})");
}

TEST(Redaction, WhatOnlyLooksLikeAMemberStays) {
  for (const char* same :
       {R"({"authorized":"yes","password_changed":true,"tokens":17,"token_count":4})",
        R"({"password":null,"secret":false})", R"({"cookies_accepted":"all","keys":["a"],"api":"key"})",
        R"(["password","hunter2"])", R"("password: hunter2")"}) {
    EXPECT_EQ(redacted(same), same);
  }
}

TEST(Redaction, CardNumbersAreFound) {
  for (const char* number :
       {"4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "5555555555554444",
        "2223003122003222", "378282246310005", "3782 822463 10005", "6011111111111117", "3530111333300000",
        "30569309025904", "6200000000000005", "4222222222222"}) {
    EXPECT_EQ(redacted_reason(std::string("card ") + number + ", thanks"),
              "card [redacted:card_number], thanks")
        << number;
    EXPECT_EQ(redacted_reason(number), "[redacted:card_number]") << number;
  }
  EXPECT_EQ(redacted_reason("4111 1111 1111 1111 12/27 123"), "[redacted:card_number] 12/27 123");
  EXPECT_EQ(redacted_reason("1 4111 1111 1111 1111"), "1 [redacted:card_number]");
  EXPECT_EQ(redacted_reason("4111111111111111,5555555555554444"),
            "[redacted:card_number],[redacted:card_number]");
  EXPECT_EQ(redacted(R"({"n":4111111111111111})"), R"({"n":"[redacted:card_number]"})");
  EXPECT_EQ(redacted_reason("(4111111111111111)."), "([redacted:card_number]).");
}

TEST(Redaction, WhatOnlyLooksLikeACardStays) {
  for (const char* same : {
           "4111111111111112",      // wrong check digit
           "411111111111",          // too short
           "41111111111111111111",  // too long
           "9999999999999995",      // of no issuer, right check digit
           "1700000000000000",      // a time in microseconds
           "id4111111111111111",
           "4111111111111111x",     // part of a word
           "0.4111111111111111",    // a fraction
           "4111  1111 1111 1111",  // two blanks
           "018bd8f5-6a3b-7cc0-8000-0123456789ab",
           "2026-11-25 08:00:00",
           "+49 30 1234 5678 90",
       }) {
    EXPECT_EQ(redacted_reason(same), same);
  }
  EXPECT_EQ(redacted(R"({"n":1700000000000000,"f":4111111111111111.5})"),
            R"({"n":1700000000000000,"f":4111111111111111.5})");
}

TEST(Redaction, BearerTokensAreFoundAndTheWordStays) {
  EXPECT_EQ(redacted_reason("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc-_~+/=="),
            "Authorization: Bearer [redacted:bearer_token]");
  EXPECT_EQ(redacted_reason("bEARER   0123456789abcdef;"), "bEARER   [redacted:bearer_token];");
  for (const char* same : {"the bearer of bad news", "bearer authenticationmechanism is used", "bearer",
                           "Bearer ", "bearer0123456789abcdef0123", "Bearer short1"}) {
    EXPECT_EQ(redacted_reason(same), same);
  }
}

TEST(Redaction, PrivateKeysAreFound) {
  const std::string pem = R"(-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----)";
  EXPECT_EQ(redacted("\"see " + pem + " there\""), R"("see [redacted:private_key_text] there")");
  EXPECT_EQ(redacted(R"("-----BEGIN PRIVATE KEY-----\nMIIEow")"), R"("[redacted:private_key_text]")");
  for (const char* same : {R"("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----")",
                           R"("-----BEGIN ")", R"("a PRIVATE KEY is private")"}) {
    EXPECT_EQ(redacted(same), same);
  }
}

TEST(Redaction, CountsByRuleAndLeavesTheRestAsItWas) {
  Event event = full_event();
  event.reason = "paid by 4111111111111111";
  event.group(Group::prompt) = R"({"password":"x","n":[{"password":"y"}],"card":"5555555555554444"})";
  event.group(Group::tool) = R"( {"spaces" : 1} )";
  const auto counts = redactor().apply(event);
  ASSERT_TRUE(counts.has_value());
  EXPECT_THAT(*counts, ElementsAre(Redacted{"password", 2}, Redacted{"card_number", 2}));
  EXPECT_EQ(event.group(Group::tool), R"( {"spaces" : 1} )");
  EXPECT_THAT(event.group(Group::prompt), Not(HasSubstr("5555")));
  const Event once = event;
  EXPECT_THAT(redactor().apply(event).value(), IsEmpty());
  EXPECT_EQ(event, once);
}

TEST(Redaction, AGroupThatIsNotJsonIsRefusedAndNothingIsChanged) {
  Event event = full_event();
  event.reason = "4111111111111111";
  event.group(Group::tool) = "{";
  const Event before = event;
  EXPECT_THAT(redactor().apply(event).error().message, HasSubstr("/tool: "));
  EXPECT_EQ(event, before);
}

TEST(Redaction, RulesThatMakeNoSenseAreRefused) {
  const auto error = [](RedactionRule rule) {
    const auto compiled = Redactor::compile({std::move(rule)});
    return compiled ? "compiled" : compiled.error().message;
  };
  EXPECT_THAT(error({.name = "", .members = {"a"}}), HasSubstr("rule 1 has no name"));
  EXPECT_THAT(error({.name = "r"}), HasSubstr("members or a detector"));
  EXPECT_THAT(error({.name = "r", .members = {"a"}, .detector = Detector::card_number}),
              HasSubstr("and not both"));
  EXPECT_THAT(error({.name = "r", .members = {"--"}}), HasSubstr("empty member"));
  EXPECT_EQ(error({.name = "r", .members = {"a"}}), "compiled");
}

// What would be quadratic takes minutes of the processor here; its time is asked for, not the clock's, since
// the machine may be busy.
TEST(Redaction, TakesLinearTimeForTextsThatAlmostMatch) {
  for (const std::string piece : {"4", "4 ", "4111 ", "4-", "bearer ", "Bearer a", "-----BEGIN ",
                                  "-----BEGIN PRIVATE KEY", "-----BEGIN X PRIVATE KEY-----"}) {
    std::string text;
    while (text.size() < (128 << 10)) text += piece;
    const std::clock_t begin = std::clock();
    (void)redacted_reason(text);
    EXPECT_LT(std::clock() - begin, 8 * CLOCKS_PER_SEC) << piece;
  }
}

}  // namespace
}  // namespace citadel::audit
