#include "pg/transaction.hpp"

#include "pg/pgtest.hpp"

namespace citadel::pg {
namespace {

using testing::HasSubstr;

constexpr Statement insert_n{"insert_n", "INSERT INTO tx_n VALUES ($1)"};

class TransactionRoute : public PgRouteTest {
 protected:
  // Tables are made afresh by each test, on the direct route, so that other sessions see them.
  void SetUp() override {
    run([this]() -> Task<> {
      auto db = co_await PgTest::connect(Route::direct);
      CO_ASSERT_OK(co_await db->execute_simple(
          "DROP TABLE IF EXISTS tx_child, tx_n; CREATE TABLE tx_n (n int8 PRIMARY KEY); "
          "CREATE TABLE tx_child (n int8 REFERENCES tx_n DEFERRABLE INITIALLY DEFERRED)",
          soon()));
    });
  }
  void TearDown() override {
    run([this]() -> Task<> {
      auto db = co_await PgTest::connect(Route::direct);
      CO_ASSERT_OK(co_await db->execute_simple(
          "DROP TABLE IF EXISTS tx_child, tx_n; DROP FUNCTION IF EXISTS tx_slow()", soon()));
    });
  }

  Task<std::int64_t> count() {
    auto db = co_await PgTest::connect(Route::direct);
    auto rows = co_await db->execute({"count", "SELECT count(*) FROM tx_n"}, {}, soon());
    co_return rows ? (*rows)[0].get<std::int64_t>(0) : -1;
  }

  Task<> make_commit_slow(std::string seconds) { return make_commit_do("PERFORM pg_sleep(" + seconds + ")"); }

  // A trigger that does so inside COMMIT.
  Task<> make_commit_do(std::string statement) {
    auto db = co_await PgTest::connect(Route::direct);
    CO_ASSERT_OK(co_await db->execute_simple(
        "CREATE FUNCTION tx_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + statement +
            "; RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON tx_n DEFERRABLE "
            "INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION tx_slow()",
        soon()));
  }
};
INSTANTIATE_TEST_SUITE_P(, TransactionRoute, testing::Values(Route::direct, Route::pgpool), route_name);

TEST_P(TransactionRoute, CommitsAndRollsBack) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto kept = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(kept);
    CO_ASSERT_OK(co_await kept->execute(insert_n, Params(std::int64_t{1}), soon()));
    CO_ASSERT_OK(co_await kept->commit(soon()));
    EXPECT_EQ(db->state(), SessionState::idle);
    auto undone = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(undone);
    CO_ASSERT_OK(co_await undone->execute(insert_n, Params(std::int64_t{2}), soon()));
    CO_ASSERT_OK(co_await undone->rollback(soon()));
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_EQ(co_await count(), 1);
  });
}

TEST_P(TransactionRoute, OptionsReachTheServer) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    struct Case {
      Isolation isolation;
      std::string_view name;
    };
    for (const Case c : {Case{Isolation::read_committed, "read committed"},
                         Case{Isolation::repeatable_read, "repeatable read"},
                         Case{Isolation::serializable, "serializable"}}) {
      auto tx = co_await Transaction::begin(
          *db, {.isolation = c.isolation, .read_only = true, .primary_only = true, .deferrable = true},
          soon());
      CO_ASSERT_OK(tx);
      auto rows = co_await tx->execute({"settings",
                                        "SELECT current_setting('transaction_isolation'), "
                                        "current_setting('transaction_read_only'), "
                                        "current_setting('transaction_deferrable')"},
                                       {}, soon());
      CO_ASSERT_OK(rows);
      EXPECT_EQ((*rows)[0].get<std::string_view>(0), c.name);
      EXPECT_EQ((*rows)[0].get<std::string_view>(1), "on");
      EXPECT_EQ((*rows)[0].get<std::string_view>(2), "on");
      EXPECT_FALSE(co_await tx->execute(insert_n, Params(std::int64_t{1}), soon()));
      CO_ASSERT_OK(co_await tx->rollback(soon()));
    }
  });
}

TEST_P(TransactionRoute, ASecondBeginIsRefused) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    EXPECT_CODE(co_await Transaction::begin(*db, {}, soon()), Code::internal);
    CO_ASSERT_OK(co_await tx->rollback(soon()));
  });
}

TEST_P(TransactionRoute, AFailedDeferredConstraintIsAnErrorAndTheSessionGoesOn) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    CO_ASSERT_OK(co_await tx->execute({"orphan", "INSERT INTO tx_child VALUES (99)"}, {}, soon()));
    CO_ASSERT_OK(co_await tx->execute(insert_n, Params(std::int64_t{1}), soon()));
    auto committed = co_await tx->commit(soon());
    EXPECT_CODE(committed, Code::constraint);
    EXPECT_STREQ(committed.error().sqlstate, "23503");
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_EQ(co_await count(), 0);
    auto next = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(next);
    CO_ASSERT_OK(co_await next->execute(insert_n, Params(std::int64_t{1}), soon()));
    CO_ASSERT_OK(co_await next->commit(soon()));
    EXPECT_EQ(co_await count(), 1);
  });
}

// Pgpool-II says so, in many ways, that it has lost the server.
TEST_P(TransactionRoute, AnInternalErrorInCommitIsUnknownAndTheSessionGoesOn) {
  run([this]() -> Task<> {
    co_await make_commit_do("RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = 'words that nobody knows'");
    auto db = co_await connect();
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    CO_ASSERT_OK(co_await tx->execute(insert_n, Params(std::int64_t{1}), soon()));
    auto committed = co_await tx->commit(soon());
    EXPECT_CODE(committed, Code::commit_unknown);
    EXPECT_STREQ(committed.error().sqlstate, "XX000");
    EXPECT_EQ(db->state(), SessionState::idle);
    auto next = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(next);
    CO_ASSERT_OK(co_await next->commit(soon()));
  });
}

TEST_P(TransactionRoute, CommitAfterAnUnheededErrorIsAnError) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    CO_ASSERT_OK(co_await tx->execute(insert_n, Params(std::int64_t{1}), soon()));
    EXPECT_CODE(co_await tx->execute(insert_n, Params(std::int64_t{1}), soon()), Code::conflict);
    EXPECT_EQ(db->state(), SessionState::failed);
    auto committed = co_await tx->commit(soon());
    EXPECT_CODE(committed, Code::internal);
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_EQ(co_await count(), 0);
  });
}

TEST_P(TransactionRoute, ABackendTerminatedInCommitIsUnknown) {
  run([this]() -> Task<> {
    co_await make_commit_slow("20");
    auto db = co_await connect();
    auto killer = co_await PgTest::connect(Route::direct);
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    CO_ASSERT_OK(co_await tx->execute(insert_n, Params(std::int64_t{1}), soon()));
    std::optional<Result<void>> outcome;
    asio::co_spawn(context_, [&]() -> Task<> { outcome = co_await tx->commit(soon()); }, asio::detached);
    co_await until_asleep(*killer, *db);
    CO_ASSERT_OK(co_await killer->execute({"terminate", "SELECT pg_terminate_backend($1)"},
                                          Params(std::int32_t{db->backend_pid()}), soon()));
    // sleep: polls, until a deadline
    for (const Deadline limit = soon(); !outcome && !limit.expired();) co_await aio::sleep_for(5ms);
    EXPECT_TRUE(outcome.has_value());
    if (!outcome) co_return;
    EXPECT_CODE(*outcome, Code::commit_unknown);
    EXPECT_EQ(outcome->error().retry, Retry::never);
    EXPECT_EQ(db->state(), SessionState::broken);
  });
}

TEST_P(TransactionRoute, ADeadlineInCommitIsUnknown) {
  run([this]() -> Task<> {
    co_await make_commit_slow("20");
    auto db = co_await connect();
    auto helper = co_await PgTest::connect(Route::direct);
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    CO_ASSERT_OK(co_await tx->execute(insert_n, Params(std::int64_t{1}), soon()));
    EXPECT_CODE(co_await tx->commit(Deadline::after(150ms)), Code::commit_unknown);
    EXPECT_EQ(db->state(), SessionState::busy);
    CO_ASSERT_OK(co_await db->recover(soon(), helper.get()));
    EXPECT_EQ(co_await count(), 0);
  });
}

TEST_P(TransactionRoute, NothingIsUnknownBeforeCommitIsSent) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    EXPECT_CODE(co_await tx->commit(Deadline::after(0s)), Code::deadline_exceeded);
    EXPECT_EQ(db->state(), SessionState::in_block);
    auto killer = co_await PgTest::connect(Route::direct);
    CO_ASSERT_OK(co_await killer->execute({"terminate", "SELECT pg_terminate_backend($1)"},
                                          Params(std::int32_t{db->backend_pid()}), soon()));
    Result<Rows> answer;
    for (const Deadline limit = soon(); answer && !limit.expired();)
      answer = co_await tx->execute_simple("SELECT 1", soon());
    EXPECT_CODE(answer, Code::connection_lost);
    EXPECT_CODE(co_await tx->commit(soon()), Code::connection_lost);
  });
}

TEST_P(TransactionRoute, NothingIsUnknownWhereTheSessionIsBusyBeforeCommit) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto helper = co_await PgTest::connect(Route::direct);
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    EXPECT_CODE(co_await tx->execute_simple("SELECT pg_sleep(20)", Deadline::after(50ms)),
                Code::deadline_exceeded);
    EXPECT_EQ(db->state(), SessionState::busy);
    const auto committed = co_await tx->commit(soon());
    EXPECT_CODE(committed, Code::internal);
    EXPECT_THAT(committed.error().message, testing::HasSubstr("COMMIT was not sent"));
    CO_ASSERT_OK(co_await db->recover(soon(), helper.get()));
  });
}

TEST_P(TransactionRoute, ASavepointTakesItsErrorBack) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    CO_ASSERT_OK(co_await tx->execute(insert_n, Params(std::int64_t{1}), soon()));
    auto failed = co_await tx->savepoint(soon(), [](Transaction& inner) -> Task<Result<void>> {
      CITADEL_CO_TRY(co_await inner.execute(insert_n, Params(std::int64_t{2}), soon()));
      CITADEL_CO_TRY(co_await inner.savepoint(soon(), [](Transaction& innermost) -> Task<Result<void>> {
        CITADEL_CO_TRY(co_await innermost.execute(insert_n, Params(std::int64_t{3}), soon()));
        co_return Result<void>();
      }));
      CITADEL_CO_TRY(co_await inner.execute(insert_n, Params(std::int64_t{1}), soon()));
      co_return Result<void>();
    });
    EXPECT_CODE(failed, Code::conflict);
    EXPECT_EQ(db->state(), SessionState::in_block);
    CO_ASSERT_OK(co_await tx->savepoint(soon(), [](Transaction& inner) -> Task<Result<void>> {
      CITADEL_CO_TRY(co_await inner.execute(insert_n, Params(std::int64_t{4}), soon()));
      co_return Result<void>();
    }));
    CO_ASSERT_OK(co_await tx->commit(soon()));
    EXPECT_EQ(co_await count(), 2);
  });
}

TEST_P(TransactionRoute, SetLocalEndsWithTheTransaction) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    const Statement setting{"setting", "SELECT current_setting('citadel.tenant', true)"};
    auto tx = co_await Transaction::begin(*db, {}, soon());
    CO_ASSERT_OK(tx);
    CO_ASSERT_OK(co_await tx->set_local("citadel.tenant", "it's 7", soon()));
    auto inside = co_await tx->execute(setting, {}, soon());
    CO_ASSERT_OK(inside);
    EXPECT_EQ((*inside)[0].get<std::string>(0), "it's 7");
    CO_ASSERT_OK(co_await tx->commit(soon()));
    auto outside = co_await db->execute(setting, {}, soon());
    CO_ASSERT_OK(outside);
    EXPECT_EQ((*outside)[0].get<std::string>(0), "");
  });
}

TEST_P(TransactionRoute, ConflictsCarryTheirCodes) {
  run([this]() -> Task<> {
    auto one = co_await connect();
    auto two = co_await connect();
    const TransactionOptions serializable{.isolation = Isolation::serializable};
    auto first = co_await Transaction::begin(*one, serializable, soon());
    auto second = co_await Transaction::begin(*two, serializable, soon());
    CO_ASSERT_OK(first);
    CO_ASSERT_OK(second);
    const Statement sum{"sum", "SELECT coalesce(sum(n), 0)::int8 FROM tx_n"};
    CO_ASSERT_OK(co_await first->execute(sum, {}, soon()));
    CO_ASSERT_OK(co_await second->execute(sum, {}, soon()));
    CO_ASSERT_OK(co_await first->execute(insert_n, Params(std::int64_t{1}), soon()));
    CO_ASSERT_OK(co_await second->execute(insert_n, Params(std::int64_t{2}), soon()));
    CO_ASSERT_OK(co_await first->commit(soon()));
    auto lost = co_await second->commit(soon());
    EXPECT_CODE(lost, Code::serialization_failure);
    EXPECT_EQ(lost.error().retry, Retry::fresh_snapshot);
    EXPECT_EQ(two->state(), SessionState::idle);
  });
}

}  // namespace
}  // namespace citadel::pg
