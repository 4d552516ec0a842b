#include "support/temp_folder.hpp"

#include <gtest/gtest.h>

#include <fstream>
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
