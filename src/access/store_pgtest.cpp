#include "access/access_pg_testing.hpp"

namespace citadel::access {
namespace {

// The day's time, for expiry; no time passes for what grows old without the database.
class PatientClock final : public Clock {
 public:
  MonotonicTime monotonic() const override { return MonotonicTime{}; }
  WallTime wall() const override { return system_clock().wall(); }
};

class AccessStoreTest : public AccessTest {
 protected:
  void SetUp() override {
    AccessTest::SetUp();
    acme_ = tenant("acme").id;
    principal(acme_, "alice", Role::gateway);
  }
  void look() {
    const auto done = run(refresh(*database_, keyring_, clock_, soon()));
    EXPECT_TRUE(done) << done.error().to_string();
  }
  std::string says(const Secret& key) {
    const auto found = keyring_.identify(key.reveal());
    return found ? found->principal : found.error().message;
  }
  template <class T>
  static std::string problem(const Result<T>& result) {
    return result ? "" : fmt::format("{}: {}", to_string(result.error().code), result.error().message);
  }

  std::int32_t acme_ = 0;
  const PatientClock clock_;
  Keyring keyring_{pepper_, clock_, 1h};
};

TEST_F(AccessStoreTest, AKeyIsKnownAfterTheNextLookAndGoneAfterItsRevocation) {
  look();
  const auto made = key(acme_, "alice", 1h);
  EXPECT_EQ(made.info.prefix, made.secret.reveal().substr(3, 8));
  EXPECT_EQ(*made.info.expires_at - made.info.created_at, 1h);
  EXPECT_EQ(says(made.secret), "this key is not valid");
  look();
  const auto found = keyring_.identify(made.secret.reveal());
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->principal, "acme/alice");
  EXPECT_EQ(found->tenant_id, acme_);
  EXPECT_EQ(found->role, Role::gateway);
  EXPECT_EQ(found->prefix, made.info.prefix);
  const auto before = keyring_.stamp();
  look();
  EXPECT_EQ(keyring_.stamp(), before);
  ASSERT_TRUE(run(revoke_key(*database_, acme_, made.info.id, caller, soon())));
  look();
  EXPECT_EQ(says(made.secret), "this key was revoked");
  EXPECT_EQ(problem(run(revoke_key(*database_, acme_, made.info.id, caller, soon()))),
            "conflict: the key has ended before");
}

TEST_F(AccessStoreTest, ARotatedKeyGoesOnForItsOverlap) {
  const auto old = key(acme_, "alice", 10min);
  const auto rotated = run(rotate_key(*database_, pepper_, acme_, old.info.id, 60s, caller, soon()));
  ASSERT_TRUE(rotated) << rotated.error().to_string();
  EXPECT_EQ(*rotated->info.expires_at - rotated->info.created_at, 10min);
  look();
  EXPECT_EQ(says(old.secret), "acme/alice");
  EXPECT_EQ(says(rotated->secret), "acme/alice");
  const auto listed = run(list_keys(*database_, acme_, soon()));
  ASSERT_TRUE(listed && listed->size() == 2);
  EXPECT_EQ((*listed)[0].id, rotated->info.id);
  EXPECT_EQ((*listed)[1].replaced_by, rotated->info.id);
  EXPECT_EQ(*(*listed)[1].revoked_at - rotated->info.created_at, 60s);
  EXPECT_EQ(problem(run(rotate_key(*database_, pepper_, acme_, old.info.id, 60s, caller, soon()))),
            "conflict: the key was rotated before");
  // The overlap can be cut short.
  ASSERT_TRUE(run(revoke_key(*database_, acme_, old.info.id, caller, soon())));
  look();
  EXPECT_EQ(says(old.secret), "this key was revoked");
  EXPECT_EQ(says(rotated->secret), "acme/alice");
  EXPECT_EQ(problem(run(rotate_key(*database_, pepper_, acme_, old.info.id, 60s, caller, soon()))),
            "conflict: the key has ended: create a new one");
}

TEST_F(AccessStoreTest, WithoutAnOverlapTheOldKeyEndsAtOnce) {
  const auto old = key(acme_, "alice");
  const auto rotated = run(rotate_key(*database_, pepper_, acme_, old.info.id, 0s, caller, soon()));
  ASSERT_TRUE(rotated) << rotated.error().to_string();
  EXPECT_EQ(rotated->info.expires_at, std::nullopt);
  look();
  EXPECT_EQ(says(old.secret), "this key was revoked");
}

TEST_F(AccessStoreTest, AnotherTenantHasNoSuchKeyAndNoSuchPrincipal) {
  const auto made = key(acme_, "alice");
  const auto other = tenant("other").id;
  EXPECT_THAT(problem(run(revoke_key(*database_, other, made.info.id, caller, soon()))),
              HasSubstr("not_found"));
  EXPECT_THAT(problem(run(rotate_key(*database_, pepper_, other, made.info.id, 1s, caller, soon()))),
              HasSubstr("not_found"));
  EXPECT_THAT(problem(run(create_key(*database_, pepper_, other, "alice", {}, caller, soon()))),
              HasSubstr("not_found"));
  const auto listed = run(list_keys(*database_, other, soon()));
  ASSERT_TRUE(listed);
  EXPECT_TRUE(listed->empty());
  EXPECT_TRUE(run(list_principals(*database_, other, soon()))->empty());
}

TEST_F(AccessStoreTest, ANameIsThereOnce) {
  EXPECT_EQ(problem(run(create_tenant(*database_, "acme", caller, soon()))),
            "conflict: name: there is a tenant acme already");
  EXPECT_EQ(problem(run(create_principal(*database_, acme_, "alice", Role::admin, caller, soon()))),
            "conflict: name: the tenant has a principal alice already");
  EXPECT_EQ(run(list_tenants(*database_, soon()))->size(), 2u);
  EXPECT_EQ(run(find_tenant(*database_, "default", soon()))->id, 1);
  EXPECT_THAT(problem(run(find_tenant(*database_, "none", soon()))), HasSubstr("not_found"));
  for (const std::string_view bad : {"", "-a", "a b", "a/b", "a:b", "\xc3\xa9"})
    EXPECT_FALSE(check_name("name", bad)) << bad;
  EXPECT_FALSE(check_name("name", std::string(64, 'a')));
  EXPECT_TRUE(check_name("name", "Ada.L_7@acme-x"));
}

TEST_F(AccessStoreTest, ADaemonWithAnotherPepperKnowsThatItIs) {
  const auto made = key(acme_, "alice");
  const Pepper other(Secret("another pepper, which is as long as it"));
  Keyring strange(other, system_clock(), 1h);
  ASSERT_TRUE(run(refresh(*database_, strange, system_clock(), soon())));
  const auto said = strange.identify(made.secret.reveal());
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().code, Code::unavailable);
  EXPECT_THAT(problem(run(create_key(*database_, other, acme_, "alice", {}, caller, soon()))),
              HasSubstr("conflict: access.pepper_file"));
}

// One tenant does not take the room of the others in each daemon's memory. What has ended is not counted.
TEST_F(AccessStoreTest, ATenantHasAtMostSoManyPrincipalsAndKeys) {
  const auto last = key(acme_, "alice");
  as_app(fmt::format("insert into access.principal (tenant_id, name, role) "
                     "select {}, 'p' || n, 'reader' from generate_series(2, {}) n",
                     acme_, listed_max),
         acme_);
  EXPECT_EQ(problem(run(create_principal(*database_, acme_, "one-more", Role::reader, caller, soon()))),
            "constraint: the tenant has 1000 principals already, and no room for more");
  as_app(fmt::format("insert into access.api_key (id, tenant_id, principal, prefix, hash) "
                     "select gen_random_uuid(), {}, (select id from access.principal where name = 'alice'), "
                     "lpad(n::text, 8, '0'), sha256('') from generate_series(2, {}) n",
                     acme_, listed_max),
         acme_);
  EXPECT_EQ(problem(run(create_key(*database_, pepper_, acme_, "alice", {}, caller, soon()))),
            "constraint: the tenant has 1000 keys already, and no room for more");
  ASSERT_TRUE(run(revoke_key(*database_, acme_, last.info.id, caller, soon())));
  EXPECT_TRUE(run(create_key(*database_, pepper_, acme_, "alice", {}, caller, soon())));
  const auto listed = run(list_keys(*database_, acme_, soon()));
  ASSERT_TRUE(listed && listed->size() == listed_max);
  EXPECT_TRUE(std::ranges::none_of(*listed, [&](const KeyInfo& info) { return info.id == last.info.id; }))
      << "what has ended comes last";
}

// A counter would be the same again.
TEST_F(AccessStoreTest, AChangeAfterARestoreIsNoticed) {
  const auto made = key(acme_, "alice");
  look();
  const auto seen = as_owner("select stamp from access.state");
  as_owner("update access.state set stamp = stamp - 1");  // an older backup
  ASSERT_TRUE(run(revoke_key(*database_, acme_, made.info.id, caller, soon())));
  EXPECT_NE(as_owner("select stamp from access.state"), seen);
  look();
  EXPECT_EQ(says(made.secret), "this key was revoked");
}

TEST_F(AccessStoreTest, ADisabledPrincipalsKeysAreNotValid) {
  const auto made = key(acme_, "alice");
  const auto disabled = run(set_disabled(*database_, acme_, "alice", true, caller, soon()));
  ASSERT_TRUE(disabled) << disabled.error().to_string();
  EXPECT_TRUE(disabled->disabled);
  look();
  EXPECT_EQ(says(made.secret), "this key's principal is disabled");
  ASSERT_TRUE(run(set_disabled(*database_, acme_, "alice", false, caller, soon())));
  look();
  EXPECT_EQ(says(made.secret), "acme/alice");
  const auto other = tenant("other").id;
  EXPECT_EQ(problem(run(set_disabled(*database_, other, "alice", true, caller, soon()))),
            "not_found: the tenant has no principal alice");
}

// Each by whom it was, under its tenant's name, and without anything that makes a key.
TEST_F(AccessStoreTest, EachChangeIsAnEntryOfItsTenantWithoutTheHash) {
  const auto made = key(acme_, "alice");
  ASSERT_TRUE(run(revoke_key(*database_, acme_, made.info.id, caller, soon())));
  const auto id = made.info.id.to_string();
  EXPECT_EQ(
      as_owner("select action, object_type, tenant, actor, request_id, session_role from audit.pending "
               "where object_type like 'access.%' order by number"),
      "database.insert|access.tenant|acme|principal:default/ada|req-7|citadel_app\n"
      "database.insert|access.principal|acme|principal:default/ada|req-7|citadel_app\n"
      "database.update|access.state|default|principal:default/ada|req-7|citadel_app\n"  // whose pepper it is
      "database.insert|access.api_key|acme|principal:default/ada|req-7|citadel_app\n"
      "database.update|access.api_key|acme|principal:default/ada|req-7|citadel_app");
  EXPECT_EQ(as_owner("select count(*) from audit.pending where object = '" + id + "'"), "2");
  const auto entries = as_owner("select string_agg(p::text, ' ') from audit.pending p");
  EXPECT_THAT(entries, HasSubstr(made.info.prefix));
  EXPECT_THAT(entries, testing::Not(HasSubstr(to_hex(pepper_.hash(made.secret.reveal())))));
  EXPECT_THAT(entries, testing::Not(HasSubstr("hash")));
  EXPECT_THAT(entries, testing::Not(HasSubstr(made.secret.reveal().substr(12))));
}

}  // namespace
}  // namespace citadel::access
