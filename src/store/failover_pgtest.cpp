// The database while its server changes its role.
#include <fstream>

#include "pg/sqlstate.hpp"
#include "store/store_testing.hpp"

namespace citadel::store {
namespace {

// Servers that a test may stop.
struct OwnServers {
  support::Servers own{{.pgpool_children = 20}};
};
class RoleChange : OwnServers, public StoreTest {
 protected:
  RoleChange() : StoreTest(own) {}

  // A server in recovery without a primary to follow: it reads, and refuses to write.
  void become_a_standby() {
    ASSERT_TRUE(servers_->stop(local::Server::postgres, soon()));
    std::ofstream(servers_.data() / "postgres" / "standby.signal").close();
    ASSERT_TRUE(servers_->start(local::Server::postgres, soon()));
    ASSERT_EQ(servers_.sql_as_superuser("select pg_is_in_recovery()"), "t");
  }
};

TEST_F(RoleChange, AWriteThatMeetsAStandbyIsNotAvailableAndEndsTheGeneration) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  auto wanted = options();
  wanted.attempts_max = 1;
  with_database(wanted, [this](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    const auto healthy = database.status().pool.generation;
    become_a_standby();
    // What the restart broke is found out by reads, which a standby answers.
    for (const auto deadline = soon(); co_await count(database) != 1 && !deadline.expired();) {
    }
    const auto reading = database.status().pool.generation;
    const auto refused = co_await insert(database, 2);
    EXPECT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::unavailable) << refused.error().to_string();
    EXPECT_EQ(refused.error().sqlstate, pg::read_only_state);
    EXPECT_EQ(database.status().pool.generation, reading + 1) << "healthy: " << healthy;
    servers_.sql_as_superuser("select pg_promote()");
    const auto done = co_await insert(database, 2);
    EXPECT_TRUE(done) << done.error().to_string();
    EXPECT_EQ(co_await count(database), 2);
  });
}

}  // namespace
}  // namespace citadel::store
