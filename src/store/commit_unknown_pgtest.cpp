// Transactions whose COMMIT gets no answer.
#include "store/store_testing.hpp"
#include "support/fault_proxy.hpp"

namespace citadel::store {
namespace {

// With its end, because BEGIN has READ COMMITTED in it.
const std::string commit_message("COMMIT\0", 7);

// One session through a proxy, so that what happens to it happens to the transaction.
class CommitUnknown : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    const Migration only[] = {first};
    ASSERT_TRUE(migrate_with(only));
  }
  Options through_proxy() {
    auto out = options();
    out.pool.size_max = 1;
    out.pool.connect.host = "127.0.0.1";
    out.pool.connect.port = proxy_.port();
    out.pool.connect.tls = pg::TlsMode::disable;
    return out;
  }
  // Inserts a row, and counts how often the closure runs.
  Task<Result<bool>> insert_counted(Database& database, std::int64_t id, Deadline deadline,
                                    CommitCheck check = CommitCheck::marker) {
    return database.transact<bool>(
        deadline, Intent::write, {.name = "insert", .commit_check = check},
        [this, id, deadline](pg::Transaction& tx) -> Task<Result<bool>> {
          ++runs_;
          CITADEL_CO_TRY(co_await tx.execute(insert_thing, pg::Params(id, "x"), deadline));
          co_return true;
        });
  }

  support::FaultProxy proxy_{servers_->pooled().host, servers_->pooled().port};
  int runs_ = 0;
};

// The COMMIT is done, its answer never arrives: the marker row tells, and the closure does not run twice.
TEST_F(CommitUnknown, WhereTheAnswerWasLostItIsResolvedAsCommitted) {
  with_database(through_proxy(), [this](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    proxy_.drop_server_bytes_containing("COMMIT");
    const auto done = co_await insert_counted(database, 2, soon());
    EXPECT_TRUE(done) << done.error().to_string();
    EXPECT_EQ(runs_, 1);
    EXPECT_EQ(proxy_.counts().drops, 1u);
    EXPECT_EQ(database.status().commit_unknown_total, 1u);
    EXPECT_EQ(database.status().commit_resolved_total, 1u);
    EXPECT_EQ(co_await count(database), 2);
  });
}

// The COMMIT never arrives: nothing was committed, so the closure runs again, with one effect.
TEST_F(CommitUnknown, WhereTheCommitWasLostItIsResolvedAsNotCommittedAndRunsAgain) {
  with_database(through_proxy(), [this](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    proxy_.drop_client_bytes_containing(commit_message);
    const auto done = co_await insert_counted(database, 2, soon());
    EXPECT_TRUE(done) << done.error().to_string();
    EXPECT_EQ(runs_, 2);
    EXPECT_EQ(proxy_.counts().drops, 1u);
    EXPECT_EQ(database.status().commit_unknown_total, 1u);
    EXPECT_EQ(database.status().commit_resolved_total, 1u);
    EXPECT_EQ(database.status().retries_total, 1u);
    EXPECT_EQ(co_await count(database), 2);
  });
}

// The database stays away: the caller is told so by its deadline, whichever way it went, and nothing is tried
// again.
TEST_F(CommitUnknown, WhereNobodyCanBeAskedTheCallerIsToldByItsDeadline) {
  with_database(through_proxy(), [this](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    for (const bool committed : {true, false}) {
      runs_ = 0;
      const auto before = database.status();
      committed ? proxy_.drop_server_bytes_containing("COMMIT")
                : proxy_.drop_client_bytes_containing(commit_message);
      proxy_.refuse(true);  // nobody but the session that is there
      const auto deadline = Deadline::after(400ms);
      const auto unknown = co_await insert_counted(database, committed ? 2 : 3, deadline);
      EXPECT_FALSE(deadline.expired(Monotonic::now() - 100ms));
      EXPECT_FALSE(unknown);
      EXPECT_EQ(unknown.error().code, Code::commit_unknown) << unknown.error().to_string();
      EXPECT_EQ(unknown.error().retry, Retry::never);
      EXPECT_EQ(runs_, 1);
      const auto after = database.status();
      EXPECT_EQ(after.commit_unknown_total, before.commit_unknown_total + 1);
      EXPECT_EQ(after.commit_resolved_total, before.commit_resolved_total);
      proxy_.refuse(false);
      EXPECT_EQ(co_await count(database), 2) << "committed: " << committed;
    }
    EXPECT_EQ(proxy_.counts().drops, 2u);
  });
}

TEST_F(CommitUnknown, ACallerWithARowOfItsOwnIsToldAtOnce) {
  with_database(through_proxy(), [this](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    proxy_.drop_server_bytes_containing("COMMIT");
    const auto unknown = co_await insert_counted(database, 2, soon(), CommitCheck::by_caller);
    EXPECT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, Code::commit_unknown) << unknown.error().to_string();
    EXPECT_EQ(runs_, 1);
    EXPECT_EQ(co_await count(database), 2);
  });
}

}  // namespace
}  // namespace citadel::store
