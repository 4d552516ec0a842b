#include "json/object_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "json/parse.hpp"

namespace citadel::json {
namespace {

using testing::HasSubstr;

boost::json::object object_of(std::string_view text) {
  return parse(text, {}).value().as_object();
}

// Reads one field in `read`, and gives the error of the whole.
template <class Read>
std::string error_of(std::string_view text, Read read, std::string_view path = "") {
  const auto object = object_of(text);
  ObjectReader in(object, path);
  read(in);
  const auto end = in.finish();
  return end ? "accepted" : end.error().message;
}

TEST(ObjectReader, GivesFieldsByTheirType) {
  const auto object = object_of(R"({"i":-3,"n":2.5,"t":"x","b":true,"z":null,"v":[1],"whole":4})");
  ObjectReader in(object);
  EXPECT_EQ(in.integer("i", -5, 5), -3);
  EXPECT_EQ(in.number("n", 0, 3), 2.5);
  EXPECT_EQ(in.number("whole", 0, 4), 4.0);
  EXPECT_EQ(in.text("t", {}), "x");
  EXPECT_TRUE(in.boolean("b"));
  EXPECT_EQ(in.optional_integer("z", 0, 1), std::nullopt);
  EXPECT_EQ(in.optional_text("absent", {}), std::nullopt);
  EXPECT_EQ(in.optional_boolean("absent_too"), std::nullopt);
  EXPECT_EQ(in.optional_number("absent_as_well", 0, 1), std::nullopt);
  ASSERT_NE(in.optional_value("v"), nullptr);
  EXPECT_TRUE(in.finish().has_value());
}

TEST(ObjectReader, RefusesAMissingField) {
  EXPECT_EQ(error_of("{}", [](auto& in) { in.integer("tokens", 0, 1); }, "/3"), "/3/tokens: is missing");
  EXPECT_EQ(error_of(R"({"t":null})", [](auto& in) { in.text("t", {}); }), "/t: is missing");
  EXPECT_EQ(error_of("{}", [](auto& in) { in.number("n", 0, 1); }), "/n: is missing");
  EXPECT_EQ(error_of("{}", [](auto& in) { in.boolean("b"); }), "/b: is missing");
}

TEST(ObjectReader, RefusesAnotherTypeOrRangeAndNamesTheLimit) {
  const auto integer = [](auto& in) { in.integer("n", 0, 100); };
  EXPECT_EQ(error_of(R"({"n":101})", integer), "/n: must be an integer from 0 to 100, not 101");
  EXPECT_EQ(error_of(R"({"n":-1})", integer), "/n: must be an integer from 0 to 100, not -1");
  EXPECT_EQ(error_of(R"({"n":18446744073709551615})", integer),
            "/n: must be an integer from 0 to 100, not 18446744073709551615");
  EXPECT_THAT(error_of(R"({"n":1.5})", integer), HasSubstr("must be an integer"));
  EXPECT_THAT(error_of(R"({"n":"7"})", integer), HasSubstr("not \"7\""));
  EXPECT_THAT(error_of(R"({"n":{}})", integer), HasSubstr("not an object"));
  EXPECT_THAT(error_of(R"({"n":[]})", integer), HasSubstr("not an array"));
  const auto number = [](auto& in) { in.number("n", 0, 1.5); };
  EXPECT_EQ(error_of(R"({"n":1.6})", number), "/n: must be a number from 0 to 1.5, not 1.6E0");
  EXPECT_THAT(error_of(R"({"n":true})", number), HasSubstr("must be a number"));
  EXPECT_EQ(error_of(R"({"b":1})", [](auto& in) { in.boolean("b"); }), "/b: must be true or false, not 1");
}

TEST(ObjectReader, RefusesTextBeyondItsLimitsOrWithControlCharacters) {
  const auto text = [](auto& in) { in.text("t", {.bytes_min = 1, .bytes_max = 3}); };
  EXPECT_EQ(error_of(R"({"t":"abc"})", text), "accepted");
  EXPECT_EQ(error_of(R"({"t":"abcd"})", text), "/t: must be a text of 1 to 3 bytes, not \"abcd\"");
  EXPECT_EQ(error_of(R"({"t":""})", text), "/t: must be a text of 1 to 3 bytes, not \"\"");
  EXPECT_EQ(error_of("{\"t\":\"" + std::string(5000, 'x') + "\"}", text),
            "/t: must be a text of 1 to 3 bytes, not a text of 5000 bytes");
  EXPECT_EQ(error_of(R"({"t":"a\u0000"})", text), "/t: must not hold control characters");
  EXPECT_EQ(error_of(R"({"t":"\u007f"})", text), "/t: must not hold control characters");
  EXPECT_THAT(error_of(R"({"t":7})", text), HasSubstr("must be a text"));
}

TEST(ObjectReader, RefusesAnUnknownFieldAndSuggestsTheNearest) {
  const auto fields = [](auto& in) {
    in.optional_integer("prompt_tokens", 0, 9);
    in.optional_text("model", {});
  };
  EXPECT_EQ(error_of(R"({"promt_tokens":1})", fields, "/0"),
            "/0/promt_tokens: is not a known field; did you mean \"prompt_tokens\"?");
  EXPECT_EQ(error_of(R"({"model":"x","colour":1})", fields), "/colour: is not a known field");
  EXPECT_EQ(error_of(R"({"model":"x","Model":"y"})", fields),
            "/Model: is not a known field; did you mean \"model\"?");
  EXPECT_THAT(error_of("{\"" + std::string(9000, 'm') + "\":1}", fields), HasSubstr("is not a known field"));
}

TEST(ObjectReader, KeepsTheFirstErrorAndGivesNothingAfterIt) {
  const auto object = object_of(R"({"a":"x","b":7})");
  ObjectReader in(object);
  EXPECT_EQ(in.integer("a", 0, 1), 0);
  EXPECT_TRUE(in.failed());
  EXPECT_EQ(in.optional_integer("b", 0, 9), std::nullopt);
  in.refuse("b", "is of no interest");
  const auto end = in.finish();
  ASSERT_FALSE(end.has_value());
  EXPECT_THAT(end.error().message, testing::StartsWith("/a: "));
}

TEST(ObjectReader, CarriesTheCallersOwnRefusal) {
  EXPECT_EQ(error_of(R"({"a":1})",
                     [](auto& in) {
                       in.integer("a", 0, 1);
                       in.refuse("a", "is odd");
                     }),
            "/a: is odd");
}

}  // namespace
}  // namespace citadel::json
