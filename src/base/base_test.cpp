#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "base/bytes.hpp"
#include "base/check.hpp"
#include "base/deadline.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hex_digit.hpp"
#include "base/log.hpp"
#include "base/nearest.hpp"
#include "base/quote.hpp"
#include "base/random.hpp"
#include "base/secret.hpp"
#include "base/time_text.hpp"
#include "base/utf8.hpp"
#include "base/uuid.hpp"

namespace citadel {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

Result<int> half_of(int value) {
  if (value % 2 != 0) return fail(Code::invalid_argument, "odd");
  return value / 2;
}

Result<int> quarter_of(int value) {
  CITADEL_ASSIGN(const int half, half_of(value));
  CITADEL_ASSIGN(const int quarter, half_of(half));
  return quarter;
}

TEST(Result, CarriesAValueOrLeavesWithTheError) {
  EXPECT_EQ(quarter_of(8).value(), 2);
  EXPECT_EQ(quarter_of(6).error().code, Code::invalid_argument);
}

TEST(Error, NamesItsPlacesInnermostFirst) {
  auto error = Error(Code::deadlock, "deadlock detected").in("update budget").in("POST /v1/budgets");
  std::memcpy(error.sqlstate, "40P01", 6);
  EXPECT_EQ(error.to_string(), "deadlock (40P01): deadlock detected [update budget < POST /v1/budgets]");
}

TEST(Error, EveryCodeHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Code::internal); ++i) names.insert(to_string(static_cast<Code>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Code::internal) + 1);
}

TEST(Error, ErrnoBecomesACodeThatACallerCanDecideOn) {
  EXPECT_EQ(fail_errno(ENOSPC, "write x").error().code, Code::storage_full);
  EXPECT_EQ(fail_errno(EACCES, "open x").error().code, Code::permission_denied);
  EXPECT_EQ(fail_errno(ENOENT, "open x").error().code, Code::not_found);
  EXPECT_EQ(fail_errno(EIO, "write x").error().code, Code::io_error);
  EXPECT_THAT(fail_errno(EIO, "write x").error().message, HasSubstr("write x: "));
}

TEST(CheckDeathTest, AFailedCheckNamesThePlaceAndAborts) {
  EXPECT_DEATH(CITADEL_CHECK(1 == 2, "numbers differ"),
               "CHECK failed: 1 == 2 at base_test.cpp.*numbers differ");
}

TEST(Deadline, NeverHasANegativeRemainder) {
  const auto now = Monotonic::now();
  const auto deadline = Deadline::at(now + 10ms);
  EXPECT_EQ(deadline.remaining(now), 10ms);
  EXPECT_EQ(deadline.remaining(now + 1h), 0ms);
  EXPECT_TRUE(deadline.expired(now + 10ms));
  EXPECT_EQ(deadline.within(4ms, now).when(), now + 4ms);
  EXPECT_EQ(deadline.within(1h, now).when(), now + 10ms);
}

TEST(Random, SameSeedSameSequenceInsideTheBound) {
  SeededRandom a(7);
  SeededRandom b(7);
  for (int i = 0; i < 1000; ++i) {
    const auto value = a.below(10);
    EXPECT_LT(value, 10u);
    EXPECT_EQ(value, b.below(10));
  }
  EXPECT_EQ(a.below(0), 0u);
}

TEST(Secret, IsNotPrintedAndComparesWholeOnly) {
  const Secret key("hunter2");
  EXPECT_EQ(fmt::format("{}", key), "***");
  EXPECT_TRUE(key.equals("hunter2"));
  EXPECT_FALSE(key.equals("hunter"));
  EXPECT_FALSE(key.equals("hunter22"));
  EXPECT_FALSE(key.equals(""));
  EXPECT_FALSE(Secret().equals(""));
}

TEST(Uuid, PrintsAndParsesTheSame) {
  const std::string text = "018bd8f5-6a3b-7cc0-8000-0123456789ab";
  const auto id = parse_uuid(text);
  ASSERT_TRUE(id);
  EXPECT_EQ(id->to_string(), text);
  EXPECT_EQ(id->version(), 7);
  for (const char* bad :
       {"", "018bd8f5", "018bd8f5-6a3b-7cc0-8000-0123456789ag", "018bd8f5-6a3b-7cc0-80000-123456789ab",
        "{18bd8f5-6a3b-7cc0-8000-0123456789ab}", "018bd8f56a3b7cc080000123456789ab0000"}) {
    EXPECT_FALSE(parse_uuid(bad)) << bad;
  }
}

TEST(Uuid, Version7CarriesItsMillisecondAndOrdersByIt) {
  SeededRandom random(1);
  const WallTime when = WallTime(1700157423979960us);
  const auto id = new_uuid7(when, random);
  EXPECT_EQ(id.version(), 7);
  EXPECT_EQ(id.bytes[8] >> 6, 2);  // the variant of RFC 9562
  EXPECT_EQ(id.time().time_since_epoch(), 1700157423979ms);
  EXPECT_LT(id, new_uuid7(when + 1ms, random));
}

TEST(TimeText, ReadsWhatItWritesAndOffsets) {
  const auto time = parse_time("2026-11-25T00:41:07.123456Z");
  ASSERT_TRUE(time);
  EXPECT_EQ(format_time(*time), "2026-11-25T00:41:07.123456Z");
  EXPECT_EQ(parse_time("2026-11-25T02:41:07.123456+02:00"), time);
  EXPECT_EQ(parse_time("2026-11-25 00:41:07.1234569Z"), time);
  EXPECT_EQ(format_time(*parse_time("2024-02-29T23:59:59Z")), "2024-02-29T23:59:59Z");
  // The first and the last moment, and an offset that brings one into the range.
  EXPECT_EQ(format_time(*parse_time("1969-12-31T23:00:00-01:00")), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time(*parse_time("9999-12-31T23:59:59.999999Z")), "9999-12-31T23:59:59.999999Z");
}

// The 48 bits of a version 7 id reach beyond the years that a text can name; errors print them all the same.
TEST(TimeText, WritesAYearOfFiveDigits) {
  EXPECT_EQ(format_time(make_uuid7({}, 0, 0).time()), "1970-01-01T00:00:00Z");
  Uuid last;
  last.bytes.fill(0xFF);
  EXPECT_EQ(format_time(last.time()), "10889-08-02T05:31:50.655000Z");
}

TEST(TimeText, RefusesWhatIsNotRfc3339) {
  for (const char* bad :
       {"", "2026-11-25", "2026-02-29T00:00:00Z", "2026-11-25T24:00:00Z", "2026-11-25T00:00:60Z",
        "2026-11-25T00:00:00", "2026-11-25T00:00:00.Z", "2026-11-25T00:00:00.1234567890Z",
        "2026-11-25T00:00:00+24:00", "1969-12-31T00:00:00Z", "2026-11-25T00:00:00Zx",
        "1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"}) {
    EXPECT_FALSE(parse_time(bad)) << bad;
  }
}

TEST(TimeText, ADayIsItsMidnightInUtc) {
  EXPECT_EQ(parse_day_or_time("2026-11-25"), parse_time("2026-11-25T00:00:00Z"));
  EXPECT_EQ(parse_day_or_time("2026-11-25T02:00:00+02:00"), parse_time("2026-11-25T00:00:00Z"));
  for (const char* bad : {"", "2026-02-29", "2026-1-0001", "25.11.2026", "2026-11-25Z", "2026-11",
                          "1969-12-31", "tomorrow!!"}) {
    EXPECT_FALSE(parse_day_or_time(bad)) << bad;
  }
}

TEST(Bytes, Crc32cAgreesWithRfc3720) {
  // RFC 3720, appendix B.4.
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\0'))), 0x8A9136AAu);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\xFF'))), 0x62A8AB43u);
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c(as_bytes("6789"), crc32c(as_bytes("12345"))), 0xE3069283u);
}

TEST(Bytes, IntegersAndHexadecimalGoBothWays) {
  std::string out;
  append_be<std::int32_t>(out, -2);
  append_le<std::uint16_t>(out, 0x1234);
  EXPECT_EQ(to_hex(as_bytes(out)), "fffffffe3412");
  EXPECT_EQ(from_hex("FFfffffe3412"), out);
  EXPECT_EQ(load_be<std::int32_t>(out.data()), -2);
  EXPECT_FALSE(from_hex("abc"));
  EXPECT_FALSE(from_hex("zz"));
  std::array<std::byte, 2> raw{};
  EXPECT_TRUE(read_hex("3Ac4", raw));
  EXPECT_EQ(to_hex(raw), "3ac4");
  EXPECT_FALSE(read_hex("3ac", raw));
  EXPECT_FALSE(read_hex("3ac4ff", raw)) << "more than there is room for";
  EXPECT_FALSE(read_hex("3acg", raw));
}

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/citadel-base-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(FileTest, ADurableWriteReplacesTheWholeAndSetsTheMode) {
  const auto path = folder_ / "key";
  ASSERT_TRUE(write_file_durably(path, "first, and longer", 0644));
  ASSERT_TRUE(write_file_durably(path, "second\n", 0600));
  EXPECT_EQ(read_file(path, 100).value(), "second\n");
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
  EXPECT_EQ(read_secret_file(path).value(), "second");
}

TEST_F(FileTest, ASecretThatEverybodyMayReadIsRefused) {
  const auto path = folder_ / "key";
  ASSERT_TRUE(write_file_durably(path, "second\n", 0644));
  EXPECT_EQ(read_secret_file(path).error().code, Code::permission_denied);
  ASSERT_TRUE(write_file_durably(path, "\n", 0600));
  EXPECT_EQ(read_secret_file(path).error().code, Code::invalid_argument);
  EXPECT_EQ(read_secret_file(folder_ / "none").error().code, Code::not_found);
  // Whoever did as for a file would close a folder that others need.
  const auto of_a_folder = read_secret_file(folder_);
  ASSERT_FALSE(of_a_folder);
  EXPECT_EQ(of_a_folder.error().code, Code::invalid_argument);
  EXPECT_EQ(of_a_folder.error().message.find("chmod"), std::string::npos) << of_a_folder.error().message;
}

TEST_F(FileTest, AFileOverTheLimitIsRefused) {
  const auto path = folder_ / "large";
  ASSERT_TRUE(write_file_durably(path, std::string(101, 'x'), 0600));
  EXPECT_EQ(read_file(path, 100).error().code, Code::invalid_argument);
  EXPECT_EQ(read_file(path, 101).value().size(), 101u);
}

TEST_F(FileTest, AFullDeviceIsStorageFull) {
  const UniqueFd full(::open("/dev/full", O_WRONLY));
  ASSERT_TRUE(full);
  EXPECT_EQ(::write(full.get(), "x", 1), -1);
  EXPECT_EQ(fail_errno(errno, "write").error().code, Code::storage_full);
}

TEST_F(FileTest, AFailedDurableWriteLeavesTheOldFileAndNothingElse) {
  const auto path = folder_ / "key";
  std::filesystem::create_directories(path / "in the way");
  EXPECT_FALSE(write_file_durably(path, "secret", 0600));  // a file does not replace a folder
  EXPECT_FALSE(std::filesystem::exists(folder_ / "key.new"));
  EXPECT_TRUE(std::filesystem::is_directory(path));
}

TEST_F(FileTest, WriteAllNamesTheFileAndTheReason) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const auto written = write_all(full.get(), "x", "/dev/full");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::storage_full);
  EXPECT_THAT(written.error().message, HasSubstr("write /dev/full"));
}

TEST(Quote, EscapesControlCharactersAndReplacesBadUtf8) {
  std::string out;
  append_quoted(out, std::string_view("a\"\\\n\r\t\0\x7F\u00e9", 10));
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\r\\t\\u0000\\u007f\u00e9\"");
  for (const std::string_view bad : {"\xFF", "\xC0", "\xE2\x82", "\xED\xA0\x80", "\xF5", "\xC3"}) {
    std::string replaced;
    append_escaped(replaced, bad);
    EXPECT_THAT(replaced, testing::StartsWith("\uFFFD")) << to_hex(as_bytes(bad));
  }
}

// Texts are looked at by words that overlap: each byte counts, wherever it stands in whatever length.
TEST(Utf8, AByteIsSeenAtEveryPlaceOfEveryLength) {
  for (std::size_t length = 1; length <= 40; ++length) {
    const std::string plain(length, 'a');
    EXPECT_TRUE(is_utf8(plain) && !has_control(plain)) << length;
    for (std::size_t at = 0; at < length; ++at) {
      for (const char bad : {'\xFF', '\x00', '\x1F', '\x7F', '"', '\\', '\x20', '\x7E'}) {
        std::string text = plain;
        text[at] = bad;
        EXPECT_EQ(is_utf8(text), bad != '\xFF') << length << " " << at;
        EXPECT_EQ(has_control(text), bad == '\x00' || bad == '\x1F' || bad == '\x7F') << length << " " << at;
        std::string quoted, escaped;
        append_quoted(quoted, text);
        append_escaped(escaped, text);
        EXPECT_EQ(quoted, '"' + escaped + '"') << length << " " << at;
        EXPECT_EQ(escaped == text, bad == '\x20' || bad == '\x7E') << length << " " << at;
      }
    }
  }
  EXPECT_TRUE(is_utf8(""));
  EXPECT_FALSE(has_control(""));
  EXPECT_FALSE(has_control("\u00e4\u00a0\u20ac"));
}

TEST(Log, OneEventIsOneLineAndSecretsAreMasked) {
  const auto text =
      log::render(log::Format::text, "pool", "opened", {{"pid", 7}, {"user", "a b"}, {"key", Secret("x")}});
  EXPECT_EQ(text, "pool      opened pid=7 user=\"a b\" key=***");
  const auto json =
      log::render(log::Format::json, "pool", "a\nb", {{"ok", true}, {"text", "\"\x01"}, {"ms", 1.5}});
  EXPECT_EQ(json, R"("room":"pool","message":"a\nb","ok":true,"text":"\"\u0001","ms":1.5)");
  EXPECT_EQ(log::render(log::Format::json, "x", "bad \xFF", {{"most", ~std::uint64_t{0}}}),
            "\"room\":\"x\",\"message\":\"bad \uFFFD\",\"most\":18446744073709551615");
  EXPECT_THAT(log::render(log::Format::text, "x", "forged\n2026 line", {}), Not(HasSubstr("\n")));
}

TEST(EditDistance, CountsSingleEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("size_max", "size_max"), 0u);
  EXPECT_EQ(edit_distance("sise_max", "size_max"), 1u);
  EXPECT_EQ(edit_distance("szie_max", "size_max"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Nearest, IsGivenOnlyWhereItIsNear) {
  const std::vector<std::string> names{"size_min", "size_max", "listen"};
  EXPECT_EQ(nearest("size_mxa", names), "size_max");
  EXPECT_EQ(nearest("lisen", names), "listen");
  EXPECT_EQ(nearest("list", std::vector<std::string>{"listeners"}), "listeners");
  EXPECT_EQ(nearest("completely_other", names), "");
  EXPECT_EQ(nearest("x", names), "");
  EXPECT_EQ(nearest(std::string(1000, 'x'), names), "");
}

}  // namespace
}  // namespace citadel
