#include "local/config.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace citadel::local {
namespace {

using testing::HasSubstr;

ConfigInput input() {
  return {.pgpool_folder = "/data/pgpool",
          .socket_folder = "/data/run",
          .extra_settings = "/data/postgres.extra.conf",
          .host = "127.0.0.1",
          .postgres_port = 5434,
          .pgpool_port = 5433,
          .pgpool_children = 120,
          .memory_bytes = 8ull << 30,
          .shared_memory_bytes = 4ull << 30,
          .settings = "work_mem = '9MB'"};
}

// The value that a configuration gives a setting: that of its last line.
std::string value_of(const std::string& configuration, std::string_view setting) {
  std::istringstream lines(configuration);
  std::string out = "(none)";
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(fmt::format("{} = ", setting))) out = line.substr(setting.size() + 3);
  }
  return out;
}

TEST(LocalConfig, PostgresHasRoomForEveryChildAndItsCancel) {
  EXPECT_EQ(max_connections(120), 2 * 120 + 40 + 5u);
  EXPECT_EQ(max_connections(1), 150u);
  const auto conf = postgresql_conf(input());
  EXPECT_EQ(value_of(conf, "max_connections"), "285");
  EXPECT_EQ(value_of(conf, "superuser_reserved_connections"), "5");
}

TEST(LocalConfig, PostgresListensWhereItIsTold) {
  const auto conf = postgresql_conf(input());
  EXPECT_EQ(value_of(conf, "listen_addresses"), "'127.0.0.1'");
  EXPECT_EQ(value_of(conf, "port"), "5434");
  EXPECT_EQ(value_of(conf, "unix_socket_directories"), "'/data/run'");
  EXPECT_EQ(value_of(conf, "password_encryption"), "'scram-sha-256'");
  EXPECT_EQ(value_of(conf, "fsync"), "on");
  EXPECT_EQ(value_of(conf, "log_parameter_max_length"), "0");
}

TEST(LocalConfig, OperatorsFileComesLastAndOptionsBeforeIt) {
  const auto conf = postgresql_conf(input());
  EXPECT_TRUE(conf.ends_with("work_mem = '9MB'\ninclude_if_exists = '/data/postgres.extra.conf'\n")) << conf;
}

TEST(LocalConfig, MemoryFollowsTheMachine) {
  auto in = input();
  EXPECT_EQ(value_of(postgresql_conf(in), "shared_buffers"), "1024MB");
  in.memory_bytes = 512ull << 20;
  EXPECT_EQ(value_of(postgresql_conf(in), "shared_buffers"), "128MB");
  in.memory_bytes = 1ull << 40;
  EXPECT_EQ(value_of(postgresql_conf(in), "shared_buffers"), "2048MB");
  EXPECT_EQ(value_of(postgresql_conf(in), "dynamic_shared_memory_type"), "posix");
  in.shared_memory_bytes = 64ull << 20;
  EXPECT_EQ(value_of(postgresql_conf(in), "dynamic_shared_memory_type"), "mmap");
}

TEST(LocalConfig, PgpoolIsAsMeasuredSound) {
  const auto conf = pgpool_conf(input());
  const std::pair<const char*, const char*> expected[] = {
      {"backend_clustering_mode", "'streaming_replication'"},
      {"listen_addresses", "'127.0.0.1'"},
      {"port", "5433"},
      {"pcp_listen_addresses", "''"},
      {"backend_hostname0", "'/data/run'"},
      {"backend_port0", "5434"},
      {"backend_flag0", "'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'"},
      {"failover_on_backend_error", "off"},
      {"failover_on_backend_shutdown", "off"},
      {"num_init_children", "120"},
      {"max_pool", "1"},
      {"reserved_connections", "0"},
      {"child_life_time", "0"},
      {"connection_life_time", "0"},
      {"client_idle_limit", "0"},
      {"enable_pool_hba", "on"},
      {"pool_passwd", "'/data/pgpool/pool_passwd'"},
      {"load_balance_mode", "off"},
      {"memory_cache_enabled", "off"},
      {"health_check_period", "0"},
      {"sr_check_period", "0"}};
  for (const auto& [setting, value] : expected) EXPECT_EQ(value_of(conf, setting), value) << setting;
}

TEST(LocalConfig, ControlPortIsNeverOneOfTheOthers) {
  auto in = input();
  EXPECT_EQ(value_of(pgpool_conf(in), "pcp_port"), "9898");
  in.postgres_port = 9898;
  in.pgpool_port = 9899;
  EXPECT_EQ(value_of(pgpool_conf(in), "pcp_port"), "9900");
}

TEST(LocalConfig, QuotesAreDoubled) {
  EXPECT_EQ(quote("/tmp/it's"), "'/tmp/it''s'");
  auto in = input();
  in.socket_folder = "/d'a/run";
  EXPECT_EQ(value_of(postgresql_conf(in), "unix_socket_directories"), "'/d''a/run'");
}

TEST(LocalConfig, HbaHasNoWayWithoutAPassword) {
  for (const auto& text : {pg_hba_conf(), pool_hba_conf()}) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (!line.empty() && line[0] != '#') {
        EXPECT_TRUE(line.ends_with("scram-sha-256")) << line;
      }
    }
  }
}

TEST(LocalConfig, EachBootstrapStatementEndsAsSingleUserModeWants) {
  const auto sql = bootstrap_sql({.superuser = "aa", .owner = "bb", .app = "cc"});
  EXPECT_THAT(sql, HasSubstr("CREATE ROLE citadel_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE "
                             "NOBYPASSRLS PASSWORD 'bb';\n\n"));
  EXPECT_THAT(sql, HasSubstr("ALTER ROLE citadel_app SET statement_timeout = '30s';\n\n"));
  EXPECT_TRUE(sql.ends_with(";\n\n"));
  EXPECT_EQ(pool_passwd(Secret("bb"), Secret("cc")), "citadel_owner:TEXTbb\ncitadel_app:TEXTcc\n");
}

}  // namespace
}  // namespace citadel::local
