// That the database itself keeps tenants apart, whatever the daemon's code does.
#include "access/access_pg_testing.hpp"

namespace citadel::access {
namespace {

class IsolationTest : public AccessTest {
 protected:
  void SetUp() override {
    AccessTest::SetUp();
    acme_ = tenant("acme").id;
    other_ = tenant("other").id;
    for (const auto id : {acme_, other_}) {
      principal(id, "alice");
      key(id, "alice");
    }
  }
  std::int32_t acme_ = 0, other_ = 0;
};

TEST_F(IsolationTest, WithoutTheSettingThereIsNoRow) {
  for (const std::string table : {"tenant", "principal", "api_key"}) {
    const auto count = "select count(*) from access." + table;
    EXPECT_EQ(as_app(count), "0") << table;
    EXPECT_EQ(as_app("set local citadel.tenant = ''; " + count), "0") << table;
    EXPECT_EQ(as_app(count, acme_), "1") << table;
    // The owner is under it, too; a superuser alone is not.
    EXPECT_EQ(as_owner(count), "0") << table;
  }
}

TEST_F(IsolationTest, ATenantsRowsAreItsOwn) {
  EXPECT_EQ(as_app("select name from access.tenant", acme_), "acme");
  EXPECT_EQ(as_app("select distinct tenant_id from access.principal", other_), std::to_string(other_));
  EXPECT_EQ(as_app(fmt::format("select count(*) from access.api_key where tenant_id = {}", other_), acme_),
            "0");
  EXPECT_EQ(as_app(fmt::format("with done as (update access.api_key set revoked_at = now() where tenant_id = "
                               "{} returning 1) select count(*) from done",
                               other_),
                   acme_),
            "0");
}

TEST_F(IsolationTest, WritingForAnotherTenantIsRefused) {
  const auto insert = fmt::format(
      "insert into access.principal (tenant_id, name, role) values ({}, 'mallory', 'admin')", other_);
  EXPECT_EQ(as_app(insert, acme_), "42501");
  EXPECT_EQ(as_app(insert), "42501");
  EXPECT_EQ(as_app(insert, other_), "");
  // A key of this tenant for a principal of the other one.
  const auto principal = as_app("select id from access.principal where name = 'mallory'", other_);
  EXPECT_EQ(as_app(fmt::format("insert into access.api_key (id, tenant_id, principal, prefix, hash) values "
                               "(gen_random_uuid(), {}, {}, 'Abcdef12', sha256(''))",
                               acme_, principal),
                   acme_),
            "23503");
}

TEST_F(IsolationTest, TheDaemonsRoleCannotStepPastIt) {
  EXPECT_EQ(as_app("select rolsuper or rolbypassrls from pg_roles where rolname = current_user"), "f");
  EXPECT_EQ(as_app("select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                   "where n.nspname = 'access' and pg_has_role(c.relowner, 'usage')"),
            "0");
  for (const std::string statement :
       {"set local row_security = off; select count(*) from access.principal",
        "alter table access.principal disable row level security", "drop policy tenant on access.principal",
        "select access.isolate('access.principal', 'id')", "select access.tenant_name(1)",
        "select hash from access.api_key", "update access.api_key set hash = sha256('')",
        "update access.api_key set tenant_id = 1", "update access.principal set role = 'admin'",
        "delete from access.api_key", "truncate access.api_key",
        "insert into access.tenant (name) values ('x')", "update access.state set revision = 0"})
    EXPECT_EQ(as_app(statement, acme_), "42501") << statement;
}

// A table that is new in the schema and of a tenant is under it, or this fails.
TEST_F(IsolationTest, EachTableOfATenantIsForcedUnderIt) {
  EXPECT_EQ(as_owner("select string_agg(c.relname, ' ' order by c.relname) from pg_class c "
                     "where c.relnamespace = 'access'::regnamespace and c.relkind in ('r', 'p') "
                     "and c.relrowsecurity and c.relforcerowsecurity"),
            "api_key principal tenant");
  EXPECT_EQ(as_owner("select string_agg(c.relname, ' ') from pg_class c "
                     "where c.relnamespace = 'access'::regnamespace and c.relkind in ('r', 'p') "
                     "and not (c.relrowsecurity and c.relforcerowsecurity)"),
            "state");
}

TEST_F(IsolationTest, TheLookUpGivesTheKeysOfAllAndNothingThatEndedLongAgo) {
  EXPECT_EQ(as_app("select tenant, principal, role, revoked from access.lookup() order by tenant"),
            "acme|alice|reader|f\nother|alice|reader|f");
  as_app("update access.api_key set revoked_at = now() - interval '2 days'", acme_);
  as_app("update access.api_key set revoked_at = now()", other_);
  EXPECT_EQ(as_app("select tenant, revoked from access.lookup()"), "other|t");
}

}  // namespace
}  // namespace citadel::access
