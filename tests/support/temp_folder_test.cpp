#include "support/temp_folder.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <optional>
#include <set>
#include <thread>

#include "support/ports.hpp"
#include "support/process.hpp"

namespace citadel::support {
namespace {

using namespace std::chrono_literals;

TEST(TempFolder, GoesWithAllThatIsInIt) {
  std::filesystem::path path;
  {
    const TempFolder folder("gone");
    path = folder.path();
    std::filesystem::create_directories(folder / "a/b");
    std::ofstream(folder / "a/b/c") << "x";
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

// TMPDIR as long as this lives.
class TmpdirIs {
 public:
  explicit TmpdirIs(const std::string& value) {
    if (const char* was = ::getenv("TMPDIR")) was_ = was;
    ::setenv("TMPDIR", value.c_str(), 1);
  }
  ~TmpdirIs() {
    if (was_) {
      ::setenv("TMPDIR", was_->c_str(), 1);
    } else {
      ::unsetenv("TMPDIR");
    }
  }
  TmpdirIs(const TmpdirIs&) = delete;

 private:
  std::optional<std::string> was_;
};

TEST(TempFolder, IsWhereTmpdirSays) {
  const TmpdirIs plain("/tmp");
  const TempFolder outer("out");
  const TmpdirIs inside(outer.path());
  EXPECT_EQ(TempFolder("in").path().parent_path(), outer.path());
}

TEST(TempFolder, ATmpdirThatLeavesNoRoomForASocketIsPassedOver) {
  const TmpdirIs plain("/tmp");
  const TempFolder outer("long");
  const auto deep = outer / std::string(60, 'x');
  std::filesystem::create_directory(deep);
  const TmpdirIs inside(deep);
  EXPECT_EQ(TempFolder("in").path().parent_path(), "/tmp");
}

TEST(TempFolder, ARelativeTmpdirIsPassedOver) {
  const TmpdirIs inside("here");
  EXPECT_EQ(TempFolder("in").path().parent_path(), "/tmp");
}

TEST(Ports, EachIsGivenOnce) {
  std::set<std::uint16_t> seen;
  for (int n = 0; n < 50; ++n) {
    const auto port = reserve_port();
    EXPECT_GE(port, 20000);
    EXPECT_LT(port, 30000);
    EXPECT_TRUE(seen.insert(port).second) << port;
  }
}

TEST(Ports, AnotherProcessCannotTakeIt) {
  const auto path = "/tmp/citadel-test-ports/" + std::to_string(reserve_port());
  EXPECT_EQ(run_process({"flock", "-n", path, "true"}, "", Deadline::after(10s)).status, 1);
}

}  // namespace
}  // namespace citadel::support
