#include "access/keyring.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace citadel::access {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class KeyringTest : public testing::Test {
 protected:
  KeyRecord record_of(const NewKey& key) {
    return {.tenant_id = 7,
            .tenant = "acme",
            .principal = "alice",
            .role = Role::reader,
            .prefix = key.prefix,
            .hash = keyring_.pepper().hash(key.text.reveal())};
  }
  void have(std::vector<KeyRecord> records, bool foreign = false) {
    keyring_.replace(keyring_.begin_refresh(), clock_.monotonic(), ++stamp_, foreign, std::move(records));
  }
  // "ok", or what is said of it.
  std::string says(std::string_view key) {
    const auto found = keyring_.identify(key);
    if (found) return "ok";
    return std::string(to_string(found.error().code)) + ": " + found.error().message;
  }
  std::string says() { return says(key_.text.reveal()); }

  ManualClock clock_;
  Keyring keyring_{Pepper(Secret("the pepper of these tests, which is long")), clock_, 10min};
  const NewKey key_ = make_key();
  std::int64_t stamp_ = 0;
};

TEST_F(KeyringTest, AKeyIsWhoseItIs) {
  have({record_of(make_key()), record_of(key_)});
  const auto found = keyring_.identify(key_.text.reveal());
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->principal, "acme/alice");
  EXPECT_EQ(found->tenant, "acme");
  EXPECT_EQ(found->tenant_id, 7);
  EXPECT_EQ(found->role, Role::reader);
}

TEST_F(KeyringTest, AnotherSecretUnderTheSamePrefixIsNotValid) {
  have({record_of(key_)});
  auto other = key_.text.reveal();
  other.back() = other.back() == 'x' ? 'y' : 'x';
  EXPECT_EQ(says(other), "unauthenticated: this key is not valid");
  EXPECT_EQ(says(make_key().text.reveal()), "unauthenticated: this key is not valid");
  EXPECT_EQ(says("nonsense"), "unauthenticated: this key is not valid");
}

TEST_F(KeyringTest, EndsByTimeByRevocationAndWithItsPrincipal) {
  auto expires = record_of(key_);
  expires.expires_at = clock_.wall() + 1min;
  have({expires});
  EXPECT_EQ(says(), "ok");
  clock_.advance(1min);
  EXPECT_EQ(says(), "unauthenticated: this key has expired");
  auto overlaps = record_of(key_);
  overlaps.revoked_at = clock_.wall() + 1min;
  have({overlaps});
  EXPECT_EQ(says(), "ok");
  clock_.advance(1min);
  EXPECT_EQ(says(), "unauthenticated: this key was revoked");
  auto disabled = record_of(key_);
  disabled.disabled = true;
  have({disabled});
  EXPECT_EQ(says(), "unauthenticated: this key's principal is disabled");
  auto newer = record_of(key_);
  newer.role = parse_role("a role of later");
  have({newer});
  EXPECT_THAT(says(), HasSubstr("permission_denied: the role of this key's principal is not known here"));
}

// So that whoever still uses it is found.
TEST_F(KeyringTest, WhoseARefusedKeyIsIsKnownWhereItsSecretIsRight) {
  auto revoked = record_of(key_);
  revoked.revoked = true;
  have({revoked});
  Identity known;
  EXPECT_FALSE(keyring_.identify(key_.text.reveal(), &known));
  EXPECT_EQ(known.principal, "acme/alice");
  EXPECT_EQ(known.prefix, key_.prefix);
  Identity unknown;
  auto wrong = key_.text.reveal();
  wrong.back() = wrong.back() == 'x' ? 'y' : 'x';
  EXPECT_FALSE(keyring_.identify(wrong, &unknown));
  EXPECT_EQ(unknown.principal, "");
}

// Its own clock does not count there.
TEST_F(KeyringTest, WhatTheDatabaseCallsRevokedIsSoWhateverTheClockHere) {
  auto revoked = record_of(key_);
  revoked.revoked_at = clock_.wall() + 1h;
  revoked.revoked = true;
  have({revoked});
  EXPECT_EQ(says(), "unauthenticated: this key was revoked");
}

TEST_F(KeyringTest, WithoutTheDatabaseKeysAreServedForATimeAndThenNobodyKnows) {
  EXPECT_THAT(says(), HasSubstr("unavailable: whether this key is valid is not known now"));
  have({record_of(key_)});
  clock_.advance(10min);
  EXPECT_EQ(says(), "ok");
  EXPECT_TRUE(keyring_.status().usable);
  clock_.advance(1s);
  EXPECT_THAT(says(), HasSubstr("unavailable: "));
  EXPECT_THAT(says(), HasSubstr("access.stale_max"));
  EXPECT_FALSE(keyring_.status().usable);
  keyring_.confirm(keyring_.begin_refresh(), clock_.monotonic());
  EXPECT_EQ(says(), "ok");
}

// It may have been made since.
TEST_F(KeyringTest, AKeyThatIsNotHereIsInvalidOnlyWhileTheDatabaseAnswers) {
  have({record_of(key_)});
  const auto stranger = make_key();
  clock_.advance(Keyring::fresh_time);
  EXPECT_EQ(says(stranger.text.reveal()), "unauthenticated: this key is not valid");
  clock_.advance(1ms);
  EXPECT_THAT(says(stranger.text.reveal()), HasSubstr("unavailable: "));
  auto wrong = key_.text.reveal();
  wrong.back() = wrong.back() == 'x' ? 'y' : 'x';
  EXPECT_EQ(says(wrong), "unauthenticated: this key is not valid");
}

TEST_F(KeyringTest, KeysOfAnotherPepperAreNotCalledInvalid) {
  have({record_of(key_)}, true);
  EXPECT_THAT(says(), HasSubstr("unavailable: "));
  EXPECT_THAT(says(), HasSubstr("access.pepper_file"));
}

TEST_F(KeyringTest, WhatBeganEarlierDoesNotOverwriteWhatBeganLater) {
  const auto early = keyring_.begin_refresh();
  const auto late = keyring_.begin_refresh();
  keyring_.replace(late, clock_.monotonic(), 2, false, {});
  keyring_.replace(early, clock_.monotonic(), 1, false, {record_of(key_)});
  EXPECT_EQ(keyring_.stamp(), 2);
  EXPECT_EQ(says(), "unauthenticated: this key is not valid");
  clock_.advance(1min);
  keyring_.confirm(early, clock_.monotonic());
  EXPECT_EQ(keyring_.status().age, 1min);
}

}  // namespace
}  // namespace citadel::access
