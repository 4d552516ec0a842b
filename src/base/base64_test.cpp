#include "base/base64.hpp"

#include <gtest/gtest.h>

#include "base/random.hpp"
#include "base/utf8.hpp"

namespace citadel {
namespace {

// RFC 4648 section 10.
TEST(Base64, VectorsOfTheRfc) {
  for (const auto& [bytes, text] :
       std::initializer_list<std::pair<std::string_view, std::string_view>>{{"", ""},
                                                                            {"f", "Zg=="},
                                                                            {"fo", "Zm8="},
                                                                            {"foo", "Zm9v"},
                                                                            {"foob", "Zm9vYg=="},
                                                                            {"fooba", "Zm9vYmE="},
                                                                            {"foobar", "Zm9vYmFy"}}) {
    EXPECT_EQ(to_base64(as_bytes(bytes)), text);
    EXPECT_EQ(from_base64(text), bytes);
  }
}

TEST(Base64, BytesOfAnyValueAndLengthComeBack) {
  SeededRandom random(7);
  for (std::size_t size = 0; size < 200; ++size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.next());
    EXPECT_EQ(from_base64(to_base64(as_bytes(bytes))), bytes);
  }
}

TEST(Base64, RefusesWhatIsNotTheOneForm) {
  for (const auto* text : {"Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zm9v=", "Zg==Zg==", "Zm=v", "Zm8=\n",
                           "Zm 8", "Zm9\n", "Zm9-", "Zm9_", " Zm9", "Zm9\xC3"}) {
    EXPECT_EQ(from_base64(text), std::nullopt) << text;
  }
}

TEST(Base64, RefusesBitsBehindTheLastByte) {
  // "Zg==" with each other last digit, "Zm8=" with each other one.
  EXPECT_EQ(from_base64("Zh=="), std::nullopt);
  EXPECT_EQ(from_base64("Zm9="), std::nullopt);
  int accepted = 0;
  for (int c = 0; c < 256; ++c) {
    const char last = static_cast<char>(c);
    accepted += from_base64(std::string("Z") + last + "==").has_value();
  }
  EXPECT_EQ(accepted, 4) << "two of the six bits count";
}

TEST(Utf8, TakesEachLengthAndRefusesWhatRfc3629Forbids) {
  for (const auto* text : {"", "a", "\xC3\xA9", "\xE2\x80\x94", "\xF0\x9F\x94\x92", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(text)) << text;
  }
  for (const auto* text : {"\x80", "\xC3", "\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x80",
                           "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\xFF"}) {
    EXPECT_FALSE(is_utf8(text)) << text;
  }
}

TEST(Utf8, FindsABadByteAtEachPlaceOfALongText) {
  for (std::size_t size = 1; size < 40; ++size) {
    EXPECT_TRUE(is_utf8(std::string(size, 'a')));
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, 'a');
      text[at] = '\xFF';
      EXPECT_FALSE(is_utf8(text)) << size << " " << at;
    }
  }
}

TEST(Base64, ABufferThatIsUsedAgainHoldsTheLastTextAlone) {
  std::string buffer;
  EXPECT_TRUE(from_base64("bG9uZ2Vy", buffer));
  EXPECT_TRUE(from_base64("YQ==", buffer));
  EXPECT_EQ(buffer, "a");
  EXPECT_FALSE(from_base64("YQ=", buffer));
  EXPECT_TRUE(from_base64("", buffer));
  EXPECT_EQ(buffer, "");
}

}  // namespace
}  // namespace citadel
