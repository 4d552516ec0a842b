#include "app/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace citadel::app {
namespace {

using testing::HasSubstr;

Settings healthy_pgpool() {
  return {{"num_init_children", "120"},
          {"max_pool", "1"},
          {"reserved_connections", "0"},
          {"memory_cache_enabled", "off"},
          {"failover_on_backend_error", "off"},
          {"failover_on_backend_shutdown", "off"},
          {"backend_clustering_mode", "streaming_replication"}};
}

Observed healthy() {
  Observed out;
  out.pgpool = healthy_pgpool();
  out.postgres = Settings{{"max_connections", "150"},
                          {"superuser_reserved_connections", "3"},
                          {"fsync", "on"},
                          {"full_page_writes", "on"}};
  out.clock_ahead = std::chrono::milliseconds(5);
  out.journal_free_bytes = 1ull << 40;
  return out;
}

std::vector<Finding> faults_of(const std::vector<Finding>& all) {
  std::vector<Finding> out;
  for (const auto& f : all) {
    if (f.severity != Severity::good) out.push_back(f);
  }
  return out;
}

TEST(Doctor, FindsNothingWrongWhereNothingIs) {
  const Config config;
  EXPECT_TRUE(faults_of(judge_pgpool(config, healthy_pgpool())).empty());
  EXPECT_TRUE(faults_of(judge_postgres(config, healthy())).empty());
  EXPECT_TRUE(faults_of(judge_rest(config, healthy())).empty());
}

TEST(Doctor, EachBadSettingOfPgpoolIsOneFaultThatSaysHowToMendIt) {
  const std::pair<const char*, const char*> bad[] = {
      {"num_init_children", "100"},          {"reserved_connections", "1"},
      {"memory_cache_enabled", "on"},        {"failover_on_backend_error", "on"},
      {"failover_on_backend_shutdown", "1"}, {"backend_clustering_mode", "raw"}};
  for (const auto& [name, value] : bad) {
    auto settings = healthy_pgpool();
    settings[name] = value;
    const auto faults = faults_of(judge_pgpool({}, settings));
    ASSERT_EQ(faults.size(), 1u) << name;
    EXPECT_THAT(faults[0].subject, HasSubstr(name));
    EXPECT_THAT(faults[0].mend, HasSubstr(name));
  }
}

TEST(Doctor, MaxConnectionsMustHoldAllOfPgpoolsChildren) {
  auto observed = healthy();
  (*observed.postgres)["max_connections"] = "122";
  const auto faults = faults_of(judge_postgres({}, observed));
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_THAT(faults[0].mend, HasSubstr("max_connections = 123"));
}

TEST(Doctor, ASuperuserASkewedClockAndAFullDiskAreFound) {
  auto observed = healthy();
  observed.app_is_superuser = true;
  (*observed.postgres)["fsync"] = "off";
  EXPECT_EQ(faults_of(judge_postgres({}, observed)).size(), 2u);
  observed.clock_ahead = std::chrono::seconds(-3);
  observed.journal_free_bytes = 1 << 20;
  EXPECT_EQ(faults_of(judge_rest({}, observed)).size(), 2u);
}

TEST(Doctor, AnotherMachineNeedsACheckedCertificate) {
  Config config;
  config.database.host = "db.example";
  EXPECT_EQ(faults_of(judge_rest(config, healthy())).size(), 1u);
  config.database.tls = TlsMode::verify_full;
  EXPECT_TRUE(faults_of(judge_rest(config, healthy())).empty());
}

TEST(Doctor, AKeyThatIsNotThereIsAFault) {
  Config config;
  config.admin.key_file = "/nonexistent/admin.key";
  config.journal.folder = "/dev/null/journal";
  EXPECT_EQ(faults_of(judge_files(config)).size(), 2u);
}

}  // namespace
}  // namespace citadel::app
