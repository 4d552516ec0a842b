#include "access/key.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>
#include <set>

namespace citadel::access {
namespace {

using testing::HasSubstr;

const std::string good = "ck_Abcdef12_" + std::string(32, 'x');

TEST(Key, HasItsFormAndIsNewEachTime) {
  std::set<std::string> prefixes, texts;
  std::set<char> letters;
  for (int i = 0; i < 200; ++i) {
    const auto key = make_key();
    ASSERT_EQ(prefix_of(key.text.reveal()), key.prefix) << key.text.reveal();
    prefixes.insert(key.prefix);
    texts.insert(key.text.reveal());
    for (const char c : key.text.reveal().substr(12)) letters.insert(c);
  }
  EXPECT_EQ(prefixes.size(), 200u);
  EXPECT_EQ(texts.size(), 200u);
  EXPECT_EQ(letters.size(), 62u);
}

TEST(Key, WhatIsNoKeyHasNoPrefix) {
  EXPECT_EQ(prefix_of(good), "Abcdef12");
  for (const std::string& bad :
       {std::string(), std::string("ck_"), good.substr(1), good + "x", good.substr(0, good.size() - 1),
        "xk" + good.substr(2), "ck_Abcdef1-_" + std::string(32, 'x'), "ck_Abcdef123" + std::string(32, 'x'),
        "ck_Abcdef12_" + std::string(31, 'x') + "_", "ck_Abcdef12_" + std::string(31, 'x') + '\0'})
    EXPECT_EQ(prefix_of(bad), std::nullopt) << bad;
}

// The value is from: printf %s ck_… | openssl dgst -sha256 -hmac PEPPER
TEST(Pepper, HashesTheWholeKeyAsHmacSha256) {
  const Pepper pepper(Secret("a pepper of at least 32 characters"));
  EXPECT_EQ(to_hex(pepper.hash(good)), "4195ec04656eaa443e7ece57144b63f8866be1039f701d8d9c0e3db03eae1510");
  EXPECT_NE(pepper.hash(good), pepper.hash("ck_Abcdef12_" + std::string(31, 'x') + 'y'));
  EXPECT_NE(pepper.hash(good), Pepper(Secret("another pepper, of 32 characters")).hash(good));
  EXPECT_NE(pepper.fingerprint(), Pepper(Secret("another pepper, of 32 characters")).fingerprint());
}

class PepperFile : public testing::Test {
 protected:
  PepperFile() {
    char name[] = "/tmp/citadel-pepper-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    file_ = folder_ / "new" / "access.pepper";
  }
  ~PepperFile() override { std::filesystem::remove_all(folder_); }
  void write(std::string_view text, mode_t mode) {
    std::ofstream(file_) << text;
    ASSERT_EQ(::chmod(file_.c_str(), mode), 0);
  }
  std::filesystem::path folder_, file_;
};

TEST_F(PepperFile, IsMadeOnceForItsOwnerAlone) {
  const auto made = load_or_make_pepper(file_);
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_TRUE(made->made);
  struct stat about{};
  ASSERT_EQ(::stat(file_.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  const auto read = load_or_make_pepper(file_);
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_FALSE(read->made);
  EXPECT_EQ(read->pepper.hash(good), made->pepper.hash(good));
}

TEST_F(PepperFile, IsRefusedWhereItIsShortOrOpenToOthers) {
  std::filesystem::create_directory(file_.parent_path());
  write("short\n", 0600);
  const auto brief = load_or_make_pepper(file_);
  ASSERT_FALSE(brief);
  EXPECT_EQ(brief.error().code, Code::invalid_argument);
  EXPECT_THAT(brief.error().message, HasSubstr("access.pepper_file"));
  EXPECT_THAT(brief.error().message, testing::Not(HasSubstr("short\n")));
  write(std::string(40, 'p'), 0644);
  EXPECT_FALSE(load_or_make_pepper(file_));
}

}  // namespace
}  // namespace citadel::access
