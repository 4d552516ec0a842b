#include "telemetry/trace.hpp"

#include <gtest/gtest.h>

namespace citadel::telemetry {
namespace {

// The example of the standard, section 3.2.4.
constexpr std::string_view example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

std::string with(std::size_t at, std::string_view text) {
  std::string header(example);
  header.replace(at, text.size(), text);
  return header;
}

TEST(Trace, ParsesAndFormatsTheStandardsExample) {
  const auto context = parse_traceparent(example);
  ASSERT_TRUE(context);
  EXPECT_EQ(context->trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(context->parent_id_hex(), "00f067aa0ba902b7");
  EXPECT_TRUE(context->sampled());
  EXPECT_EQ(format_traceparent(*context), example);
}

TEST(Trace, HeadersThatMustBeIgnoredAre) {
  EXPECT_FALSE(parse_traceparent(""));
  EXPECT_FALSE(parse_traceparent(with(0, "ff")));
  EXPECT_FALSE(parse_traceparent(with(0, "0g")));
  EXPECT_FALSE(parse_traceparent(with(3, "4BF9")));
  EXPECT_FALSE(parse_traceparent(with(3, std::string(32, '0'))));
  EXPECT_FALSE(parse_traceparent(with(36, std::string(16, '0'))));
  EXPECT_FALSE(parse_traceparent(with(53, "0x")));
  for (const std::size_t dash : {2u, 35u, 52u}) EXPECT_FALSE(parse_traceparent(with(dash, "_"))) << dash;
  for (std::size_t length = 0; length < example.size(); ++length) {
    EXPECT_FALSE(parse_traceparent(example.substr(0, length))) << length;
  }
  EXPECT_FALSE(parse_traceparent(std::string(example) + "-more"));
}

TEST(Trace, ALaterVersionIsReadAsFarAsWeKnowIt) {
  EXPECT_TRUE(parse_traceparent(with(0, "cc")));
  EXPECT_TRUE(parse_traceparent(with(0, "cc") + "-what-comes-later"));
  EXPECT_FALSE(parse_traceparent(with(0, "cc") + ".what"));
}

TEST(Trace, UnknownFlagsAreNotPassedOn) {
  EXPECT_EQ(format_traceparent(*parse_traceparent(with(53, "ff"))).substr(52), "-01");
  EXPECT_EQ(format_traceparent(*parse_traceparent(with(53, "fe"))).substr(52), "-00");
}

TEST(Trace, AChildKeepsTheTraceAndHasAParentOfItsOwn) {
  SeededRandom random(7);
  const auto root = new_trace(random, true);
  const auto child = child_of(root, random);
  EXPECT_EQ(child.trace_id, root.trace_id);
  EXPECT_NE(child.parent_id, root.parent_id);
  EXPECT_TRUE(child.sampled());
  EXPECT_EQ(parse_traceparent(format_traceparent(child)), child);
  EXPECT_FALSE(new_trace(random).sampled());
}

// A generator that gives zeros first must not make an id of zeros.
TEST(Trace, NoIdIsAllZero) {
  struct Zeros final : Random {
    int left = 3;
    std::uint64_t next() override { return left-- > 0 ? 0 : 1; }
  } random;
  EXPECT_TRUE(parse_traceparent(format_traceparent(new_trace(random))));
}

}  // namespace
}  // namespace citadel::telemetry
