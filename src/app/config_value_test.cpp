#include "app/config_value.hpp"

#include <gtest/gtest.h>

namespace citadel::app {
namespace {

TEST(Duration, IsAWholeNumberAndAUnit) {
  EXPECT_EQ(parse_duration("250ms"), Duration(250'000));
  EXPECT_EQ(parse_duration("500us"), Duration(500));
  EXPECT_EQ(parse_duration("30s"), Duration(30s));
  EXPECT_EQ(parse_duration("5m"), Duration(5min));
  EXPECT_EQ(parse_duration("2h"), Duration(2h));
  EXPECT_EQ(parse_duration("1d"), Duration(24h));
  EXPECT_EQ(parse_duration("0s"), Duration::zero());
  for (const auto* bad : {"", "5", "s", "5 s", " 5s", "5s ", "-5s", "+5s", "5.5s", "5S", "5min", "1m30s",
                          "0x5s", "9223372036854775807s", "99999999999999999999us"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

TEST(Duration, IsWrittenInItsLargestExactUnit) {
  for (const auto* text : {"1us", "250ms", "90s", "30m", "25h", "7d", "0s"}) {
    EXPECT_EQ(format_duration(*parse_duration(text)), text);
  }
  EXPECT_EQ(format_duration(24h), "1d");
}

TEST(Size, IsAWholeNumberOfBytesWithOrWithoutAUnit) {
  EXPECT_EQ(parse_size("64MiB"), 64 << 20);
  EXPECT_EQ(parse_size("1KiB"), 1024);
  EXPECT_EQ(parse_size("65535"), 65535);
  EXPECT_EQ(parse_size("65535B"), 65535);
  EXPECT_EQ(parse_size("2TiB"), std::int64_t{2} << 40);
  for (const auto* bad : {"", "MiB", "64MB", "64M", "64 MiB", "-1", "1.5GiB", "8388608TiB", "64mib"}) {
    EXPECT_FALSE(parse_size(bad)) << bad;
  }
  for (const auto* text : {"64MiB", "1KiB", "65535B", "3GiB", "0B"})
    EXPECT_EQ(format_size(*parse_size(text)), text);
}

TEST(Endpoint, IsAnAddressAndAPort) {
  EXPECT_EQ(parse_endpoint("127.0.0.1:8480"), (Endpoint{"127.0.0.1", 8480}));
  EXPECT_EQ(parse_endpoint("[::1]:0"), (Endpoint{"::1", 0}));
  EXPECT_EQ(parse_endpoint("localhost:65535"), (Endpoint{"localhost", 65535}));
  for (const auto* bad : {"", ":8480", "8480", "localhost", "localhost:", "localhost:65536", "localhost:-1",
                          "::1:80", "[]:80", "[localhost]:80", "a b:80", "http://host:80", "[::1:80"}) {
    EXPECT_FALSE(parse_endpoint(bad)) << bad;
  }
  for (const auto* text : {"127.0.0.1:8480", "[::1]:80"})
    EXPECT_EQ(format_endpoint(*parse_endpoint(text)), text);
}

TEST(QuoteToml, EscapesWhatWouldEndTheStringOrTheLine) {
  EXPECT_EQ(quote_toml("a\"b\\c\nd\x01"), "\"a\\\"b\\\\c\\nd\\u0001\"");
}

}  // namespace
}  // namespace citadel::app
