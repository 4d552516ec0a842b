#include "local/supervisor.hpp"

#include <signal.h>

#include <atomic>
#include <fstream>
#include <stop_token>
#include <thread>

#include "local/test_tools.hpp"

namespace citadel::local {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(LocalSupervisor, PausesGrowToALimit) {
  EXPECT_EQ(restart_pause(1), 0ms);
  EXPECT_EQ(restart_pause(2), 200ms);
  EXPECT_EQ(restart_pause(3), 400ms);
  EXPECT_EQ(restart_pause(8), 10s);
  EXPECT_EQ(restart_pause(4'000'000'000), 10s);
}

class LocalSupervisorTest : public testing::Test {
 protected:
  Supervisor::Program shell(const std::string& script) {
    return {.name = "program",
            .command = {.arguments = {"/bin/sh", "-c", script},
                        .folder = folder_.path(),
                        .death_signal = SIGKILL},
            .log = folder_ / "log",
            .stop_signal = SIGINT,
            .abort_signal = SIGQUIT,
            .clean_up = [this](pid_t) -> Result<void> {
              ++cleaned_;
              return {};
            },
            .ready = [this](pid_t) { return std::filesystem::exists(folder_ / "ready"); }};
  }
  Folder folder_;
  std::atomic<int> cleaned_ = 0;
};

TEST_F(LocalSupervisorTest, StartWaitsUntilReady) {
  Supervisor supervisor(self(), {shell("sleep 0.1; touch ready; exec sleep 600")});
  ASSERT_TRUE(supervisor.start(0, Deadline::after(patience)));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "ready"));
  EXPECT_EQ(supervisor.status(0).state, State::running);
  ASSERT_TRUE(supervisor.stop(0, Deadline::after(patience)));
  EXPECT_EQ(supervisor.status(0).state, State::stopped);
  EXPECT_EQ(supervisor.status(0).pid, -1);
}

TEST_F(LocalSupervisorTest, DeathDuringStartGivesTheLogsTail) {
  Supervisor supervisor(self(), {shell("echo cannot find my hat; exit 7")});
  const auto failed = supervisor.start(0, Deadline::after(patience));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::unavailable);
  EXPECT_THAT(failed.error().message, HasSubstr("exit code 7"));
  EXPECT_THAT(failed.error().message, HasSubstr("cannot find my hat"));
  EXPECT_EQ(supervisor.status(0).state, State::stopped);
}

TEST_F(LocalSupervisorTest, NeverReadyEndsAtTheDeadline) {
  Supervisor supervisor(self(), {shell("echo still thinking; exec sleep 600")});
  const auto late = supervisor.start(0, Deadline::after(300ms));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::deadline_exceeded);
  EXPECT_THAT(late.error().message, HasSubstr("still thinking"));
}

TEST_F(LocalSupervisorTest, AStopThatIsAskedForEndsTheWaitForAStart) {
  std::stop_source stop;
  std::jthread asker([&] {
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(folder_ / "begun"); }));
    stop.request_stop();
  });
  Supervisor supervisor(self(), {shell("touch begun; exec sleep 600")});
  const auto cancelled = supervisor.start(0, Deadline::after(10 * patience), stop.get_token());
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Code::cancelled);
  ASSERT_TRUE(supervisor.stop(0, Deadline::after(patience)));
  EXPECT_EQ(supervisor.status(0).pid, -1);
  EXPECT_EQ(supervisor.start(0, Deadline::after(10 * patience), stop.get_token()).error().code,
            Code::cancelled);
}

TEST_F(LocalSupervisorTest, AStopDuringTheFirstLaunchWaitsForIt) {
  auto program = shell("touch alive; exec sleep 600");
  std::atomic<bool> cleaning = false, go_on = false;
  program.clean_up = [&](pid_t) -> Result<void> {
    cleaning = true;
    EXPECT_TRUE(eventually([&] { return go_on.load(); }));
    return {};
  };
  std::stop_source given_up;
  Supervisor supervisor(self(), {program});
  std::jthread starter([&] { (void)supervisor.start(0, Deadline::after(patience), given_up.get_token()); });
  ASSERT_TRUE(eventually([&] { return cleaning.load(); }));
  given_up.request_stop();
  starter.join();
  EXPECT_FALSE(supervisor.stop(0, Deadline::after(50ms))) << "it is not stopped while it is about to begin";
  go_on = true;
  ASSERT_TRUE(supervisor.stop(0, Deadline::after(patience)));
  EXPECT_EQ(supervisor.status(0).pid, -1);
}

TEST_F(LocalSupervisorTest, ProgramThatDiesIsStartedAgain) {
  Supervisor supervisor(self(), {shell("touch ready; exec sleep 600")});
  ASSERT_TRUE(supervisor.start(0, Deadline::after(patience)));
  const auto before = supervisor.status(0).pid;
  ASSERT_TRUE(supervisor.kill(0, SIGKILL));
  EXPECT_TRUE(eventually(
      [&] { return supervisor.status(0).restarts == 1 && supervisor.status(0).state == State::running; }));
  EXPECT_NE(supervisor.status(0).pid, before);
  EXPECT_THAT(supervisor.status(0).last_failure, HasSubstr("signal 9"));
  EXPECT_EQ(cleaned_, 2);
}

TEST_F(LocalSupervisorTest, ProgramThatNeitherServesNorEndsIsStartedAgain) {
  auto program = shell("touch ready; exec sleep 600");
  std::atomic<int> looks = 0;
  std::atomic<pid_t> broken = 0;
  program.broken = [&](pid_t pid) { return ++looks > 1 && pid == broken; };
  program.look_every = 10ms;
  Supervisor supervisor(self(), {program});
  ASSERT_TRUE(supervisor.start(0, Deadline::after(patience)));
  ASSERT_TRUE(eventually([&] { return looks > 5; }));
  EXPECT_EQ(supervisor.status(0).restarts, 0u) << "as long as it is whole";
  broken = supervisor.status(0).pid;
  EXPECT_TRUE(eventually(
      [&] { return supervisor.status(0).restarts == 1 && supervisor.status(0).state == State::running; }));
  EXPECT_NE(supervisor.status(0).pid, broken);
  EXPECT_THAT(supervisor.status(0).last_failure, HasSubstr("signal 9"));
}

TEST_F(LocalSupervisorTest, CrashLoopIsSaidAndStillStops) {
  Supervisor supervisor(self(),
                        {shell("test -e broken && { echo broken; exit 1; }; touch ready; exec sleep 600")});
  ASSERT_TRUE(supervisor.start(0, Deadline::after(patience)));
  std::ofstream(folder_ / "broken") << "yes";
  ASSERT_TRUE(supervisor.kill(0, SIGKILL));
  EXPECT_TRUE(eventually([&] { return supervisor.status(0).state == State::crash_loop; }));
  EXPECT_THAT(supervisor.status(0).last_failure, HasSubstr("broken"));
  EXPECT_TRUE(supervisor.stop(0, Deadline::after(patience)));
  EXPECT_EQ(supervisor.kill(0, SIGKILL).error().code, Code::not_found);
}

TEST_F(LocalSupervisorTest, DeafProgramIsKilledByTheDeadline) {
  Supervisor supervisor(self(), {shell("trap '' INT QUIT; touch ready; while :; do sleep 0.05; done")});
  ASSERT_TRUE(supervisor.start(0, Deadline::after(patience)));
  const auto began = Monotonic::now();
  EXPECT_TRUE(supervisor.stop(0, Deadline::after(300ms)));
  EXPECT_LT(Monotonic::now() - began, 5s);
}

TEST_F(LocalSupervisorTest, FailedCleanUpCountsAsADeath) {
  auto program = shell("touch ready; exec sleep 600");
  program.clean_up = [](pid_t) -> Result<void> {
    return fail(Code::deadline_exceeded, "an old process stays");
  };
  Supervisor supervisor(self(), {program});
  const auto failed = supervisor.start(0, Deadline::after(patience));
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("an old process stays"));
}

TEST_F(LocalSupervisorTest, LargeLogIsPutAside) {
  auto program = shell("touch ready; exec sleep 600");
  {
    std::ofstream(program.log) << "the end of an old line\n";
    std::filesystem::resize_file(program.log, log_bytes_max);
  }
  Supervisor supervisor(self(), {program});
  ASSERT_TRUE(supervisor.start(0, Deadline::after(patience)));
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(folder_ / "log.1"); }));
  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(folder_ / "log") == 0; }));
}

TEST(LocalLog, TailStartsAtALine) {
  const Folder folder;
  EXPECT_EQ(log_tail(folder / "none"), "");
  std::ofstream(folder / "short") << "one\ntwo\n";
  EXPECT_EQ(log_tail(folder / "short"), "one\ntwo\n");
  {
    std::ofstream file(folder / "long");
    for (int n = 0; n < 1000; ++n) file << "line " << n << '\n';
  }
  EXPECT_TRUE(log_tail(folder / "long").starts_with("line "));
  EXPECT_TRUE(log_tail(folder / "long").ends_with("line 999\n"));
}

}  // namespace
}  // namespace citadel::local
