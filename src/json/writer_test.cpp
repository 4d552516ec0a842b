#include "json/writer.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "json/parse.hpp"
#include "json/serialize.hpp"

namespace citadel::json {
namespace {

TEST(JsonWriter, PutsCommasWhereTheyBelong) {
  Writer out;
  out.begin_object()
      .key("a")
      .integer(-7)
      .key("b")
      .begin_array()
      .text("x")
      .null()
      .boolean(true)
      .begin_object()
      .end_object()
      .end_array()
      .key("c")
      .begin_array()
      .end_array()
      .key("d")
      .raw("[1]")
      .end_object();
  EXPECT_EQ(out.take(), R"({"a":-7,"b":["x",null,true,{}],"c":[],"d":[1]})");
}

TEST(JsonWriter, EscapesSoThatItReadsBack) {
  std::string text;
  for (int c = 0; c < 128; ++c) text += static_cast<char>(c);
  text += "\u00e9\u20ac\U0001F600";
  Writer out;
  out.text(text);
  const std::string written = out.take();
  EXPECT_NE(written.find("\\u0000\\u0001"), std::string::npos);
  EXPECT_NE(written.find("\\n"), std::string::npos);
  EXPECT_EQ(parse(written, {}).value().as_string(), text);
}

TEST(JsonWriter, ReplacesWhatIsNotUtf8) {
  for (const std::string_view bad : {"\xFF", "\xC0", "\xE2\x82", "\xED\xA0\x80", "\xF5", "a\xC3"}) {
    Writer out;
    out.text(bad);
    const auto value = parse(out.take(), {});
    ASSERT_TRUE(value.has_value()) << bad;
    EXPECT_NE(value->as_string().find("\uFFFD"), std::string::npos);
  }
}

TEST(JsonWriter, WritesDoublesThatReadBackAndNothingInfinite) {
  for (const double number : {0.0, 0.1, 1e22, 1e300, 5e-324, 123456789.0, 1.7976931348623157e308}) {
    Writer out;
    out.number(number);
    const auto value = parse(out.take(), {});
    ASSERT_TRUE(value.has_value()) << number;
    EXPECT_EQ(value->as_double(), number);
  }
  Writer out;
  out.begin_array().number(std::numeric_limits<double>::infinity()).number(std::nan("")).end_array();
  EXPECT_EQ(out.take(), "[null,null]");
}

TEST(JsonWriterDeathTest, AnIncompleteTextIsABug) {
  EXPECT_DEATH(
      {
        Writer out;
        out.begin_object();
        (void)out.take();
      },
      "not complete");
  EXPECT_DEATH({ Writer().key("a"); }, "a key outside an object");
  EXPECT_DEATH({ Writer().begin_array().key("a"); }, "a key outside an object");
  EXPECT_DEATH({ Writer().begin_object().text("a"); }, "a member without a key");
  EXPECT_DEATH({ Writer().end_array(); }, "nothing to end");
  EXPECT_DEATH({ Writer().begin_object().end_array(); }, "closes an array");
  EXPECT_DEATH({ Writer().begin_object().key("a").begin_array().end_object(); }, "closes an array");
  EXPECT_DEATH(
      {
        Writer out;
        for (int i = 0; i < 65; ++i) out.begin_array();
      },
      "more is open");
}

TEST(JsonSerialize, WritesEveryKindAsPeopleRead) {
  const std::string text =
      R"({"a":[null,true,-7,18446744073709551615,1.5,0.0,202.63,"x\u00e9"],"b":{},"c":[]})";
  const auto value = parse(text, {});
  ASSERT_TRUE(value);
  EXPECT_EQ(serialize(*value),
            "{\"a\":[null,true,-7,18446744073709551615,1.5,0.0,202.63,\"x\u00e9\"],\"b\":{},\"c\":[]}");
}

}  // namespace
}  // namespace citadel::json
