#include <signal.h>
#include <sys/sem.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "local/pgtest_tools.hpp"

namespace citadel::local {
namespace {

using testing::HasSubstr;

// One pair of servers for all of these tests: each leaves it serving.
class LocalServersKilled : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<support::TempFolder>("killed");
    auto started = start(options_for(*folder_));
    ASSERT_TRUE(started) << started.error().to_string();
    servers_ = std::move(*started);
  }
  static void TearDownTestSuite() {
    servers_.reset();
    folder_.reset();
  }
  void SetUp() override {
    ASSERT_TRUE(servers_);
    ASSERT_TRUE(both_serve(*servers_));
    for (const auto server : {Server::postgres, Server::pgpool}) before_[server] = servers_->status(server);
  }
  void expect_served_again(Server server, std::uint64_t restarts) {
    // Children of a dead Pgpool-II go on serving, so an answer alone proves nothing.
    EXPECT_TRUE(eventually([&] {
      const auto status = servers_->status(server);
      return status.restarts == before_[server].restarts + restarts && status.state == State::running;
    })) << to_string(server);
    EXPECT_TRUE(eventually([&] { return both_serve(*servers_); })) << servers_->status(server).last_failure;
  }

  static inline std::unique_ptr<support::TempFolder> folder_;
  static inline std::unique_ptr<LocalServers> servers_;
  std::map<Server, ServerStatus> before_;
};

TEST_F(LocalServersKilled, PostgresParent) {
  for (std::uint64_t n = 1; n <= 2; ++n) {
    const auto before = servers_->status(Server::postgres).pid;
    ASSERT_TRUE(servers_->kill(Server::postgres, SIGKILL));
    expect_served_again(Server::postgres, n);
    EXPECT_NE(servers_->status(Server::postgres).pid, before);
  }
  EXPECT_THAT(servers_->status(Server::postgres).last_failure, HasSubstr("signal 9"));
}

// As a stop that waits for ever for a child leaves it.
TEST_F(LocalServersKilled, APgpoolWithoutItsChildren) {
  const auto parent = servers_->status(Server::pgpool).pid;
  ASSERT_TRUE(servers_->kill(Server::pgpool, SIGSTOP));
  for (const auto pid : servers_->processes(Server::pgpool)) {
    if (pid != parent) ::kill(pid, SIGKILL);
  }
  expect_served_again(Server::pgpool, 1);
  EXPECT_NE(servers_->status(Server::pgpool).pid, parent);
}

TEST_F(LocalServersKilled, OneBackend) {
  for (const auto pid : servers_->processes(Server::postgres)) {
    if (pid != servers_->status(Server::postgres).pid) {
      ::kill(pid, SIGKILL);
      break;
    }
  }
  expect_served_again(Server::postgres, 0);  // PostgreSQL mends that itself
}

// The kernel's lists of shared memory and semaphores hold nothing that one of the processes made.
void expect_no_ipc_of(const std::set<pid_t>& pids) {
  std::ifstream segments("/proc/sysvipc/shm");
  std::string line;
  std::getline(segments, line);  // the heading: key shmid perms size cpid …
  while (std::getline(segments, line)) {
    std::istringstream fields(line);
    std::string key, id, mode, size;
    pid_t creator = 0;
    fields >> key >> id >> mode >> size >> creator;
    EXPECT_FALSE(pids.contains(creator)) << "segment " << line;
  }
  std::ifstream sets("/proc/sysvipc/sem");
  std::getline(sets, line);  // key semid perms nsems …
  while (std::getline(sets, line)) {
    std::istringstream fields(line);
    std::string key, mode;
    int id = 0, count = 0;
    fields >> key >> id >> mode >> count;
    for (int i = 0; i < count; ++i)
      EXPECT_FALSE(pids.contains(::semctl(id, i, GETPID))) << "semaphores " << line;
  }
}

TEST_F(LocalServersKilled, PgpoolParentLeavesNoChildrenAndNoSharedMemory) {
  std::set<pid_t> dead;
  for (std::uint64_t n = 1; n <= 3; ++n) {
    for (const auto pid : servers_->processes(Server::pgpool)) dead.insert(pid);
    ASSERT_TRUE(servers_->kill(Server::pgpool, SIGKILL));
    expect_served_again(Server::pgpool, n);
  }
  for (const auto pid : servers_->processes(Server::pgpool))
    EXPECT_FALSE(dead.contains(pid)) << "still lives";
  expect_no_ipc_of(dead);
}

TEST_F(LocalServersKilled, OnePgpoolChild) {
  for (const auto pid : servers_->processes(Server::pgpool)) {
    if (pid != servers_->status(Server::pgpool).pid) {
      ::kill(pid, SIGKILL);
      break;
    }
  }
  expect_served_again(Server::pgpool, 0);
}

TEST_F(LocalServersKilled, StoppedServerStaysSoUntilStarted) {
  ASSERT_TRUE(servers_->stop(Server::postgres, Deadline::after(10s)));
  EXPECT_EQ(servers_->status(Server::postgres).state, State::stopped);
  EXPECT_EQ(servers_->kill(Server::postgres, SIGTERM).error().code, Code::not_found);
  EXPECT_FALSE(both_serve(*servers_));
  ASSERT_TRUE(servers_->start(Server::postgres, Deadline::after(patience)));
  EXPECT_TRUE(eventually([&] { return both_serve(*servers_); }));
}

TEST_F(LocalServersKilled, HungServerGoesOn) {
  ASSERT_TRUE(servers_->kill_all(Server::postgres, SIGSTOP));
  support::Process waiting(
      {"psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", fmt::format("{}", servers_->direct().port), "-U",
       std::string(app_role), "-d", std::string(database_name), "-c", "select 1"},
      {.environment = {{"PGPASSWORD", servers_->app_password().reveal()}}});
  EXPECT_EQ(waiting.wait(Deadline::after(300ms)), std::nullopt);
  ASSERT_TRUE(servers_->kill_all(Server::postgres, SIGCONT));
  EXPECT_EQ(waiting.wait(Deadline::after(patience)), 0);
  EXPECT_EQ(servers_->status(Server::postgres).restarts, before_[Server::postgres].restarts);
}

TEST_F(LocalServersKilled, HungServerIsStopped) {
  ASSERT_TRUE(servers_->kill_all(Server::postgres, SIGSTOP));
  ASSERT_TRUE(servers_->kill_all(Server::pgpool, SIGSTOP));
  ASSERT_TRUE(servers_->stop(Deadline::after(3s)));
  EXPECT_EQ(count_processes(*folder_), 0u);
  ASSERT_TRUE(servers_->start(Server::postgres, Deadline::after(patience)));
  ASSERT_TRUE(servers_->start(Server::pgpool, Deadline::after(patience)));
  EXPECT_TRUE(eventually([&] { return both_serve(*servers_); }));
}

TEST_F(LocalServersKilled, SecondUserOfTheFolderIsRefused) {
  const auto second = start(options_for(*folder_));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::conflict);
  EXPECT_THAT(second.error().message, HasSubstr(fmt::format("process {}", ::getpid())));
  EXPECT_TRUE(both_serve(*servers_));
}

TEST_F(LocalServersKilled, InstanceBesideItIsIndependent) {
  const support::TempFolder other("beside");
  auto beside = start(options_for(other));
  ASSERT_TRUE(beside) << beside.error().to_string();
  EXPECT_TRUE(both_serve(**beside));
  ASSERT_TRUE((*beside)->kill(Server::pgpool, SIGKILL));
  EXPECT_TRUE(eventually([&] { return (*beside)->status(Server::pgpool).restarts == 1; }));
  EXPECT_TRUE(both_serve(*servers_));
  EXPECT_EQ(servers_->status(Server::pgpool).restarts, before_[Server::pgpool].restarts);
}

}  // namespace
}  // namespace citadel::local
