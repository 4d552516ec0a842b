#include "pg/value.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "pg/detail/codec.hpp"

namespace citadel::pg {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

template <class T>
std::string encode(const T& value) {
  std::string bytes;
  codec::append(bytes, value);
  return bytes;
}

template <class T>
void expect_round_trip(Oid type, T value) {
  T back{};
  ASSERT_TRUE(codec::decode(type, encode(value), back));
  EXPECT_EQ(back, value);
}

TEST(Codec, NumbersRoundTripAtTheirLimits) {
  for (const bool value : {false, true}) expect_round_trip(codec::oid_bool, value);
  using L16 = std::numeric_limits<std::int16_t>;
  using L32 = std::numeric_limits<std::int32_t>;
  using L64 = std::numeric_limits<std::int64_t>;
  for (const std::int16_t value : {L16::min(), std::int16_t{-1}, std::int16_t{0}, L16::max()}) {
    expect_round_trip(codec::oid_int2, value);
  }
  for (const std::int32_t value : {L32::min(), -1, 0, L32::max()}) expect_round_trip(codec::oid_int4, value);
  for (const std::int64_t value : {L64::min(), std::int64_t{-1}, std::int64_t{0}, L64::max()}) {
    expect_round_trip(codec::oid_int8, value);
  }
  for (const double value :
       {0.0, -0.0, 1.5, std::numeric_limits<double>::max(), std::numeric_limits<double>::denorm_min(),
        std::numeric_limits<double>::infinity()}) {
    expect_round_trip(codec::oid_float8, value);
  }
  double nan = 0;
  ASSERT_TRUE(codec::decode(codec::oid_float8, encode(std::nan("")), nan));
  EXPECT_TRUE(std::isnan(nan));
}

TEST(Codec, BytesAreBigEndianAsTheProtocolSays) {
  EXPECT_EQ(encode(std::int32_t{0x01020304}), std::string("\1\2\3\4"));
  EXPECT_EQ(encode(std::int16_t{-2}), std::string("\xff\xfe"));
  EXPECT_EQ(encode(WallTime(std::chrono::sys_days{std::chrono::year{2000} / 1 / 1})), std::string(8, '\0'));
}

TEST(Codec, WiderTypesTakeNarrowerColumns) {
  std::int64_t wide = 0;
  EXPECT_TRUE(codec::decode(codec::oid_int2, encode(std::int16_t{-7}), wide));
  EXPECT_EQ(wide, -7);
  EXPECT_TRUE(codec::decode(codec::oid_int4, encode(std::int32_t{-8}), wide));
  EXPECT_EQ(wide, -8);
  EXPECT_TRUE(codec::decode(codec::oid_oid, encode(std::int32_t{-1}), wide));
  EXPECT_EQ(wide, 0xFFFFFFFF);
  std::int32_t narrow = 0;
  EXPECT_FALSE(codec::decode(codec::oid_int8, encode(std::int64_t{1}), narrow));
  double real = 0;
  EXPECT_TRUE(codec::decode(codec::oid_float4, std::string("\x3f\xc0\0\0", 4), real));
  EXPECT_EQ(real, 1.5);
  EXPECT_FALSE(codec::decode(codec::oid_int8, encode(std::int64_t{1}), real));
}

TEST(Codec, TextTypesAndJsonb) {
  std::string_view text;
  for (const Oid type : {codec::oid_text, codec::oid_varchar, codec::oid_bpchar, codec::oid_name,
                         codec::oid_json, codec::oid_char, codec::oid_user_first + 5}) {
    EXPECT_TRUE(codec::decode(type, "abc", text));
    EXPECT_EQ(text, "abc");
  }
  EXPECT_TRUE(codec::decode(codec::oid_jsonb, "\1{}", text));
  EXPECT_EQ(text, "{}");
  EXPECT_FALSE(codec::decode(codec::oid_jsonb, "\2{}", text));
  EXPECT_FALSE(codec::decode(codec::oid_jsonb, "", text));
  EXPECT_FALSE(codec::decode(codec::oid_int4, "abcd", text));
  EXPECT_FALSE(codec::decode(codec::oid_bytea, "abcd", text));
}

TEST(Codec, TimesKeepMicrosecondsAndRefuseInfinity) {
  expect_round_trip(codec::oid_timestamptz, WallTime(1'700'000'000'123'456us));
  expect_round_trip(codec::oid_timestamptz, WallTime(-1us));
  expect_round_trip(codec::oid_timestamptz, WallTime(-62'135'596'800'000'000us));  // 0001-01-01
  WallTime out;
  EXPECT_FALSE(codec::decode(codec::oid_timestamptz, encode(std::numeric_limits<std::int64_t>::max()), out));
  EXPECT_FALSE(codec::decode(codec::oid_timestamptz, encode(std::numeric_limits<std::int64_t>::min()), out));
  EXPECT_THROW((void)encode(WallTime::max()), std::out_of_range);
  EXPECT_THROW((void)encode(WallTime::min()), std::out_of_range);
}

TEST(Codec, WrongLengthsAreRefused) {
  bool b = false;
  std::int16_t i16 = 0;
  std::int64_t i64 = 0;
  Uuid uuid;
  WallTime time;
  EXPECT_FALSE(codec::decode(codec::oid_bool, "", b));
  EXPECT_FALSE(codec::decode(codec::oid_int2, "abc", i16));
  EXPECT_FALSE(codec::decode(codec::oid_int8, "abcdefg", i64));
  EXPECT_FALSE(codec::decode(codec::oid_uuid, "0123456789abcde", uuid));
  EXPECT_FALSE(codec::decode(codec::oid_timestamptz, "abcd", time));
}

std::string array_of(std::initializer_list<std::optional<std::string>> items) {
  std::string bytes;
  codec::append_array_head(bytes, codec::oid_text, items.size(), true);
  for (const auto& item : items) {
    if (item) {
      codec::append_framed(bytes, [&] { codec::append(bytes, *item); });
    } else {
      codec::append_null(bytes);
    }
  }
  return bytes;
}

TEST(Codec, ArraysSplitIntoTheirElements) {
  const std::string bytes = array_of({"a", std::nullopt, ""});
  const auto array = codec::split_array(bytes);
  ASSERT_TRUE(array);
  EXPECT_EQ(array->element, codec::oid_text);
  EXPECT_THAT(array->items, ElementsAre("a", std::nullopt, ""));
  const std::string none = array_of({});
  ASSERT_TRUE(codec::split_array(none));
  EXPECT_TRUE(codec::split_array(none)->items.empty());
}

TEST(Codec, ATruncatedArrayIsRefusedAtEveryByte) {
  const std::string whole = array_of({"abc", std::nullopt, "de"});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(codec::split_array(std::string_view(whole).substr(0, size))) << size;
  }
  EXPECT_FALSE(codec::split_array(whole + "x"));
  std::string two_dimensions = whole;
  two_dimensions[3] = '\2';
  EXPECT_FALSE(codec::split_array(two_dimensions));
  std::string huge = whole;
  huge[12] = '\x7f';
  EXPECT_FALSE(codec::split_array(huge));
}

TEST(Params, EachTypeSendsItsOid) {
  const Params params(true, std::int16_t{1}, std::int32_t{2}, std::int64_t{3}, 4.0, "five",
                      std::string("six"), as_bytes("seven"), Uuid{}, WallTime{}, std::vector<std::int64_t>{8},
                      std::optional<double>());
  EXPECT_THAT(std::vector<Oid>(params.types().begin(), params.types().end()),
              ElementsAre(16, 21, 23, 20, 701, 25, 25, 17, 2950, 1184, 1016, 701));
  const auto wire = params.wire();
  ASSERT_EQ(wire.values.size(), 12u);
  EXPECT_EQ(std::string_view(wire.values[5], static_cast<std::size_t>(wire.lengths[5])), "five");
  EXPECT_EQ(wire.values[11], nullptr);
  EXPECT_EQ(wire.formats[0], 1);
}

TEST(Params, AnEmptyTextIsNotNull) {
  const Params params("", std::optional<std::string>());
  const auto wire = params.wire();
  EXPECT_NE(wire.values[0], nullptr);
  EXPECT_EQ(wire.lengths[0], 0);
  EXPECT_EQ(wire.values[1], nullptr);
}

TEST(Params, ArraysMayHoldNull) {
  const Params params(std::vector<std::optional<std::string>>{"a", std::nullopt},
                      std::vector<bool>{true, false}, std::optional<std::vector<Uuid>>());
  EXPECT_THAT(std::vector<Oid>(params.types().begin(), params.types().end()), ElementsAre(1009, 1000, 2951));
  const auto wire = params.wire();
  const auto array = codec::split_array({wire.values[0], static_cast<std::size_t>(wire.lengths[0])});
  ASSERT_TRUE(array);
  EXPECT_THAT(array->items, ElementsAre("a", std::nullopt));
}

TEST(ParamsDeathTest, MoreThanTheProtocolCarriesIsABug) {
  Params params;
  for (int i = 0; i < 65'535; ++i) params.add(true);
  EXPECT_EQ(params.size(), 65'535u);
  EXPECT_DEATH(params.add(true), "more parameters");
}

TEST(Rows, EmptyOnesAnswerSensibly) {
  const Rows rows;
  EXPECT_TRUE(rows.empty());
  EXPECT_EQ(rows.affected(), 0);
  EXPECT_EQ(rows.columns(), 0);
  EXPECT_EQ(rows.command_tag(), "");
  EXPECT_EQ(rows.column_name(0), "");
  EXPECT_EQ(rows.begin(), rows.end());
}

}  // namespace
}  // namespace citadel::pg
