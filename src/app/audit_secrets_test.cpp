#include "app/audit_secrets.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/base64.hpp"
#include "base/file.hpp"

namespace citadel::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

class AuditSecretsTest : public testing::Test {
 protected:
  AuditSecretsTest() {
    char name[] = "/tmp/citadel-audit-secrets-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    config_.signing_key_file = folder_ / "keys/signing.key";
    config_.master_key_file = folder_ / "keys/master.key";
  }
  ~AuditSecretsTest() override { std::filesystem::remove_all(folder_); }
  std::string error() {
    const auto loaded = load_audit_secrets(config_);
    return loaded ? "none" : loaded.error().message;
  }

  std::filesystem::path folder_;
  AuditConfig config_;
};

TEST_F(AuditSecretsTest, AreMadeOnceAndKept) {
  const auto made = make_audit_secrets(config_, "example.com/audit");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_THAT(*made, SizeIs(2));
  struct stat status{};
  ASSERT_EQ(::stat(config_.master_key_file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const auto loaded = load_audit_secrets(config_);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->origin(), "example.com/audit");
  EXPECT_THAT(*make_audit_secrets(config_, "another.example/audit"), IsEmpty());
  EXPECT_EQ(load_audit_secrets(config_)->signer.verifier(), loaded->signer.verifier());
}

TEST_F(AuditSecretsTest, ANameOfItsOwnWhereNoneIsGiven) {
  ASSERT_TRUE(make_audit_secrets(config_, ""));
  EXPECT_THAT(load_audit_secrets(config_)->origin(), StartsWith("citadel.local/audit/"));
}

TEST_F(AuditSecretsTest, WhatIsMissingIsNamedWithWhatToDo) {
  EXPECT_THAT(error(), AllOf(HasSubstr("audit.signing_key_file"), HasSubstr("citadel audit keygen")));
}

TEST_F(AuditSecretsTest, AnotherOriginIsRefused) {
  ASSERT_TRUE(make_audit_secrets(config_, "example.com/audit"));
  config_.origin = "example.org/audit";
  EXPECT_THAT(error(), AllOf(HasSubstr("example.org/audit"), HasSubstr("example.com/audit")));
}

TEST_F(AuditSecretsTest, NoFaultShowsAKey) {
  ASSERT_TRUE(make_audit_secrets(config_, "example.com/audit"));
  ASSERT_TRUE(write_file_durably(config_.master_key_file, "c2VjcmV0LXRoYXQtaXMtdG9vLXNob3J0\n", 0600));
  EXPECT_THAT(error(), AllOf(HasSubstr("is not a master key"), Not(HasSubstr("c2Vjcm"))));
  ASSERT_TRUE(write_file_durably(config_.signing_key_file, "PRIVATE+KEY+hunter2\n", 0600));
  EXPECT_THAT(error(), AllOf(HasSubstr("is not a signing key"), Not(HasSubstr("hunter2"))));
}

TEST_F(AuditSecretsTest, AFileThatOthersMayReadIsRefused) {
  ASSERT_TRUE(make_audit_secrets(config_, "example.com/audit"));
  ASSERT_EQ(::chmod(config_.master_key_file.c_str(), 0644), 0);
  EXPECT_THAT(error(), HasSubstr("master.key"));
}

TEST_F(AuditSecretsTest, ACommandMayGiveTheMasterKeysInTheirOrder) {
  ASSERT_TRUE(make_audit_secrets(config_, "example.com/audit"));
  std::filesystem::remove(config_.master_key_file);
  const auto line = to_base64(crypto::AesGcmKey::generate().bytes());
  config_.master_key_command = "printf '%s\\n' " + line + " " + line;
  const auto loaded = load_audit_secrets(config_);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_THAT(loaded->keys->journal, SizeIs(2));
  config_.master_key_command = "exit 3";
  EXPECT_THAT(error(), HasSubstr("audit.master_key_command ended"));
}

TEST_F(AuditSecretsTest, OlderVerifierKeysStandBelowTheKey) {
  const auto older = tlog::NoteSigner::generate("example.com/audit");
  ASSERT_TRUE(make_audit_secrets(config_, "example.com/audit"));
  const auto signing = read_file(config_.signing_key_file, 4096);
  ASSERT_TRUE(
      write_file_durably(config_.signing_key_file, *signing + older->verifier().encode() + "\n", 0600));
  const auto loaded = load_audit_secrets(config_);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_THAT(loaded->older_keys, SizeIs(1));
}

}  // namespace
}  // namespace citadel::app
