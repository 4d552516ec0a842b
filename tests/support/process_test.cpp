#include "support/process.hpp"

#include <gtest/gtest.h>
#include <signal.h>

namespace citadel::support {
namespace {

using namespace std::chrono_literals;

const auto patience = 20s;

TEST(Process, OutputErrorsAndExitCodeAreCollected) {
  const auto ended =
      run_process({"sh", "-c", "cat; echo bad >&2; exit 3"}, "given\n", Deadline::after(patience));
  EXPECT_EQ(ended.status, 3);
  EXPECT_EQ(ended.out, "given\n");
  EXPECT_EQ(ended.err, "bad\n");
}

TEST(Process, LinesComeAsTheyAreWritten) {
  Process process({"sh", "-c", "echo one; read line; echo got $line"});
  EXPECT_EQ(process.read_line(Deadline::after(patience)), "one");
  EXPECT_EQ(process.read_line(Deadline::after(20ms)), std::nullopt);
  process.write("two\n");
  EXPECT_EQ(process.read_line(Deadline::after(patience)), "got two");
  EXPECT_EQ(process.read_line(Deadline::after(patience)), std::nullopt);
  EXPECT_EQ(process.wait(Deadline::after(patience)), 0);
}

TEST(Process, SignalsAreNegativeStatus) {
  Process process({"sleep", "600"});
  EXPECT_EQ(process.wait(Deadline::after(20ms)), std::nullopt);
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(Deadline::after(patience)), -SIGTERM);
}

TEST(Process, DestructorLeavesNothing) {
  pid_t pid = -1;
  {
    const Process process({"sleep", "600"});
    pid = process.pid();
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST(Process, MissingProgramEndsWith127) {
  EXPECT_EQ(run_process({"/no/such/program"}, "", Deadline::after(patience)).status, 127);
}

TEST(Process, EnvironmentAndFolderAreGiven) {
  const auto ended = run_process({"sh", "-c", "echo $GIVEN; pwd"}, "", Deadline::after(patience),
                                 {.environment = {{"GIVEN", "here"}}, .folder = "/usr"});
  EXPECT_EQ(ended.out, "here\n/usr\n");
}

TEST(Process, LargeOutputDoesNotBlock) {
  const auto ended = run_process({"sh", "-c", "head -c 3000000 /dev/zero; head -c 1000000 /dev/zero >&2"}, "",
                                 Deadline::after(patience));
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(ended.out.size(), 3000000u);
  EXPECT_EQ(ended.err.size(), 1000000u);
}

}  // namespace
}  // namespace citadel::support
