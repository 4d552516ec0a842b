#include "local/local.hpp"

#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "base/file.hpp"
#include "local/pgtest_tools.hpp"
#include "support/servers.hpp"

namespace citadel::local {
namespace {

using testing::HasSubstr;
using testing::Not;

// This program again, as a process that holds servers: see main().
std::vector<std::string> holder(const std::filesystem::path& program, const LocalOptions& options) {
  return {program.string(), "hold", options.data.string(), fmt::format("{}", options.postgres_port),
          fmt::format("{}", options.pgpool_port)};
}

TEST(LocalServers, AnswerDirectlyAndThroughPgpool) {
  auto& servers = support::shared_servers();
  EXPECT_EQ(servers.sql("select current_user, current_database();"), "citadel_owner|citadel_ai");
  EXPECT_EQ(servers.sql_pooled("select current_user, current_database();"), "citadel_app|citadel_ai");
  EXPECT_EQ(servers->status(Server::postgres).state, State::running);
  EXPECT_EQ(servers->status(Server::pgpool).state, State::running);
}

TEST(LocalServers, RolesAndDatabaseAreAsDesigned) {
  auto& servers = support::shared_servers();
  EXPECT_EQ(servers.sql_as_superuser("select rolname, split_part(split_part(rolpassword, ':', 1), '$', 2) "
                                     "from pg_authid where rolpassword like 'SCRAM-SHA-256$%' order by 1;"),
            "citadel_app|1\ncitadel_owner|4096\npostgres|4096");
  EXPECT_EQ(
      servers.sql_as_superuser("select rolname from pg_roles where rolname like 'citadel%' and (rolsuper or "
                               "rolcreaterole or rolcreatedb or rolbypassrls or rolreplication);"),
      "");
  EXPECT_EQ(servers.sql_as_superuser(
                "select pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate from "
                "pg_database where datname = 'citadel_ai';"),
            "citadel_owner|UTF8|C.UTF-8");
  EXPECT_EQ(servers.sql("show data_checksums; show password_encryption; show jit;"),
            "on\nscram-sha-256\noff");
  EXPECT_EQ(servers.sql_pooled("show statement_timeout; show lock_timeout; "
                               "show idle_in_transaction_session_timeout;"),
            "30s\n10s\n30s");
  const auto refused = psql(servers->direct(), app_role, servers->app_password(), "create schema mine");
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.err, HasSubstr("permission denied"));
}

TEST(LocalServers, WrongPasswordIsRefusedOnBothWays) {
  auto& servers = support::shared_servers();
  EXPECT_THAT(psql(servers->direct(), app_role, Secret("wrong"), "select 1").err,
              HasSubstr("authentication failed"));
  EXPECT_NE(psql(servers->pooled(), app_role, Secret("wrong"), "select 1").status, 0);
}

TEST(LocalServers, SecretsArePrivateAndInNoLog) {
  auto& servers = support::shared_servers();
  for (const auto role : {superuser_role, owner_role, app_role}) {
    struct stat info{};
    ASSERT_EQ(::stat(servers->password_file(role).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u) << role;
  }
  for (const auto server : {Server::postgres, Server::pgpool}) {
    const auto log = read_file(servers->log_file(server), 64 << 20);
    ASSERT_TRUE(log);
    for (const auto* secret :
         {&servers->superuser_password(), &servers->owner_password(), &servers->app_password()}) {
      EXPECT_THAT(*log, Not(HasSubstr(secret->reveal()))) << to_string(server);
    }
  }
  EXPECT_EQ(read_secret_file(servers->password_file(app_role)).value(), servers->app_password().reveal());
}

TEST(LocalServers, ServersRunAsAnUnprivilegedUser) {
  for (const auto server : {Server::postgres, Server::pgpool}) {
    struct stat info{};
    const auto pid = support::shared_servers()->status(server).pid;
    ASSERT_EQ(::stat(fmt::format("/proc/{}", pid).c_str(), &info), 0);
    EXPECT_NE(info.st_uid, 0u);
    const auto status = read_file(fmt::format("/proc/{}/status", pid), 65536).value();
    EXPECT_THAT(status, HasSubstr("CapPrm:\t0000000000000000"));
  }
}

TEST(LocalServers, ServeAHundredClientsThroughPgpoolAtOnce) {
  auto& servers = support::shared_servers();
  const auto script = servers.data() / "hundred.sql";
  std::ofstream(script) << "select pg_sleep(3);\n";
  const auto at = servers->pooled();
  support::Process clients({fmt::format("/usr/lib/postgresql/{}/bin/pgbench", servers->postgres_major()),
                            "-n", "-c", "100", "-t", "1", "-f", script.string(), "-h", at.host, "-p",
                            fmt::format("{}", at.port), "-U", std::string(app_role), at.database},
                           {.environment = {{"PGPASSWORD", servers->app_password().reveal()}}});
  std::string most = "0";
  EXPECT_TRUE(eventually([&] {
    most = servers.sql_as_superuser(
        "select count(*) from pg_stat_activity where usename = 'citadel_app' and state = 'active';");
    return most == "100";
  })) << most
      << " busy; " << clients.err();
  EXPECT_EQ(clients.wait(Deadline::after(patience)), 0) << clients.err();
}

TEST(LocalServers, SecondStartKeepsDataAndIsQuick) {
  const support::TempFolder folder("keep");
  const auto options = options_for(folder);
  std::string password;
  {
    auto servers = start(options);
    ASSERT_TRUE(servers) << servers.error().to_string();
    ASSERT_EQ(psql((*servers)->direct(), owner_role, (*servers)->owner_password(),
                   "create table kept as select 42 n")
                  .status,
              0);
    password = (*servers)->owner_password().reveal();
    ASSERT_TRUE((*servers)->stop(Deadline::after(10s)));
    EXPECT_EQ(count_processes(folder), 0u);
  }
  const auto began = Monotonic::now();
  auto servers = start(options);
  ASSERT_TRUE(servers) << servers.error().to_string();
  EXPECT_LT(Monotonic::now() - began, 5s);
  EXPECT_EQ((*servers)->owner_password().reveal(), password);
  EXPECT_EQ(psql((*servers)->direct(), owner_role, (*servers)->owner_password(), "select n from kept").out,
            "42\n");
}

TEST(LocalServers, OperatorsOwnSettingsWin) {
  const support::TempFolder folder("extra");
  ::chmod(folder.path().c_str(), 0755);
  std::ofstream(folder / "postgres.extra.conf") << "work_mem = '7MB'\n";
  auto servers = start(options_for(folder));
  ASSERT_TRUE(servers) << servers.error().to_string();
  EXPECT_EQ(psql((*servers)->direct(), app_role, (*servers)->app_password(), "show work_mem").out, "7MB\n");
}

TEST(LocalServersHolder, KilledLeavesNoServerBehind) {
  const support::TempFolder folder("orphan");
  const auto options = options_for(folder);
  support::Process process(holder("/proc/self/exe", options));
  ASSERT_EQ(process.read_line(Deadline::after(patience)), "ready") << process.err();
  EXPECT_GT(count_processes(folder), 2u);
  process.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return count_processes(folder) == 0; }, 15s)) << count_processes(folder);
}

TEST(LocalServersHolder, OrphansOfAnEarlierStartAreStopped) {
  const support::TempFolder folder("left");
  const auto options = options_for(folder);
  const auto account = choose_account("").value();
  {
    support::Process process(holder("/proc/self/exe", options));
    ASSERT_EQ(process.read_line(Deadline::after(patience)), "ready") << process.err();
    // Stopped processes do not hear the signal at their parent's death.
    for (const auto pid : find_processes(folder / "postgres", "postgres", account)) ::kill(pid, SIGSTOP);
    for (const auto pid : find_processes(folder / "pgpool", "pgpool", account)) ::kill(pid, SIGSTOP);
    process.signal(SIGKILL);
  }
  ASSERT_GT(count_processes(folder), 2u);
  std::string told;
  auto servers = LocalServers::start(options, Deadline::after(patience),
                                     [&](std::string_view line) { told += fmt::format("{}\n", line); });
  ASSERT_TRUE(servers) << servers.error().to_string();
  EXPECT_THAT(told, HasSubstr("stopping the PostgreSQL that an earlier start left over"));
  EXPECT_THAT(told, HasSubstr("stopping the Pgpool-II that an earlier start left over"));
  EXPECT_TRUE(both_serve(**servers));
}

TEST(LocalServersHolder, PgpoolChildrenWithoutParentAreStopped) {
  const support::TempFolder folder("headless");
  const auto options = options_for(folder);
  const auto account = choose_account("").value();
  {
    support::Process process(holder("/proc/self/exe", options));
    ASSERT_EQ(process.read_line(Deadline::after(patience)), "ready") << process.err();
    process.signal(SIGSTOP);  // so that it does not mend what follows
    ::kill(read_pid_file(folder / "pgpool/pgpool.pid"), SIGKILL);
    process.signal(SIGKILL);
  }
  auto servers = start(options);
  ASSERT_TRUE(servers) << servers.error().to_string();
  EXPECT_TRUE(both_serve(**servers));
}

TEST(LocalServersHolder, RunsWithoutRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "the other tests run without root already";
  const support::TempFolder folder("plain");
  // A place that everybody may enter, with a copy of this program: where it was built may be closed to
  // others.
  ::chmod(folder.path().c_str(), 0777);
  std::filesystem::copy_file("/proc/self/exe", folder / "program");
  const auto options = options_for(folder / "data");
  std::vector<std::string> arguments{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"};
  for (auto& argument : holder(folder / "program", options)) arguments.push_back(argument);
  support::Process process(arguments);
  ASSERT_EQ(process.read_line(Deadline::after(patience)), "ready") << process.err();
  const auto password = read_file(folder / "data/secrets/citadel_app.password", 100).value();
  const Secret secret(password.substr(0, password.find('\n')));
  EXPECT_EQ(
      psql({"127.0.0.1", options.pgpool_port, std::string(database_name)}, app_role, secret, "select 1").out,
      "1\n");
  process.close_input();
  EXPECT_EQ(process.wait(Deadline::after(20s)), 0) << process.err();
}

TEST(LocalServersStart, PortInUseSaysByWhomAndWhatToDo) {
  auto& running = support::shared_servers();
  const support::TempFolder folder("port");
  auto options = options_for(folder);
  options.postgres_port = running->direct().port;
  const auto refused = start(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr(fmt::format("port {}", options.postgres_port)));
  EXPECT_THAT(refused.error().message,
              HasSubstr(fmt::format("postgres (process {})", running->status(Server::postgres).pid)));
  EXPECT_THAT(refused.error().message, HasSubstr("--postgres-port"));
  EXPECT_TRUE(std::filesystem::is_empty(options.data)) << "something was left behind";
}

TEST(LocalServersStart, DataOfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be several users";
  const support::TempFolder folder("theirs");
  std::filesystem::create_directories(folder / "postgres");
  std::ofstream(folder / "postgres/PG_VERSION") << "15\n";
  ASSERT_EQ(::chown((folder / "postgres").c_str(), 12345, 12345), 0);
  const auto refused = start(options_for(folder));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::permission_denied);
  EXPECT_THAT(refused.error().message, HasSubstr("user id 12345"));
}

TEST(LocalServersStart, FullDiskIsSaid) {
  const support::TempFolder folder("full");
  ::chmod(folder.path().c_str(), 0755);
  const auto at = folder / "disk";
  std::filesystem::create_directory(at);
  if (::mount("tmpfs", at.c_str(), "tmpfs", 0, "size=64m,mode=755") != 0)
    GTEST_SKIP() << "needs the right to mount";
  const auto refused = start(options_for(at / "data"));
  EXPECT_EQ(::umount2(at.c_str(), MNT_DETACH), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::storage_full);
  EXPECT_THAT(refused.error().message, HasSubstr("MiB free"));
}

TEST(LocalServersStart, HalfMadeClusterIsMadeAnew) {
  const support::TempFolder folder("half");
  std::filesystem::create_directories(folder / "postgres.new/base");
  std::ofstream(folder / "postgres.new/PG_VERSION") << "15\n";
  auto servers = start(options_for(folder));
  ASSERT_TRUE(servers) << servers.error().to_string();
  EXPECT_TRUE(both_serve(**servers));
  EXPECT_FALSE(std::filesystem::exists(folder / "postgres.new"));
}

TEST(LocalServersStart, BadSettingGivesTheLogsTail) {
  const support::TempFolder folder("bad");
  auto options = options_for(folder);
  options.postgres_settings = "shared_buffers = 'plenty'";
  const auto failed = start(options);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::unavailable);
  EXPECT_THAT(failed.error().message, HasSubstr("invalid value for parameter \"shared_buffers\""));
  EXPECT_EQ(count_processes(folder), 0u);
}

TEST(LocalServersStart, LostPasswordIsSaid) {
  const support::TempFolder folder("lost");
  const auto options = options_for(folder);
  ASSERT_TRUE(start(options));
  std::filesystem::remove(folder / "secrets/citadel_app.password");
  const auto failed = start(options);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("citadel_app.password is gone"));
}

TEST(LocalServersStart, LongFolderHasItsSocketsElsewhere) {
  const support::TempFolder folder("long");
  ::chmod(folder.path().c_str(), 0755);
  const auto data = folder / std::string(100, 'x');
  auto options = options_for(data);
  std::filesystem::path sockets;
  for (int n = 0; n < 2; ++n) {
    auto servers = start(options);
    ASSERT_TRUE(servers) << servers.error().to_string();
    EXPECT_TRUE(both_serve(**servers));
    if (n == 1) {
      EXPECT_EQ((*servers)->socket_folder(), sockets);
    }
    sockets = (*servers)->socket_folder();
    struct stat info{};
    ASSERT_EQ(::stat(sockets.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0700u);
  }
  std::filesystem::remove_all(sockets);
}

// hold DATA POSTGRES_PORT PGPOOL_PORT: starts servers, says "ready", and stops them when standard input ends.
int hold(char** arguments) {
  const auto port = [](const char* text) {
    return static_cast<std::uint16_t>(std::strtoul(text, nullptr, 10));
  };
  auto servers = start({.data = arguments[0],
                        .postgres_port = port(arguments[1]),
                        .pgpool_port = port(arguments[2]),
                        .pgpool_children = 8,
                        .postgres_settings = "shared_buffers = 16MB",
                        .durability = Durability::none});
  if (!servers) {
    std::fprintf(stderr, "%s\n", servers.error().to_string().c_str());
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return (*servers)->stop(Deadline::after(15s)) ? 0 : 1;
}

}  // namespace
}  // namespace citadel::local

int main(int argc, char** argv) {
  if (argc == 5 && std::string_view(argv[1]) == "hold") return citadel::local::hold(argv + 2);
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
