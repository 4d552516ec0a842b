// That the database itself keeps tenants apart, whatever the daemon's code does.
#include <stdlib.h>

#include "access/access_pg_testing.hpp"
#include "base/random.hpp"

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

// Not even whether it is there.
TEST_F(IsolationTest, AKeyIsReplacedByOneOfItsOwnTenant) {
  const auto foreign = as_app("select id from access.api_key", other_);
  for (const auto& id : {foreign, std::string("019a0000-0000-7000-8000-000000000000")})
    EXPECT_EQ(as_app(fmt::format("update access.api_key set replaced_by = '{}'", id), acme_), "23503");
}

// Who can become the owner is held by the policy as the owner is.
TEST_F(IsolationTest, AMemberOfTheOwnerSeesNoMoreThanTheOwner) {
  servers_.sql_as_superuser(
      "do $$ begin create role access_member login in role citadel_owner; exception when duplicate_object "
      "then null; end $$");
  EXPECT_EQ(servers_.sql_as_superuser(
                fmt::format("\\connect {}\nset session authorization access_member; set role citadel_owner; "
                            "select count(*) from access.principal; set citadel.tenant = '{}'; select "
                            "count(*) from access.principal",
                            name_, acme_)),
            "0\n1");
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
        "insert into access.tenant (name) values ('x')", "update access.state set stamp = 0"})
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

// ---------------------------------------------------------------------------------------------------------------------
// Many callers of three tenants on few sessions, which every one of them leaves to another one's tenant, in
// whatever state: committed, rolled back, failed, cancelled.

std::int64_t operations_wanted() {
  const char* const text = ::getenv("CITADEL_ISOLATION_OPERATIONS");
  return text ? std::strtoll(text, nullptr, 10) : 3'000;
}

class RandomOperations : public AccessTest {
 protected:
  struct Counts {
    std::int64_t done = 0, rows = 0, aborted = 0, cancelled = 0, refused = 0;
  };

  void SetUp() override {
    options_.pool.size_max = 6;
    AccessTest::SetUp();
  }
  static bool sleeps(std::uint64_t draw) { return draw % 53 == 0; }  // a cancelled session is not used again

  // Everything that a transaction sees must be its tenant's: rows that it reads, has changed or has made.
  void expect_own(const Result<pg::Rows>& rows, std::size_t which) {
    if (!rows) return;
    for (const pg::Row row : *rows) {
      ++counts_.rows;
      ASSERT_EQ(row.get<std::string_view>(0), std::to_string(tenants_[which].id));
      ASSERT_TRUE(row.get<std::string_view>(1).starts_with(tenants_[which].name))
          << row.get<std::string_view>(1);
    }
  }

  Task<Result<void>> act(pg::Transaction& transaction, std::size_t which, std::uint64_t draw,
                         Deadline deadline) {
    constexpr std::string_view all = "select tenant_id, name from access.principal";
    const auto own = tenants_[which].id, other = tenants_[(which + 1 + draw % 2) % tenants_.size()].id;
    const auto insert = [&](std::int32_t tenant) {
      return fmt::format(
          "insert into access.principal (tenant_id, name, role) values ({}, '{}-{}', 'reader') "
          "returning tenant_id, name",
          tenant, tenants_[which].name, ++made_);
    };
    std::string statement(all);
    if (sleeps(draw)) {  // cancelled in the middle
      statement = "select tenant_id, name, pg_sleep(0.05) from access.principal";
    } else
      switch (draw % 10) {
        case 0:
          statement = insert(own);
          break;
        case 1:
          statement = "update access.principal set disabled = not disabled returning tenant_id, name";
          break;
        case 2:  // that it names another one helps nobody
          statement = fmt::format("{} where tenant_id = {}", all, other);
          break;
        case 3:  // refused, and the transaction with it
          statement = insert(other);
          break;
        case 4:
          statement = "select 1/0";
          break;
        default:
          break;
      }
    const auto rows =
        co_await transaction.execute_simple(statement, sleeps(draw) ? Deadline::after(10ms) : deadline);
    expect_own(rows, which);
    if (!rows) co_return std::unexpected(rows.error());
    if (statement.starts_with("insert") && draw % 10 == 3)
      ADD_FAILURE() << "a row for another tenant was taken";
    // What is seen does not change by what came before in the transaction; some give up here.
    expect_own(co_await transaction.execute_simple(all, deadline), which);
    if (draw % 7 == 0) co_return fail(Code::cancelled, "given up");
    co_return Result<void>();
  }

  Task<> caller_of(std::uint64_t seed, std::int64_t wanted) {
    SeededRandom random(seed);
    while (counts_.done < wanted) {
      ++counts_.done;
      const auto draw = random.next();
      const auto which = (draw >> 32) % tenants_.size();
      // Of a sleep, little; of everything else, now and then next to nothing.
      const auto deadline =
          draw % 197 == 0 ? Deadline::after(300us) : soon();  // now and then next to nothing
      const auto done = co_await database_->transact<bool>(
          deadline, store::Intent::write, {.name = "random operation"},
          [&](pg::Transaction& transaction) -> Task<Result<bool>> {
            CITADEL_CO_TRY(co_await transaction.set_local("citadel.tenant",
                                                          std::to_string(tenants_[which].id), deadline));
            CITADEL_CO_TRY(co_await act(transaction, which, draw, deadline));
            co_return true;
          });
      if (done) continue;
      const auto code = done.error().code;
      ++(code == Code::deadline_exceeded || code == Code::statement_timeout ? counts_.cancelled
         : code == Code::permission_denied                                  ? counts_.refused
                                                                            : counts_.aborted);
    }
  }

  std::vector<Tenant> tenants_;
  std::int64_t made_ = 0;
  int callers_ = 0;
  Counts counts_;
};

TEST_F(RandomOperations, NoRowCrosses) {
  for (const auto* name : {"ada", "bob", "cyd"}) {
    tenants_.push_back(tenant(name));
    principal(tenants_.back().id, fmt::format("{}-0", name));
  }
  const auto wanted = operations_wanted();
  const auto seed = random_seed();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  for (std::uint64_t i = 0; i < 24; ++i) {
    ++callers_;
    asio::co_spawn(context_, caller_of(seed + i, wanted), [this](const std::exception_ptr& thrown) {
      EXPECT_FALSE(thrown);
      if (--callers_ == 0) context_.stop();  // the pool's own work goes on
    });
  }
  context_.run();
  context_.restart();
  EXPECT_GE(counts_.done, wanted);
  // Each way to end has been gone, and what was kept is whose it says.
  for (const auto count : {counts_.rows, counts_.aborted, counts_.cancelled, counts_.refused})
    EXPECT_GT(count, wanted / 200);
  for (const auto& tenant : tenants_)
    EXPECT_EQ(
        as_app(fmt::format("select count(*) from access.principal where name not like '{}-%'", tenant.name),
               tenant.id),
        "0");
  RecordProperty("operations", std::to_string(counts_.done));
}

}  // namespace
}  // namespace citadel::access
