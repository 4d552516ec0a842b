#include "support/first_start.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <string>

#include "support/temp_folder.hpp"

namespace citadel::support {
namespace {

class FirstStart : public testing::Test {
 protected:
  void SetUp() override { ::setenv("CITADEL_TEST_TEMPLATE", (root_ / "made").c_str(), 1); }
  void TearDown() override { ::unsetenv("CITADEL_TEST_TEMPLATE"); }

  // A folder with a copy in it.
  std::filesystem::path copied(std::string_view name) {
    const auto data = root_ / name;
    std::filesystem::create_directory(data);
    copy_first_start(data, [this](const std::filesystem::path& fresh) {
      ++starts_;
      std::filesystem::create_directories(fresh / "log");
      std::ofstream(fresh / "file") << "of start " << starts_;
    });
    return data;
  }
  static std::string read(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const TempFolder root_;
  int starts_ = 0;
};

TEST_F(FirstStart, IsDoneOnceAndCopiedWithoutItsLog) {
  const auto one = copied("one");
  EXPECT_EQ(read(one / "file"), "of start 1");
  EXPECT_FALSE(std::filesystem::exists(one / "log"));
  std::ofstream(one / "file") << "changed";
  EXPECT_EQ(read(copied("other") / "file"), "of start 1");
  EXPECT_EQ(starts_, 1);
}

TEST_F(FirstStart, WhatIsHalfMadeOrOfAnotherBuildIsNotCopied) {
  const auto program = std::filesystem::read_symlink("/proc/self/exe").filename().string();
  for (const auto& name : {program + "-of-another-build", program + ".new"}) {
    std::filesystem::create_directories(root_ / "made" / name);
    std::ofstream(root_ / "made" / name / "file") << "old";
  }
  EXPECT_EQ(read(copied("one") / "file"), "of start 1");
  EXPECT_FALSE(std::filesystem::exists(root_ / "made" / (program + "-of-another-build")));
}

TEST_F(FirstStart, WithoutAFolderForThemNothingIsCopied) {
  ::unsetenv("CITADEL_TEST_TEMPLATE");
  EXPECT_TRUE(std::filesystem::is_empty(copied("one")));
  EXPECT_EQ(starts_, 0);
}

}  // namespace
}  // namespace citadel::support
