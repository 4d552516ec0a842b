#include "local/leftovers.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <fstream>
#include <stop_token>
#include <thread>

#include "base/file.hpp"
#include "local/ports.hpp"
#include "local/spawn.hpp"
#include "local/test_tools.hpp"

namespace citadel::local {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// Listens on a port of the kernel's choice.
class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), size);
    ::listen(fd_.get(), 4);
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  std::uint16_t port() const { return port_; }

 private:
  UniqueFd fd_;
  std::uint16_t port_ = 0;
};

TEST(LocalPorts, ListenerInTheWayIsNamed) {
  std::uint16_t port = 0;
  {
    const Listener listener;
    port = listener.port();
    const auto refused = check_port_free("127.0.0.1", port, "--pgpool-port");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::conflict);
    EXPECT_THAT(refused.error().message,
                HasSubstr(fmt::format("port {} of 127.0.0.1 is in use by local_test (process {})", port,
                                      ::getpid())));
    EXPECT_THAT(refused.error().message, HasSubstr("--pgpool-port"));
  }
  EXPECT_TRUE(check_port_free("127.0.0.1", port, "--pgpool-port"));
  EXPECT_EQ(listener_of(port), "");
}

TEST(LocalPorts, AddressMustBeOne) {
  EXPECT_EQ(check_port_free("localhost!", 1234, "x").error().code, Code::invalid_argument);
}

TEST(LocalPorts, SilentListenerDoesNotAnswer) {
  const Listener listener;
  EXPECT_FALSE(answers("127.0.0.1", listener.port()));
}

TEST(LocalSpawn, RunGivesOutputAndPassesInput) {
  const auto out = run({.arguments = {"/bin/cat"}, .folder = "/", .death_signal = SIGKILL}, self(), "hello",
                       Deadline::after(patience));
  ASSERT_TRUE(out) << out.error().to_string();
  EXPECT_EQ(*out, "hello");
}

TEST(LocalSpawn, FailureCarriesTheOutput) {
  const auto failed =
      run({.arguments = {"/bin/sh", "-c", "echo no good; exit 3"}, .folder = "/", .death_signal = 9}, self(),
          {}, Deadline::after(patience));
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("no good"));
  const auto full = run({.arguments = {"/bin/sh", "-c", "echo No space left on device; exit 1"},
                         .folder = "/",
                         .death_signal = 9},
                        self(), {}, Deadline::after(patience));
  EXPECT_EQ(full.error().code, Code::storage_full);
}

TEST(LocalSpawn, DeadlineEndsTheProgram) {
  const auto late = run({.arguments = {"/bin/sleep", "60"}, .folder = "/", .death_signal = SIGKILL}, self(),
                        {}, Deadline::after(50ms));
  EXPECT_EQ(late.error().code, Code::deadline_exceeded);
}

TEST(LocalSpawn, AStopEndsTheProgramAndWhatItStarted) {
  const Folder folder;
  std::stop_source stop;
  std::jthread asker([&] {
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(folder / "begun"); }));
    stop.request_stop();
  });
  const auto cancelled = run({.arguments = {"/bin/sh", "-c", "/bin/sleep 600 & touch begun; /bin/sleep 600"},
                              .folder = folder.path(),
                              .death_signal = SIGKILL},
                             self(), {}, Deadline::after(10 * patience), stop.get_token());
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Code::cancelled);
  EXPECT_TRUE(eventually([&] { return find_processes(folder.path(), "sleep", self()).empty(); }));
}

TEST(LocalSpawn, MissingProgramIsAnErrorOfStart) {
  const auto missing =
      spawn({.arguments = {"/no/such/program"}, .folder = "/", .death_signal = 0}, self(), -1, -1);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
}

TEST(LocalSpawn, DescriptorsAreNotInherited) {
  const UniqueFd open(::socket(AF_INET, SOCK_STREAM, 0));  // without CLOEXEC, as a library may make it
  const auto list = run({.arguments = {"/bin/sh", "-c", "ls /proc/self/fd | sort -n | tail -n 1"},
                         .folder = "/",
                         .death_signal = 9},
                        self(), {}, Deadline::after(patience));
  ASSERT_TRUE(list);
  EXPECT_LE(std::stoi(*list), 3);  // ls itself has the folder open
}

TEST(LocalLeftovers, OnlyTheProgramInTheFolderIsEnded) {
  const Folder folder;
  std::filesystem::create_directories(folder / "here");
  std::filesystem::create_directories(folder / "there");
  const auto start = [&](const char* place) {
    return spawn({.arguments = {"/bin/sleep", "600"}, .folder = folder / place, .death_signal = SIGKILL},
                 self(), -1, -1)
        .value();
  };
  const auto here = start("here"), there = start("there");
  EXPECT_EQ(find_processes(folder / "here", "sleep", self()), std::vector{here.pid});
  EXPECT_TRUE(find_processes(folder / "here", "postgres", self()).empty());
  const auto gone =
      end_processes(folder / "here", "sleep", self(), here.pid, SIGINT, Deadline::after(patience));
  ASSERT_TRUE(gone);
  EXPECT_EQ(*gone, std::vector{here.pid});
  EXPECT_EQ(ended(here), "signal 2");
  EXPECT_EQ(ended(there), std::nullopt);
  ::kill(there.pid, SIGKILL);
  ::waitpid(there.pid, nullptr, 0);
}

TEST(LocalLeftovers, DeafAndStoppedProcessesAreKilled) {
  const Folder folder;
  const auto deaf =
      spawn({.arguments = {"/bin/sh", "-c", "trap '' INT; touch deaf; while :; do sleep 600; done"},
             .folder = folder.path(),
             .death_signal = SIGKILL},
            self(), -1, -1)
          .value();
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(folder / "deaf"); }));
  ::kill(deaf.pid, SIGSTOP);
  const auto name = std::filesystem::canonical("/bin/sh").filename().string();
  EXPECT_TRUE(end_processes(folder.path(), name, self(), deaf.pid, SIGINT, Deadline::after(400ms)));
  EXPECT_EQ(ended(deaf), "signal 9");
  EXPECT_TRUE(end_processes(folder.path(), "sleep", self(), -1, SIGINT, Deadline::after(patience)));
}

TEST(LocalLeftovers, SharedMemoryOfTheDeadGoesAndThatOfTheLivingStays) {
  int ids[2][2] = {};  // [dead, living][shared memory, semaphores]
  const auto make = [&](int* out) {
    out[0] = ::shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    out[1] = ::semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    ::semctl(out[1], 0, SETVAL, 1);
    ::semctl(out[1], 1, SETVAL, 1);
  };
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t dead = ::fork();
  if (dead == 0) {
    make(ids[0]);
    ::_exit(::write(ends[1], ids[0], sizeof ids[0]) == sizeof ids[0] ? 0 : 1);
  }
  ASSERT_EQ(::read(ends[0], ids[0], sizeof ids[0]), static_cast<ssize_t>(sizeof ids[0]));
  ::close(ends[0]);
  ::close(ends[1]);
  ::waitpid(dead, nullptr, 0);
  make(ids[1]);
  EXPECT_EQ(remove_ipc({::getpid()}, self(), Deadline::after(10ms)), 0u);
  EXPECT_EQ(remove_ipc({-1, 0}, self(), Deadline::after(patience)), 0u);
  EXPECT_EQ(remove_ipc({dead}, self(), Deadline::after(patience)), 2u);
  shmid_ds memory{};
  EXPECT_NE(::shmctl(ids[0][0], IPC_STAT, &memory), 0);
  EXPECT_EQ(::shmctl(ids[1][0], IPC_STAT, &memory), 0);
  EXPECT_GE(::semctl(ids[1][1], 0, GETVAL), 0);
  EXPECT_LT(::semctl(ids[0][1], 0, GETVAL), 0);
  ::shmctl(ids[1][0], IPC_RMID, nullptr);
  ::semctl(ids[1][1], 0, IPC_RMID);
}

TEST(LocalLeftovers, PidFileMayEndInAnything) {
  const Folder folder;
  EXPECT_EQ(read_pid_file(folder / "pid"), -1);
  std::ofstream(folder / "pid") << "4711" << '\0';
  EXPECT_EQ(read_pid_file(folder / "pid"), 4711);
  std::ofstream(folder / "pid") << "none";
  EXPECT_EQ(read_pid_file(folder / "pid"), -1);
}

}  // namespace
}  // namespace citadel::local
