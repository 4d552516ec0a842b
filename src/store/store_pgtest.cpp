#include "aio/wait.hpp"
#include "store/store_testing.hpp"

namespace citadel::store {
namespace {

constexpr Migration second{2, "two", "create index thing_note on citadel.thing (note)"};
constexpr Migration second_edited{2, "two", "create index thing_note on citadel.thing (note, id)"};
constexpr Migration third_bad{3, "three", "create table citadel.other (id int); select 1/0"};

TEST_F(StoreTest, MigrationsAreAppliedOnceAndInOrder) {
  const Migration both[] = {first, second};
  EXPECT_EQ(migrate_with(std::span(both, 1)).value(), 1);
  EXPECT_EQ(migrate_with(both).value(), 1);
  EXPECT_EQ(migrate_with(both).value(), 0);
  const auto connection = connect(owner());
  const auto status = aio::run(context_, migration_status(*connection, both, soon())).value();
  ASSERT_EQ(status.size(), 2u);
  EXPECT_EQ(status[1].state, MigrationState::applied);
  EXPECT_TRUE(status[1].applied_at);
}

TEST_F(StoreTest, AnEditedMigrationIsRefusedAndNothingChanges) {
  const Migration both[] = {first, second};
  ASSERT_TRUE(migrate_with(both));
  const Migration edited[] = {first, second_edited, third_bad};
  const auto refused = migrate_with(edited);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("0002_two"));
  const auto newer = migrate_with(std::span(both, 1));
  ASSERT_FALSE(newer);
  EXPECT_THAT(newer.error().message, HasSubstr("newer Citadel"));
}

TEST_F(StoreTest, AFailingMigrationLeavesNothingOfItself) {
  const Migration all[] = {first, second, third_bad};
  const auto failed = migrate_with(all);
  ASSERT_FALSE(failed);
  EXPECT_STREQ(failed.error().sqlstate, "22012");
  EXPECT_THAT(failed.error().where, HasSubstr("0003_three"));
  const auto connection = connect(owner());
  const auto status = aio::run(context_, migration_status(*connection, all, soon())).value();
  EXPECT_EQ(status[1].state, MigrationState::applied);
  EXPECT_EQ(status[2].state, MigrationState::pending);
}

TEST_F(StoreTest, OurOwnMigrationsApplyAndDriftIsNamed) {
  ASSERT_TRUE(migrate_with(embedded_migrations()));
  const auto connection = connect(owner());
  EXPECT_THAT(aio::run(context_, find_drift(*connection, soon())).value(), IsEmpty());
  ASSERT_TRUE(aio::run(
      context_, connection->execute_simple(
                    "alter table usage.model add note text; drop index usage.request_failed", soon())));
  const auto drift = aio::run(context_, find_drift(*connection, soon())).value();
  ASSERT_EQ(drift.size(), 2u);
  EXPECT_THAT(drift[0], HasSubstr("- index CREATE INDEX request_failed"));
  EXPECT_THAT(drift[1], HasSubstr("+ column usage.model.note text"));
}

TEST_F(StoreTest, ManyDaemonsThatMigrateAtOnceApplyEachOnce) {
  const Migration both[] = {first, second};
  std::vector<std::unique_ptr<pg::Connection>> connections;
  for (int i = 0; i < 4; ++i) connections.push_back(connect(owner()));
  int applied = 0;
  int ended = 0;
  for (auto& connection : connections) {
    asio::co_spawn(context_, migrate(*connection, both, soon(), {}),
                   [&](std::exception_ptr, Result<int> count) {
                     EXPECT_TRUE(count) << count.error().to_string();
                     applied += count.value_or(0);
                     ++ended;
                   });
  }
  context_.restart();
  // Not run(): the sessions' watchdogs would keep it until the deadline.
  while (ended < 4 && context_.run_one() > 0) {
  }
  EXPECT_EQ(ended, 4);
  EXPECT_EQ(applied, 2);
}

constexpr pg::Statement sleep_shortly{"sleep shortly", "select pg_sleep(0.3)"};

TEST_F(StoreTest, ATransactionCommitsOrLeavesNothing) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    const auto repeated = co_await insert(database, 1);
    EXPECT_FALSE(repeated);
    EXPECT_EQ(repeated.error().code, Code::conflict);
    const auto refused = co_await database.transact<bool>(
        soon(), Intent::write, {.name = "refuse"}, [](pg::Transaction& tx) -> Task<Result<bool>> {
          CITADEL_CO_TRY(co_await tx.execute(insert_thing, pg::Params(std::int64_t{2}, "x"), soon()));
          co_return fail(Code::invalid_argument, "changed my mind");
        });
    EXPECT_EQ(refused.error().code, Code::invalid_argument);
    EXPECT_EQ(co_await count(database), 1);
  });
}

TEST_F(StoreTest, AReadTransactionCannotWrite) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [](Database& database) -> Task<> {
    const auto refused = co_await database.transact<bool>(
        soon(), Intent::read, {.name = "read"}, [](pg::Transaction& tx) -> Task<Result<bool>> {
          CITADEL_CO_TRY(co_await tx.execute(insert_thing, pg::Params(std::int64_t{2}, "x"), soon()));
          co_return true;
        });
    EXPECT_STREQ(refused.error().sqlstate, "25006");
  });
}

// Holds the first of two transactions until the second is as far as it, so that they are sure to be in each
// other's way. Whoever comes later, because it is run again, passes.
class Meeting {
 public:
  explicit Meeting(const Executor& executor) : both_came_(executor) {}
  Task<> arrive() {
    ++arrived_;
    if (arrived_ == 1) EXPECT_EQ(co_await both_came_.wait(soon()), true);
    if (arrived_ == 2) both_came_.set(true);
  }

 private:
  aio::OneShot<bool> both_came_;
  int arrived_ = 0;
};

// Two transactions that update the same two rows in opposite order: PostgreSQL ends one, and it is run again.
TEST_F(StoreTest, ADeadlockIsRunAgainUnseen) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [this](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    EXPECT_TRUE(co_await insert(database, 2));
    int runs = 0;
    Meeting meeting(context_.get_executor());
    const auto update_both = [&](std::int64_t from, std::int64_t to) {
      return database.transact<bool>(
          soon(), Intent::write, {.name = "update both"},
          [&runs, &meeting, from, to](pg::Transaction& tx) -> Task<Result<bool>> {
            ++runs;
            CITADEL_CO_TRY(co_await tx.execute(update_thing, pg::Params(from, "y"), soon()));
            co_await meeting.arrive();
            CITADEL_CO_TRY(co_await tx.execute(update_thing, pg::Params(to, "y"), soon()));
            co_return true;
          });
    };
    aio::OneShot<bool> other(context_.get_executor());
    asio::co_spawn(context_, update_both(2, 1),
                   [&](std::exception_ptr, Result<bool> done) { other.set(done.has_value()); });
    EXPECT_TRUE(co_await update_both(1, 2));
    EXPECT_EQ(co_await other.wait(soon()), true);
    // The one that was ended may take its first row again before the other has woken up: then they meet once
    // more.
    const auto retries = database.status().retries_total;
    EXPECT_GE(retries, 1u);
    EXPECT_EQ(static_cast<std::uint64_t>(runs), 2 + retries);
  });
}

TEST_F(StoreTest, ASerializationFailureIsRunAgainUnseen) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [this](Database& database) -> Task<> {
    int runs = 0;
    Meeting meeting(context_.get_executor());
    const auto count_and_insert = [&](std::int64_t id) {
      return database.transact<bool>(
          soon(), Intent::write, {.name = "count and insert", .isolation = pg::Isolation::serializable},
          [&runs, &meeting, id](pg::Transaction& tx) -> Task<Result<bool>> {
            ++runs;
            CITADEL_CO_TRY(co_await tx.execute(count_things, {}, soon()));
            co_await meeting.arrive();
            CITADEL_CO_TRY(co_await tx.execute(insert_thing, pg::Params(id, "x"), soon()));
            co_return true;
          });
    };
    aio::OneShot<bool> other(context_.get_executor());
    asio::co_spawn(context_, count_and_insert(1),
                   [&](std::exception_ptr, Result<bool> done) { other.set(done.has_value()); });
    EXPECT_TRUE(co_await count_and_insert(2));
    EXPECT_EQ(co_await other.wait(soon()), true);
    EXPECT_EQ(runs, 3);
    EXPECT_EQ(database.status().retries_total, 1u);
    EXPECT_EQ(co_await count(database), 2);
  });
}

// The session of a transaction or a query that does not end is reported with what it is for and who asked.
TEST_F(StoreTest, ALeakNamesTheTransactionOrStatementAndWhoAskedForIt) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  auto wanted = options();
  wanted.pool.leak_after = 20ms;
  testing::internal::CaptureStderr();
  int asked_at = 0;
  with_database(wanted, [&](Database& database) -> Task<> {
    const auto leaks = [&](std::uint64_t count) -> Task<Result<bool>> {
      for (const auto deadline = soon(); database.status().pool.leaked_total < count && !deadline.expired();)
        co_await aio::sleep_for(5ms);  // sleep: polls, until a deadline
      co_return true;
    };
    const Database::Body<bool> hold = [&](pg::Transaction&) { return leaks(1); };
    asked_at = __LINE__ + 1;
    EXPECT_TRUE(co_await database.transact(soon(), Intent::write, {.name = "rename model"}, hold));
    EXPECT_TRUE(co_await database.query(soon(), Intent::read, sleep_shortly, {}));
    EXPECT_EQ(database.status().pool.leaked_total, 2u);
  });
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("acquired_for=\"rename model\""));
  EXPECT_THAT(log, HasSubstr(fmt::format("store_pgtest.cpp:{}", asked_at)));
  EXPECT_THAT(log, HasSubstr("acquired_for=\"sleep shortly\""));
  EXPECT_THAT(log, HasSubstr(fmt::format("store_pgtest.cpp:{}", asked_at + 1)));
}

// What a statement of this intent looks like to PostgreSQL, behind Pgpool-II.
constexpr pg::Statement see_oneself{"see oneself",
                                    "select a.query, current_setting('transaction_read_only') "
                                    "from pg_stat_activity a where a.pid = pg_backend_pid()"};
struct Seen {
  bool forced_to_primary, read_only;
  friend bool operator==(const Seen&, const Seen&) = default;
};
Seen seen_in(const pg::Rows& rows) {
  const auto text = rows[0].get<std::string>(0);
  EXPECT_THAT(text, HasSubstr(std::string(see_oneself.sql)));
  // Any comment in front of a statement forces Pgpool-II to the primary.
  return {.forced_to_primary = text.starts_with("/*"), .read_only = rows[0].get<std::string>(1) == "on"};
}

TEST_F(StoreTest, AnIntentIsSeenOnTheWire) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [](Database& database) -> Task<> {
    const auto in_transaction = [&](Intent intent) -> Task<std::optional<Seen>> {
      const auto seen = co_await database.transact<Seen>(
          soon(), intent, {.name = "see oneself"}, [](pg::Transaction& tx) -> Task<Result<Seen>> {
            CITADEL_CO_ASSIGN(const auto rows, co_await tx.execute(see_oneself, {}, soon()));
            co_return seen_in(rows);
          });
      co_return seen ? std::optional(*seen) : std::nullopt;
    };
    for (int i = 0; i < 3; ++i) {  // prepared, and again
      EXPECT_EQ(co_await in_transaction(Intent::read), (Seen{.forced_to_primary = false, .read_only = true}));
      EXPECT_EQ(co_await in_transaction(Intent::read_your_writes),
                (Seen{.forced_to_primary = true, .read_only = true}));
      EXPECT_EQ(co_await in_transaction(Intent::write),
                (Seen{.forced_to_primary = true, .read_only = false}));
      for (const auto intent : {Intent::read, Intent::read_your_writes}) {
        const auto rows = co_await database.query(soon(), intent, see_oneself, {});
        EXPECT_TRUE(rows && seen_in(*rows).forced_to_primary == (intent == Intent::read_your_writes));
      }
    }
  });
}

// How the prepared statements of a session vanish: so that Pgpool-II knows, and behind its back.
class StatementsGone : public StoreTest,
                       public testing::WithParamInterface<std::tuple<pg::Route, const char*>> {
 protected:
  Options with_one_session() {
    auto out = options();
    if (route() == pg::Route::direct) out.pool.connect = *out.pool.direct;
    out.pool.size_max = 1;
    return out;
  }
  static pg::Route route() { return std::get<0>(GetParam()); }
  static const char* vanish() { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(, StatementsGone,
                         testing::Combine(testing::Values(pg::Route::direct, pg::Route::pgpool),
                                          testing::Values("DEALLOCATE ALL",
                                                          "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")),
                         [](const auto& info) {
                           const bool direct = std::get<0>(info.param) == pg::Route::direct;
                           const bool seen =
                               std::string_view(std::get<1>(info.param)).starts_with("DEALLOCATE");
                           return std::string(direct ? "Direct" : "Pgpool") + (seen ? "Seen" : "Unseen");
                         });

TEST_P(StatementsGone, OutsideATransactionNobodySeesIt) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(with_one_session(), [](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    EXPECT_EQ(co_await count(database), 1);
    {
      auto lease = co_await database.pool().acquire(soon());
      EXPECT_TRUE(lease) << lease.error().to_string();
      EXPECT_TRUE(co_await (*lease)->execute_simple(vanish(), soon()));
    }
    EXPECT_EQ(co_await count(database), 1);
    EXPECT_TRUE(co_await insert(database, 2));
    EXPECT_EQ(co_await count(database), 2);
    const auto status = database.status();
    EXPECT_EQ(status.failures_total, 0u);
    EXPECT_GT(status.pool.reprepared_total + status.pool.opened_total, 1u) << "nothing vanished";
  });
}

// The first statement that is gone has spoilt the transaction, so all of it runs again: once, however many
// are gone.
TEST_P(StatementsGone, InsideATransactionAllOfItRunsAgain) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  auto wanted = with_one_session();
  wanted.attempts_max = 2;
  with_database(wanted, [](Database& database) -> Task<> {
    int runs = 0;
    bool vanish_now = false;
    const auto insert_and_update = [&](std::int64_t id) {
      return database.transact<bool>(
          soon(), Intent::write, {.name = "insert and update"},
          [&runs, &vanish_now, id](pg::Transaction& tx) -> Task<Result<bool>> {
            ++runs;
            if (std::exchange(vanish_now, false))
              CITADEL_CO_TRY(co_await tx.execute_simple(vanish(), soon()));
            CITADEL_CO_TRY(co_await tx.execute(insert_thing, pg::Params(id, "x"), soon()));
            CITADEL_CO_TRY(co_await tx.execute(update_thing, pg::Params(id, "y"), soon()));
            CITADEL_CO_TRY(co_await tx.execute(count_things, {}, soon()));
            co_return true;
          });
    };
    EXPECT_TRUE(co_await insert_and_update(1));  // all are prepared
    EXPECT_EQ(runs, 1);
    vanish_now = true;
    const auto done = co_await insert_and_update(2);
    EXPECT_TRUE(done) << done.error().to_string();
    EXPECT_EQ(runs, 3);
    EXPECT_EQ(database.status().retries_total, 1u);
    EXPECT_EQ(co_await count(database), 2);
  });
}

}  // namespace
}  // namespace citadel::store
