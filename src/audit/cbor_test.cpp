#include "audit/cbor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace citadel::audit::cbor {
namespace {

using testing::HasSubstr;

std::string hex(std::string_view bytes) {
  return to_hex(as_bytes(bytes));
}

// Any value of ours: written again it must give the same bytes.
void copy(Reader& in, Writer& out, std::size_t depth = 0) {
  const auto type = in.peek();
  if (!type || depth > depth_max) return in.fail("nothing of ours");
  const bool is_map = *type == Type::map;
  switch (*type) {
    case Type::number:
      out.number(in.number());
      return;
    case Type::negative:
      out.integer(in.integer());
      return;
    case Type::bytes:
      out.bytes(in.bytes());
      return;
    case Type::text:
      out.text(in.text());
      return;
    case Type::array:
    case Type::map: {
      const std::size_t count = is_map ? in.map() : in.array();
      is_map ? out.map(count) : out.array(count);
      for (std::size_t i = 0; i < count * (is_map ? 2 : 1) && in.good(); ++i) copy(in, out, depth + 1);
      return;
    }
  }
}

std::string error_of(std::string_view hex_text) {
  const std::string raw = *from_hex(hex_text);
  Reader in(as_bytes(raw));
  Writer out;
  copy(in, out);
  const auto finished = in.finish();
  if (!finished) {
    EXPECT_EQ(finished.error().code, Code::corrupt);
    return finished.error().message;
  }
  EXPECT_EQ(hex(out.take()), hex_text);
  return "read";
}

// RFC 8949 appendix A: those of the types that are used here.
TEST(Cbor, TheVectorsOfTheSpecificationAreReadAndWrittenAgain) {
  for (const char* vector : {"00",
                             "01",
                             "0a",
                             "17",
                             "1818",
                             "1819",
                             "1864",
                             "1903e8",
                             "1a000f4240",
                             "1b000000e8d4a51000",
                             "1bffffffffffffffff",
                             "20",
                             "29",
                             "3863",
                             "3903e7",
                             "40",
                             "4401020304",
                             "60",
                             "6161",
                             "6449455446",
                             "62225c",
                             "62c3bc",
                             "63e6b0b4",
                             "64f0908591",
                             "80",
                             "83010203",
                             "8301820203820405",
                             "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
                             "a0",
                             "a201020304",
                             "a26161016162820203",
                             "826161a161626163",
                             "a56161614161626142616361436164614461656145"}) {
    EXPECT_EQ(error_of(vector), "read") << vector;
  }
}

TEST(Cbor, NumbersAreTheirs) {
  const std::pair<std::int64_t, const char*> vectors[] = {
      {0, "00"},
      {23, "17"},
      {24, "1818"},
      {255, "18ff"},
      {256, "190100"},
      {65535, "19ffff"},
      {65536, "1a00010000"},
      {4294967295, "1affffffff"},
      {4294967296, "1b0000000100000000"},
      {-1, "20"},
      {-10, "29"},
      {-100, "3863"},
      {-1000, "3903e7"},
      {std::numeric_limits<std::int64_t>::max(), "1b7fffffffffffffff"},
      {std::numeric_limits<std::int64_t>::min(), "3b7fffffffffffffff"}};
  for (const auto& [value, text] : vectors) {
    EXPECT_EQ(hex(Writer().integer(value).take()), text);
    const std::string raw = *from_hex(text);
    Reader in(as_bytes(raw));
    EXPECT_EQ(in.integer(), value) << text;
    EXPECT_TRUE(in.finish().has_value()) << text;
  }
}

TEST(Cbor, WhatIsNotCanonicalIsRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"1817", "shortest form"},                                            // 23 in two bytes
      {"190017", "shortest form"},                                          // in three
      {"1900ff", "shortest form"},                                          // 255 in three
      {"1a0000ffff", "shortest form"},                                      //
      {"1b00000000ffffffff", "shortest form"},                              //
      {"3800", "shortest form"},                                            // -1
      {"5800", "shortest form"},                                            // an empty string's length
      {"5f42010243030405ff", "definite"},                                   // strings in parts
      {"9f018202039f0405ffff", "definite"},                                 // arrays
      {"bf61610161629f0203ffff", "definite"},                               // maps
      {"1c", "definite"},                                                   // reserved
      {"a203040102", "not in order"},                                       // keys 3, 1
      {"a201020103", "stands twice"},                                       // key 1 twice
      {"a2616201616102", "not in order"},                                   // "b", "a"
      {"a26162011801", "shortest form"},                                    //
      {"a20a016101", ""},                                                   // cut off
      {"a18001", "a key is a container"},                                   //
      {"a1a000", "a key is a container"},                                   //
      {"0000", "follows the value"},                                        //
      {"8001", "follows the value"},                                        //
      {"61ff", "UTF-8"},                                                    //
      {"62c328", "UTF-8"},                                                  //
      {"63eda080", "UTF-8"},                                                // a surrogate
      {"f4", "nothing of ours"},                                            // false
      {"f6", "nothing of ours"},                                            // null
      {"f93c00", "nothing of ours"},                                        // a float
      {"c074323031332d30332d32315432303a30343a30305a", "nothing of ours"},  // a tag
      {"3bffffffffffffffff", "beyond 64 bits"},                             //
  };
  for (const auto& [text, what] : cases) EXPECT_THAT(error_of(text), HasSubstr(what)) << text;
}

TEST(Cbor, WhatIsCutOffIsRefusedAtEachByte) {
  const std::string whole = Writer()
                                .array(4)
                                .number(70'000)
                                .text("text")
                                .bytes(as_bytes("bytes"))
                                .map(1)
                                .number(1)
                                .integer(-300)
                                .take();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(hex(whole.substr(0, size))), "read") << size;
  }
  EXPECT_EQ(error_of(hex(whole)), "read");
}

TEST(Cbor, ACountThatCannotBeTrueIsRefusedBeforeAnythingIsReserved) {
  EXPECT_THAT(error_of("9bffffffffffffffff"), HasSubstr("less than it says"));
  EXPECT_THAT(error_of("bbffffffffffffffff"), HasSubstr("less than it says"));
  EXPECT_THAT(error_of("bb8000000000000000"), HasSubstr("less than it says"));
  EXPECT_THAT(error_of("5bffffffffffffffff"), HasSubstr("middle of a string"));
}

TEST(Cbor, NestingIsBounded) {
  EXPECT_EQ(error_of("8181818181818180"), "read");
  EXPECT_THAT(error_of("818181818181818180"), HasSubstr("nested too deep"));
}

TEST(Cbor, AReaderThatAsksForAnotherTypeOrForMoreFails) {
  const std::string raw = Writer().array(1).number(7).take();
  Reader text(as_bytes(raw));
  text.array();
  EXPECT_EQ(text.text(), "");
  EXPECT_THAT(text.finish().error().message, HasSubstr("another type"));
  Reader less(as_bytes(raw));
  EXPECT_EQ(less.array(), 1u);
  EXPECT_THAT(less.finish().error().message, HasSubstr("more items than are known"));
  Reader more(as_bytes(raw));
  more.array();
  EXPECT_EQ(more.number(), 7u);
  EXPECT_EQ(more.number(), 0u);
  EXPECT_FALSE(more.finish().has_value());
  Reader fixed(as_bytes(std::string_view("\x41\x07", 2)));
  EXPECT_EQ(std::to_integer<int>(fixed.fixed<2>()[0]), 0);
  EXPECT_THAT(fixed.finish().error().message, HasSubstr("another length"));
  Reader nothing{Bytes{}};
  EXPECT_THAT(nothing.finish().error().message, HasSubstr("more items than are known"));
}

TEST(Cbor, TheFirstFaultIsKept) {
  Reader in(as_bytes("\x01"));
  in.fail("first");
  in.fail("second");
  EXPECT_EQ(in.number(), 0u);
  EXPECT_THAT(in.finish().error().message, HasSubstr("first"));
}

}  // namespace
}  // namespace citadel::audit::cbor
