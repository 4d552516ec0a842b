// Transactions whose COMMIT gets no answer.
#include "store/store_testing.hpp"
#include "support/fault_proxy.hpp"

namespace citadel::store {
namespace {

// The COMMIT is done, its answer never arrives: the marker row tells, and the closure does not run twice.
TEST_F(StoreTest, ACommitWhoseAnswerWasLostIsResolvedAsCommitted) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  support::FaultProxy proxy(servers_->pooled().host, servers_->pooled().port);
  auto through_proxy = options();
  through_proxy.pool.connect.host = "127.0.0.1";
  through_proxy.pool.connect.port = proxy.port();
  through_proxy.pool.connect.tls = pg::TlsMode::disable;
  with_database(through_proxy, [&proxy](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    proxy.drop_server_bytes_containing("COMMIT");
    const auto done = co_await insert(database, 2);
    EXPECT_TRUE(done) << done.error().to_string();
    EXPECT_EQ(proxy.counts().drops, 1u);
    EXPECT_EQ(database.status().commit_unknown_total, 1u);
    EXPECT_EQ(database.status().commit_resolved_total, 1u);
    EXPECT_EQ(co_await count(database), 2);
  });
}

}  // namespace
}  // namespace citadel::store
