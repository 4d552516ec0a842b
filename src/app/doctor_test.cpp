#include "app/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "app/settings.hpp"

namespace citadel::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Settings healthy_pgpool() {
  return {{"num_init_children", "120"},
          {"max_pool", "1"},
          {"reserved_connections", "0"},
          {"client_idle_limit", "0"},
          {"child_life_time", "0"},
          {"load_balance_mode", "0"},
          {"disable_load_balance_on_write", "2"},
          {"memory_cache_enabled", "off"},
          {"failover_on_backend_error", "off"},
          {"failover_on_backend_shutdown", "off"},
          {"backend_clustering_mode", "streaming_replication"}};
}

Observed healthy() {
  Observed out;
  out.pgpool = healthy_pgpool();
  out.postgres = Settings{{"max_connections", "285"},
                          {"superuser_reserved_connections", "5"},
                          {"fsync", "on"},
                          {"full_page_writes", "on"},
                          {"synchronous_commit", "on"},
                          {"password_encryption", "scram-sha-256"},
                          {"server_version", "15.20"},
                          {"server_version_num", "150020"}};
  out.session.emplace();
  out.direct.emplace();
  out.schema = SchemaFound{{{1, "foundation", store::MigrationState::applied, {}}}, {}};
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

// The way past Pgpool-II is set, as `citadel up` and docs/connection-pooling.md do.
Config configured() {
  Config config;
  config.database_direct.host = "127.0.0.1";
  return config;
}

Finding only(const std::vector<Finding>& all) {
  const auto found = faults_of(all);
  EXPECT_EQ(found.size(), 1u);
  return found.empty() ? Finding() : found[0];
}

TEST(Doctor, FindsNothingWrongWhereNothingIs) {
  const auto config = configured();
  EXPECT_TRUE(faults_of(judge_pgpool(config, healthy_pgpool())).empty());
  EXPECT_TRUE(faults_of(judge_postgres(config, healthy())).empty());
  EXPECT_TRUE(faults_of(judge_ways(config, healthy())).empty());
  EXPECT_TRUE(faults_of(judge_schema(config, healthy())).empty());
  EXPECT_TRUE(faults_of(judge_machine(config, healthy())).empty());
}

TEST(Doctor, EachBadSettingOfPgpoolIsOneFaultThatSaysHowToMendIt) {
  const std::pair<const char*, const char*> bad[] = {
      {"num_init_children", "100"},          {"reserved_connections", "1"},
      {"client_idle_limit", "60"},           {"child_life_time", "300"},
      {"memory_cache_enabled", "on"},        {"failover_on_backend_error", "on"},
      {"failover_on_backend_shutdown", "1"}, {"backend_clustering_mode", "raw"}};
  for (const auto& [name, value] : bad) {
    auto settings = healthy_pgpool();
    settings[name] = value;
    const auto fault = only(judge_pgpool({}, settings));
    EXPECT_EQ(fault.severity, Severity::fault) << name;
    EXPECT_THAT(fault.subject, HasSubstr(name));
    EXPECT_THAT(fault.mend, HasSubstr(name));
  }
}

// docs/connection-pooling.md, Sizing: a fifth more children than sessions.
TEST(Doctor, PgpoolNeedsAFifthMoreChildrenThanThePoolHasSessions) {
  EXPECT_EQ(pgpool_children(100), 120);
  EXPECT_EQ(pgpool_children(1), 2);
  EXPECT_EQ(pgpool_children(3), 4);
  auto settings = healthy_pgpool();
  settings["num_init_children"] = "119";
  auto fault = only(judge_pgpool({}, settings));
  EXPECT_THAT(fault.found, HasSubstr("a cancel needs a free child"));
  EXPECT_THAT(fault.mend, HasSubstr("num_init_children = 120 or more"));
  EXPECT_THAT(fault.mend, HasSubstr("pool.size_max = 99 or less"));
  settings["num_init_children"] = "99";
  fault = only(judge_pgpool({}, settings));
  EXPECT_THAT(fault.found, HasSubstr("hang until pool.connect_timeout"));
  EXPECT_THAT(fault.mend, HasSubstr("pool.size_max = 82 or less"));
  EXPECT_LE(pgpool_children(82), 99);
}

TEST(Doctor, ReadsThatAreBalancedMustSeeTheirOwnWrites) {
  auto settings = healthy_pgpool();
  settings["load_balance_mode"] = "1";
  for (const std::string safe : {"always", "trans_transaction", "4", "3"}) {
    settings["disable_load_balance_on_write"] = safe;
    EXPECT_TRUE(faults_of(judge_pgpool({}, settings)).empty()) << safe;
  }
  for (const std::string bad : {"transaction", "2", "off", "1", "dml_adaptive", "5"}) {
    settings["disable_load_balance_on_write"] = bad;
    EXPECT_THAT(only(judge_pgpool({}, settings)).mend, HasSubstr("disable_load_balance_on_write = 'always'"))
        << bad;
  }
}

// Twice the children, and what goes past them: docs/connection-pooling.md, Sizing.
TEST(Doctor, MaxConnectionsMustHoldAllOfPgpoolsChildrenTheirCancelsAndTheDirectSessions) {
  auto observed = healthy();
  (*observed.postgres)["max_connections"] = "247";
  EXPECT_TRUE(faults_of(judge_postgres({}, observed)).empty());
  (*observed.postgres)["max_connections"] = "246";
  EXPECT_THAT(only(judge_postgres({}, observed)).mend, HasSubstr("max_connections = 247"));
  (*observed.pgpool)["max_pool"] = "2";
  EXPECT_THAT(only(judge_postgres({}, observed)).mend, HasSubstr("max_connections = 487"));
  // Without Pgpool-II the pool's own sessions count.
  observed.pgpool.reset();
  (*observed.postgres)["max_connections"] = "107";
  EXPECT_TRUE(faults_of(judge_postgres({}, observed)).empty());
  (*observed.postgres)["max_connections"] = "106";
  EXPECT_THAT(only(judge_postgres({}, observed)).mend, HasSubstr("max_connections = 107"));
}

TEST(Doctor, WhatMakesACommitLastMustBeOn) {
  for (const std::string name : {"fsync", "full_page_writes", "synchronous_commit"}) {
    auto observed = healthy();
    (*observed.postgres)[name] = "off";
    const auto fault = only(judge_postgres({}, observed));
    EXPECT_EQ(fault.severity, Severity::fault);
    EXPECT_THAT(fault.mend, HasSubstr(name + " = on"));
  }
  for (const std::string kept : {"local", "remote_write", "remote_apply"}) {
    auto observed = healthy();
    (*observed.postgres)["synchronous_commit"] = kept;
    EXPECT_TRUE(faults_of(judge_postgres({}, observed)).empty()) << kept;
  }
}

TEST(Doctor, VersionsFrom15To18AreKnown) {
  const std::tuple<const char*, Severity> versions[] = {{"140012", Severity::fault},
                                                        {"150000", Severity::good},
                                                        {"180004", Severity::good},
                                                        {"190000", Severity::warning}};
  for (const auto& [number, severity] : versions) {
    auto observed = healthy();
    (*observed.postgres)["server_version_num"] = number;
    const auto found = judge_postgres({}, observed);
    EXPECT_EQ(std::ranges::find(found, "PostgreSQL version", &Finding::subject)->severity, severity)
        << number;
  }
}

TEST(Doctor, PasswordsThatPgpoolCannotUseASuperuserASkewedClockAndAFullDiskAreFound) {
  auto observed = healthy();
  (*observed.postgres)["password_encryption"] = "md5";
  EXPECT_THAT(only(judge_postgres({}, observed)).mend, HasSubstr("password_encryption = 'scram-sha-256'"));
  observed = healthy();
  observed.app_is_superuser = true;
  EXPECT_THAT(only(judge_postgres({}, observed)).mend, HasSubstr("NOSUPERUSER"));
  observed.clock_ahead = std::chrono::seconds(-3);
  observed.journal_free_bytes = 1 << 20;
  EXPECT_EQ(faults_of(judge_machine({}, observed)).size(), 2u);
}

TEST(Doctor, AnotherMachineNeedsACheckedCertificate) {
  auto config = configured();
  config.database.host = "db.example";
  EXPECT_THAT(only(judge_ways(config, healthy())).mend, HasSubstr("database.tls = \"verify_full\""));
  config.database.tls = TlsMode::verify_full;
  EXPECT_TRUE(faults_of(judge_ways(config, healthy())).empty());
  config.database_direct.host = "db.example";
  EXPECT_THAT(only(judge_ways(config, healthy())).mend, HasSubstr("database.direct.tls = \"verify_full\""));
}

// What is demanded of the first way says nothing of the second one, from Pgpool-II on.
TEST(Doctor, EncryptionThatIsDemandedMustBeSeenByPostgres) {
  auto config = configured();
  config.database.tls = TlsMode::verify_full;
  auto observed = healthy();
  EXPECT_TRUE(faults_of(judge_ways(config, observed)).empty()) << "Pgpool-II and PostgreSQL are one machine";
  observed.session->from_outside = true;
  const auto fault = only(judge_ways(config, observed));
  EXPECT_EQ(fault.severity, Severity::fault);
  EXPECT_THAT(fault.mend, HasSubstr("pgpool.conf"));
  observed.session->encrypted = true;
  EXPECT_TRUE(faults_of(judge_ways(config, observed)).empty());
  config.database_direct.tls = TlsMode::require;
  EXPECT_THAT(only(judge_ways(config, observed)).subject, HasSubstr("database.direct.tls"));
  observed.direct->session.encrypted = true;
  EXPECT_TRUE(faults_of(judge_ways(config, observed)).empty());
}

TEST(Doctor, PreferThatEndedInClearTextIsSaid) {
  auto config = configured();
  config.database_direct.host = "db.example";
  EXPECT_THAT(only(judge_ways(config, healthy())).found, HasSubstr("in clear text"));
}

TEST(Doctor, TheDirectWayMustBeThereAnswerAndBePostgres) {
  Config config;
  auto observed = healthy();
  EXPECT_EQ(only(judge_ways(config, observed)).severity, Severity::warning);
  config.database.route = Route::direct;
  EXPECT_TRUE(faults_of(judge_ways(config, observed)).empty());
  config = configured();
  observed.direct->is_pgpool = true;
  EXPECT_THAT(only(judge_ways(config, observed)).found, HasSubstr("is Pgpool-II"));
  observed.direct->failed = Error(Code::unavailable, "connection refused");
  const auto fault = only(judge_ways(config, observed));
  EXPECT_THAT(fault.found, HasSubstr("connection refused"));
  EXPECT_THAT(fault.mend, HasSubstr("database.direct.host and port"));
}

TEST(Doctor, ASchemaThatIsNotThisVersionsIsAFault) {
  using store::MigrationState;
  const std::tuple<MigrationState, const char*, const char*> states[] = {
      {MigrationState::pending, "1 of 2 migrations are not applied", "citadel migrate"},
      {MigrationState::edited, "another text", "version that migrated"},
      {MigrationState::unknown, "newer Citadel", "newer"}};
  for (const auto& [state, found, mend] : states) {
    auto observed = healthy();
    observed.schema->value().migrations.push_back({2, "usage", state, {}});
    const auto fault = only(judge_schema({}, observed));
    EXPECT_THAT(fault.found, HasSubstr(found));
    EXPECT_THAT(fault.mend, HasSubstr(mend));
  }
  auto observed = healthy();
  observed.schema->value().drift = {"- index a", "- index b", "+ table c", "+ table d"};
  const auto drift = only(judge_schema({}, observed));
  EXPECT_THAT(drift.found, AllOf(HasSubstr("4 places"), HasSubstr("+ table c"), Not(HasSubstr("+ table d"))));
  observed.schema = Result<SchemaFound>(fail(Code::unauthenticated, "no login"));
  EXPECT_THAT(only(judge_schema({}, observed)).mend, HasSubstr("owner.password_file"));
}

TEST(Doctor, AWitnessThatDoesNotAnswerIsAWarningAndItsFilesAreAFault) {
  EXPECT_TRUE(judge_witnesses({}).empty());
  Observed observed;
  observed.witnesses.emplace(
      std::vector<SeenWitness>{{"w1", "https://w1.example", std::nullopt},
                               {"w2", "https://w2.example",
                                Error(Code::unavailable, "the certificate has expired; have it renewed")}});
  const auto findings = judge_witnesses(observed);
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].severity, Severity::good);
  EXPECT_EQ(findings[1].severity, Severity::warning);
  EXPECT_EQ(findings[1].subject, "audit witness w2");
  EXPECT_THAT(findings[1].found, HasSubstr("have it renewed"));
  observed.witnesses.emplace(fail(Code::invalid_argument, "audit.witness_policy_file: line 3"));
  EXPECT_EQ(only(judge_witnesses(observed)).severity, Severity::fault);
}

TEST(Doctor, AKeyThatIsNotThereIsAFault) {
  Config config;
  config.admin.key_file = "/nonexistent/admin.key";
  config.access.pepper_file = "/nonexistent/access.pepper";
  config.owner.password_file.path = "/nonexistent/owner.password";
  config.journal.folder = "/dev/null/journal";
  EXPECT_EQ(faults_of(judge_files(config)).size(), 4u);
  config.owner.password_file.path.clear();
  EXPECT_THAT(faults_of(judge_files(config))[2].found, HasSubstr("`citadel migrate` refuses"));
}

// The same modes as read_secret_file() takes; who may write it, chooses the secret.
TEST(Doctor, ASecretsGroupMayReadItAndNobodyElse) {
  char folder[] = "/tmp/citadel-doctor-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  Config config;
  config.journal.folder = std::filesystem::path(folder) / "not" / "yet";
  config.admin.key_file = config.access.pepper_file = config.database.password_file.path =
      config.owner.password_file.path = std::filesystem::path(folder) / "secret";
  std::ofstream(config.admin.key_file) << "x\n";
  const std::pair<mode_t, std::size_t> modes[] = {{0600, 0}, {0640, 0}, {0400, 0},
                                                  {0660, 4}, {0644, 4}, {0602, 4}};
  for (const auto& [mode, faults] : modes) {
    ASSERT_EQ(::chmod(config.admin.key_file.c_str(), mode), 0);
    EXPECT_EQ(faults_of(judge_files(config)).size(), faults) << std::oct << mode;
  }
  // A folder that is not there yet is made below the nearest that is.
  EXPECT_EQ(nearest_existing(config.journal.folder), folder);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace citadel::app
