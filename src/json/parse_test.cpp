#include "json/parse.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <cmath>
#include <limits>

#include "base/random.hpp"
#include "json/lines.hpp"

namespace citadel::json {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string error_of(std::string_view text, ParseLimits limits = {}) {
  const auto value = parse(text, limits);
  if (value) return "accepted as " + boost::json::serialize(*value);
  EXPECT_EQ(value.error().code, Code::invalid_argument);
  return value.error().message;
}

std::string read(std::string_view text) {
  const auto value = parse(text, {});
  return value ? boost::json::serialize(*value) : "refused: " + value.error().message;
}

TEST(JsonParse, ReadsEveryKindOfValue) {
  EXPECT_EQ(read(R"( {"a" : [ 1 , -2, 2.5, true, false, null, "x", {}, [] ] } )"),
            R"({"a":[1,-2,2.5E0,true,false,null,"x",{},[]]})");
  EXPECT_EQ(read("\t\r\n 7 \n"), "7");
  EXPECT_EQ(read(R"("")"), R"("")");
  EXPECT_EQ(read(R"({"":{"":[]}})"), R"({"":{"":[]}})");
}

TEST(JsonParse, ReadsEscapesInKeysAndTexts) {
  const auto value = parse(R"({"k\u0065y\n":"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"})", {});
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(value->as_object().begin()->key(), "key\n");
  EXPECT_EQ(value->as_object().begin()->value().as_string(), "\"\\/\b\f\n\r\t\u00e9\U0001F600");
}

// RFC 8259: what is not JSON, although some reader takes it.
TEST(JsonParse, RefusesWhatIsNotJson) {
  for (const std::string_view text :
       {"",         " ",          "{",           "[",        "\"",       "[1,]",
        "[,1]",     "{\"a\":1,}", "{a:1}",       "{'a':1}",  "{\"a\"}",  "{\"a\":}",
        "[1 2]",    "01",         "-",           "+1",       ".5",       "1.",
        "1e",       "1e+",        "0x10",        "NaN",      "Infinity", "-Infinity",
        "tru",      "nul",        "True",        "[1] x",    "1 2",      "// c\n1",
        "/* c */1", "\"\\x41\"",  "\"\\u12G4\"", "\"a\nb\"", "\"\t\"",   "\xEF\xBB\xBF{}"}) {
    EXPECT_THAT(error_of(text), StartsWith("line ")) << text;
  }
  EXPECT_THAT(error_of(std::string_view("1\0", 2)), StartsWith("line 1, column 2"));
}

TEST(JsonParse, RefusesTextThatIsNotUtf8) {
  for (const std::string_view text :
       {"\"\xFF\"", "\"\xC0\x80\"", "\"\xE0\x80\x80\"", "\"\xED\xA0\x80\"", "\"\xF4\x90\x80\x80\"",
        "\"\xC3\"", R"("\ud800")", R"("\udc00")", R"("\ud800\u0041")"}) {
    EXPECT_THAT(error_of(text), StartsWith("line 1")) << text;
  }
}

TEST(JsonParse, RefusesARepeatedKeyAndNamesIt) {
  EXPECT_EQ(error_of("{\"a\":1,\n \"b\":{\"x/y\":1, \"x\\u002fy\":2}}"),
            "line 2, column 25 (byte 32), at /b/x~1y: the key stands twice in its object");
  EXPECT_THAT(error_of(R"({"a":1,"b":2,"a":3})"), HasSubstr("at /a: the key stands twice"));
  EXPECT_EQ(read(R"([{"a":1},{"a":2}])"), R"([{"a":1},{"a":2}])");
}

TEST(JsonParse, RefusesARepeatedKeyInALargeObject) {
  std::string text = "{";
  for (int i = 0; i < 5000; ++i) text += "\"k" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  EXPECT_EQ(parse(text + "\"last\":0}", {})->as_object().size(), 5001u);
  EXPECT_THAT(error_of(text + "\"k4711\":0}"), HasSubstr("at /k4711: the key stands twice"));
}

TEST(JsonParse, RefusesNumbersThatItCannotHold) {
  EXPECT_THAT(error_of("3e888"), HasSubstr("too large for a double"));
  EXPECT_THAT(error_of("[0, -1e309]"), HasSubstr("at /1: the number is too large for a double"));
  EXPECT_THAT(error_of("18446744073709551616"), HasSubstr("beyond 64 bits"));
  EXPECT_THAT(error_of("-9223372036854775809"), HasSubstr("beyond 64 bits"));
  EXPECT_THAT(error_of(R"({"n":123456789012345678901234567890})"),
              HasSubstr("at /n: the integer is beyond 64 bits"));
}

TEST(JsonParse, HoldsNumbersAtTheirLimits) {
  EXPECT_EQ(read("18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(read("-9223372036854775808"), "-9223372036854775808");
  EXPECT_EQ(parse("1.7976931348623157e308", {})->as_double(), std::numeric_limits<double>::max());
  EXPECT_EQ(parse("5e-324", {})->as_double(), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(parse("1e-999", {})->as_double(), 0.0);
  EXPECT_TRUE(std::signbit(parse("-0.0", {})->as_double()));
}

TEST(JsonParse, ReadsADoubleAsItWasWritten) {
  SeededRandom random(20261125);
  for (int i = 0; i < 20'000; ++i) {
    const double number = std::bit_cast<double>(random.next());
    if (!std::isfinite(number)) continue;
    const auto again = parse(boost::json::serialize(boost::json::value(number)), {});
    ASSERT_TRUE(again.has_value());
    ASSERT_EQ(again->as_double(), number) << std::hexfloat << number;
  }
}

TEST(JsonParse, HoldsToItsDepth) {
  const std::string three = "[[[]]]";
  EXPECT_TRUE(parse(three, {.depth_max = 3}).has_value());
  EXPECT_EQ(error_of(three, {.depth_max = 2}),
            "line 1, column 3 (byte 2), at /0: nested deeper than allowed (2 levels)");
  EXPECT_THAT(error_of(std::string(100'000, '[')), HasSubstr("(32 levels)"));
}

TEST(JsonParse, HoldsToItsSize) {
  EXPECT_TRUE(parse("[1,2]", {.size_bytes_max = 5}).has_value());
  EXPECT_EQ(error_of("[1,2]", {.size_bytes_max = 4}), "the JSON text has 5 bytes; the limit is 4");
}

TEST(JsonParse, NamesThePlaceInTheWholeText) {
  const auto value = parse("{\"a\": x}", {}, {.line = 12, .offset = 400});
  ASSERT_FALSE(value.has_value());
  EXPECT_THAT(value.error().message, StartsWith("line 12, column 7 (byte 406), at /a: "));
}

TEST(JsonPointer, EscapesAndBoundsItsTokens) {
  std::string pointer;
  append_pointer(pointer, "a/b~c");
  append_pointer(pointer, std::string_view("\n\0", 2));
  EXPECT_EQ(pointer, "/a~1b~0c/??");
  std::string cut;
  append_pointer(cut, std::string(63, 'x') + "\u00e9\u00e9");
  EXPECT_EQ(cut, "/" + std::string(63, 'x') + "…");
}

std::vector<std::pair<std::size_t, std::string>> lines_of(std::string_view text) {
  std::vector<std::pair<std::size_t, std::string>> out;
  EXPECT_TRUE(for_each_line(text, {}, [&](std::size_t line, const boost::json::value& value) -> Result<void> {
                out.emplace_back(line, boost::json::serialize(value));
                return {};
              }).has_value());
  return out;
}

TEST(JsonLines, SplitsAndCountsEmptyLines) {
  EXPECT_THAT(lines_of("1\n\n \t\r\n{\"a\":2}\r\n3"),
              ElementsAre(std::pair(1u, "1"), std::pair(4u, R"({"a":2})"), std::pair(5u, "3")));
  EXPECT_TRUE(lines_of("").empty());
  EXPECT_TRUE(lines_of("\n\n").empty());
}

TEST(JsonLines, StopsAtTheFirstErrorAndNamesItsLine) {
  int seen = 0;
  const auto count = [&](std::size_t, const boost::json::value&) -> Result<void> {
    ++seen;
    return {};
  };
  const auto bad = for_each_line("{}\n{}\n{\"a\":}\n{}", {}, count);
  ASSERT_FALSE(bad.has_value());
  EXPECT_THAT(bad.error().message, StartsWith("line 3, column 6 (byte 11), at /a: "));
  EXPECT_EQ(seen, 2);
  const auto refused =
      for_each_line("{}\n{}", {}, [](std::size_t line, const boost::json::value&) -> Result<void> {
        return fail(Code::conflict, "line " + std::to_string(line));
      });
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message, "line 1");
}

TEST(JsonLines, BoundsEachLine) {
  const auto bad =
      for_each_line("1\n12345", {.size_bytes_max = 4}, [](auto, const auto&) { return Result<void>{}; });
  ASSERT_FALSE(bad.has_value());
  EXPECT_THAT(bad.error().message, HasSubstr("has 5 bytes; the limit is 4"));
}

}  // namespace
}  // namespace citadel::json
