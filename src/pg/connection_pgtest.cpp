#include "pg/connection.hpp"

#include <malloc.h>
#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>

#include "pg/pgtest.hpp"

namespace citadel::pg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr Statement select_number{"select_number", "SELECT $1::int8"};
constexpr Statement terminate{"terminate", "SELECT pg_terminate_backend($1)"};

class ConnectionRoute : public PgRouteTest {};
INSTANTIATE_TEST_SUITE_P(, ConnectionRoute, testing::Values(Route::direct, Route::pgpool), route_name);

class ConnectionTest : public PgTest {};

TEST_P(ConnectionRoute, TellsWhoServesIt) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_GE(db->server_version(), 150000);
    auto pid = co_await db->execute({"pid", "SELECT pg_backend_pid()"}, {}, soon());
    CO_ASSERT_OK(pid);
    EXPECT_EQ((*pid)[0].get<std::int32_t>(0), db->backend_pid());
    EXPECT_TRUE(co_await db->validate(soon()));
  });
}

TEST_P(ConnectionRoute, EveryTypeTravelsBothWays) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    const Uuid id = *parse_uuid("018bd8f5-6a3b-7cc0-8000-0123456789ab");
    const WallTime at(1'700'000'000'123'456us);
    const Params params(true, std::int16_t{-3}, std::int32_t{70'000}, std::int64_t{1} << 40, 2.5, "žluťoučký",
                        as_bytes(std::string_view("\0\1\xff", 3)), id, at, std::optional<std::string>(),
                        std::vector<std::int64_t>{1, 2, 3}, std::vector<std::string>{"a", ""},
                        std::vector<std::optional<std::int32_t>>{4, std::nullopt}, std::vector<Uuid>{id},
                        std::vector<WallTime>{at}, std::vector<double>{});
    auto rows = co_await db->execute(
        {"types",
         "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '{\"a\":1}'::jsonb, "
         "'x'::\"char\", 1.5::float4, NULL::uuid"},
        params, soon());
    CO_ASSERT_OK(rows);
    const Row row = (*rows)[0];
    EXPECT_EQ(row.get<bool>(0), true);
    EXPECT_EQ(row.get<std::int16_t>(1), -3);
    EXPECT_EQ(row.get<std::int32_t>(2), 70'000);
    EXPECT_EQ(row.get<std::int64_t>(3), std::int64_t{1} << 40);
    EXPECT_EQ(row.get<double>(4), 2.5);
    EXPECT_EQ(row.get<std::string_view>(5), "žluťoučký");
    EXPECT_EQ(as_text(row.get<Bytes>(6)), std::string_view("\0\1\xff", 3));
    EXPECT_EQ(row.get<Uuid>(7), id);
    EXPECT_EQ(row.get<WallTime>(8), at);
    EXPECT_EQ(row.get<std::optional<std::string>>(9), std::nullopt);
    EXPECT_THAT(row.get<std::vector<std::int64_t>>(10), ElementsAre(1, 2, 3));
    EXPECT_THAT(row.get<std::vector<std::string>>(11), ElementsAre("a", ""));
    EXPECT_THAT(row.get<std::vector<std::optional<std::int32_t>>>(12), ElementsAre(4, std::nullopt));
    EXPECT_THAT(row.get<std::vector<Uuid>>(13), ElementsAre(id));
    EXPECT_THAT(row.get<std::vector<WallTime>>(14), ElementsAre(at));
    EXPECT_THAT(row.get<std::vector<double>>(15), ElementsAre());
    EXPECT_EQ(row.get<std::string>(16), "{\"a\": 1}");
    EXPECT_EQ(row.get<std::string>(17), "x");
    EXPECT_EQ(row.get<double>(18), 1.5);
    EXPECT_TRUE(row.is_null(19));
    EXPECT_THROW((void)row.get<Uuid>(19), TypeMismatch);
    EXPECT_THROW((void)row.get<std::int32_t>(5), TypeMismatch);
    EXPECT_THROW((void)row.get<std::vector<std::int32_t>>(12), TypeMismatch);
    EXPECT_THROW((void)row.is_null(20), TypeMismatch);
    EXPECT_THROW((void)row.is_null(-1), TypeMismatch);
  });
}

TEST_P(ConnectionRoute, InfinityIsNoTime) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto rows = co_await db->execute({"infinity", "SELECT 'infinity'::timestamptz, '-infinity'::timestamptz"},
                                     {}, soon());
    CO_ASSERT_OK(rows);
    EXPECT_THROW((void)(*rows)[0].get<WallTime>(0), TypeMismatch);
    EXPECT_THROW((void)(*rows)[0].get<WallTime>(1), TypeMismatch);
  });
}

TEST_P(ConnectionRoute, SimpleQueriesAnswerInText) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto rows = co_await db->execute_simple("SELECT 42, 't'::bool, 'abc', 1.25, now()", soon());
    CO_ASSERT_OK(rows);
    EXPECT_EQ((*rows)[0].get<std::int32_t>(0), 42);
    EXPECT_EQ((*rows)[0].get<bool>(1), true);
    EXPECT_EQ((*rows)[0].get<std::string>(2), "abc");
    EXPECT_EQ((*rows)[0].get<double>(3), 1.25);
    EXPECT_THROW((void)(*rows)[0].get<WallTime>(4), TypeMismatch);
    auto none = co_await db->execute_simple("", soon());
    CO_ASSERT_OK(none);
    EXPECT_TRUE(none->empty());
  });
}

TEST_P(ConnectionRoute, AnErrorCarriesItsStateAndPlaceAndTheSessionLivesOn) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto failed = co_await db->execute({"divide", "SELECT 1 / $1::int4"}, Params(std::int32_t{0}), soon());
    EXPECT_CODE(failed, Code::invalid_argument);
    EXPECT_STREQ(failed.error().sqlstate, "22012");
    EXPECT_THAT(failed.error().where, HasSubstr("execute divide"));
    EXPECT_EQ(db->state(), SessionState::idle);
    auto wrong = co_await db->execute({"wrong", "SELECT nothing FROM nowhere"}, {}, soon());
    EXPECT_CODE(wrong, Code::internal);
    EXPECT_CODE(co_await db->execute_simple("SELEKT", soon()), Code::internal);
    CO_ASSERT_OK(co_await db->execute(select_number, Params(std::int64_t{1}), soon()));
  });
}

TEST_P(ConnectionRoute, LargeParametersAndResults) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    const std::string large(8 << 20, 'x');
    auto rows = co_await db->execute({"echo", "SELECT $1::text"}, Params(large), soon());
    CO_ASSERT_OK(rows);
    EXPECT_EQ((*rows)[0].get<std::string_view>(0).size(), large.size());
  });
}

// What this process has on its heap. A sanitizer knows it exactly; resident memory it never gives back.
std::size_t heap_bytes() {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return __sanitizer_get_current_allocated_bytes();
#else
  return ::mallinfo2().uordblks;
#endif
}

TEST_P(ConnectionRoute, StreamPassesRowsInConstantMemory) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    constexpr std::int64_t rows_total = 40'000;  // 4 MB and more, if they were kept
    constexpr std::size_t growth_bytes_max = 1 << 20;
    const std::size_t before = heap_bytes();
    std::size_t most = before;
    std::int64_t sum = 0;
    auto count =
        co_await db->stream({"series", "SELECT i::int8, repeat('x', 100) FROM generate_series(1, $1) i"},
                            Params(rows_total), Deadline::after(120s), [&](Row row) -> Result<void> {
                              const auto i = row.get<std::int64_t>(0);
                              sum += i;
                              if (i % 1'000 == 0) most = std::max(most, heap_bytes());
                              return {};
                            });
    CO_ASSERT_OK(count);
    EXPECT_EQ(*count, rows_total);
    EXPECT_EQ(sum, rows_total * (rows_total + 1) / 2);
    EXPECT_LT(most - before, growth_bytes_max);
    CO_ASSERT_OK(co_await db->validate(soon()));
  });
}

TEST_P(ConnectionRoute, AStreamThatIsRefusedIsCancelledAndDrained) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    // Many rows at once, of which most are drained. From PostgreSQL itself one each 10 ms after them, for
    // longer than the deadline: only the cancel ends it. Pgpool-II may keep rows back for as long as more of
    // them come.
    const bool direct = GetParam() == Route::direct;
    constexpr Statement slow{"slow_series",
                             "SELECT i::int8 FROM generate_series(1, 50000) i WHERE i <= 20000 OR "
                             "pg_sleep(0.01) IS NOT NULL"};
    constexpr Statement fast{"fast_series", "SELECT i::int8 FROM generate_series(1, 200000) i"};
    std::int64_t seen = 0;
    auto refused =
        co_await db->stream(direct ? slow : fast, {}, Deadline::after(120s), [&](Row) -> Result<void> {
          if (++seen < 1'000) return {};
          return fail(Code::storage_full, "enough");
        });
    EXPECT_CODE(refused, Code::storage_full);
    EXPECT_EQ(seen, 1'000);
    if (!direct && db->state() == SessionState::broken) {
      co_return;  // Pgpool-II was late with the cancel: all rows came first, so nobody knows where it is
    }
    EXPECT_EQ(db->state(), SessionState::idle);
    CO_ASSERT_OK(co_await db->validate(soon()));
  });
}

TEST_P(ConnectionRoute, AnErrorInMidStreamIsTheOutcome) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    std::int64_t seen = 0;
    auto failed = co_await db->stream({"breaks", "SELECT 1 / (1000 - i) FROM generate_series(1, $1) i"},
                                      Params(std::int64_t{5'000}), soon(), [&](Row) -> Result<void> {
                                        ++seen;
                                        return {};
                                      });
    EXPECT_CODE(failed, Code::invalid_argument);
    EXPECT_EQ(seen, 999);
    CO_ASSERT_OK(co_await db->validate(soon()));
  });
}

TEST_P(ConnectionRoute, PipelinedCallsHaveTheirOwnOutcomes) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    constexpr Statement divide{"divide", "SELECT 100 / $1::int8"};
    std::vector<Connection::Call> calls;
    for (std::int64_t i = -5; i <= 5; ++i) calls.push_back({&divide, Params(i)});
    for (const PipelineSync sync :
         {PipelineSync::each, PipelineSync::each, PipelineSync::once, PipelineSync::once}) {
      auto outcomes = co_await db->pipeline(calls, soon(), sync);
      CO_ASSERT_OK(outcomes);
      EXPECT_EQ(outcomes->size(), calls.size());
      for (std::size_t i = 0; i < calls.size(); ++i) {
        const auto divisor = static_cast<std::int64_t>(i) - 5;
        if (divisor == 0) {
          EXPECT_CODE((*outcomes)[i], Code::invalid_argument);
        } else {
          CO_ASSERT_OK((*outcomes)[i]);
          EXPECT_EQ((*(*outcomes)[i])[0].get<std::int64_t>(0), 100 / divisor);
        }
      }
      EXPECT_EQ(db->state(), SessionState::idle);
    }
    CO_ASSERT_OK(co_await db->pipeline({}, soon()));
    CO_ASSERT_OK(co_await db->validate(soon()));
  });
}

TEST_P(ConnectionRoute, APipelinePreparesEachStatementOnce) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    constexpr Statement wrong{"wrong", "SELECT nothing FROM nowhere"};
    std::vector<Connection::Call> calls(5, {&select_number, Params(std::int64_t{1})});
    calls.insert(calls.begin() + 2, {&wrong, Params()});
    for (const PipelineSync sync : {PipelineSync::each, PipelineSync::once}) {
      auto outcomes = co_await db->pipeline(calls, soon(), sync);
      CO_ASSERT_OK(outcomes);
      for (std::size_t i = 0; i < calls.size(); ++i) EXPECT_EQ((*outcomes)[i].has_value(), i != 2);
    }
    auto there = co_await db->execute_simple("SELECT count(*) FROM pg_prepared_statements", soon());
    CO_ASSERT_OK(there);
    EXPECT_EQ((*there)[0].get<std::int32_t>(0), 1);
  });
}

TEST_P(ConnectionRoute, APipelineInATransactionFailsWithIt) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    constexpr Statement divide{"divide", "SELECT 100 / $1::int8"};
    std::vector<Connection::Call> calls;
    for (const std::int64_t i : {1, 0, 2}) calls.push_back({&divide, Params(i)});
    for (const PipelineSync sync : {PipelineSync::each, PipelineSync::once}) {
      CO_ASSERT_OK(co_await db->execute_simple("BEGIN", soon()));
      auto outcomes = co_await db->pipeline(calls, soon(), sync);
      CO_ASSERT_OK(outcomes);
      CO_ASSERT_OK((*outcomes)[0]);
      EXPECT_CODE((*outcomes)[1], Code::invalid_argument);
      EXPECT_FALSE((*outcomes)[2]);
      EXPECT_EQ(db->state(), SessionState::failed);
      CO_ASSERT_OK(co_await db->execute_simple("ROLLBACK", soon()));
    }
  });
}

TEST_P(ConnectionRoute, PreparedStatementsStayWithinTheirMaximum) {
  run([this]() -> Task<> {
    auto options = options_for(GetParam());
    options.prepared_max = 8;
    auto db = co_await connect(options);
    std::vector<std::string> texts;
    for (int i = 0; i < 30; ++i) texts.push_back("SELECT " + std::to_string(i) + " + $1::int8");
    for (int round = 0; round < 2; ++round) {
      for (const std::string& text : texts) {
        CO_ASSERT_OK(co_await db->execute({"one_of_many", text}, Params(std::int64_t{1}), soon()));
        EXPECT_LE(db->prepared_count(), 8u);
      }
    }
    auto there = co_await db->execute_simple("SELECT count(*) FROM pg_prepared_statements", soon());
    CO_ASSERT_OK(there);
    EXPECT_LE((*there)[0].get<std::int32_t>(0), 8);
    EXPECT_EQ(db->reprepared_total(), 0u);
  });
}

TEST_P(ConnectionRoute, AStalePlanIsPreparedAgainUnseen) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    CO_ASSERT_OK(co_await db->execute_simple("DROP TABLE IF EXISTS stale", soon()));
    CO_ASSERT_OK(co_await db->execute_simple("CREATE TABLE stale (a int)", soon()));
    constexpr Statement all{"all", "SELECT * FROM stale"};
    CO_ASSERT_OK(co_await db->execute(all, {}, soon()));
    CO_ASSERT_OK(co_await db->execute_simple("ALTER TABLE stale ADD COLUMN b int", soon()));
    auto rows = co_await db->execute(all, {}, soon());
    CO_ASSERT_OK(rows);
    EXPECT_EQ(rows->columns(), 2);
    EXPECT_EQ(db->reprepared_total(), 1u);
    CO_ASSERT_OK(co_await db->execute_simple("DROP TABLE stale", soon()));
  });
}

TEST_F(ConnectionTest, DeallocatedStatementsArePreparedAgainUnseen) {
  run([this]() -> Task<> {
    auto db = co_await connect(Route::direct);
    CO_ASSERT_OK(co_await db->execute(select_number, Params(std::int64_t{1}), soon()));
    CO_ASSERT_OK(co_await db->execute_simple("DEALLOCATE ALL", soon()));
    CO_ASSERT_OK(co_await db->execute(select_number, Params(std::int64_t{2}), soon()));
    EXPECT_EQ(db->reprepared_total(), 1u);
    CO_ASSERT_OK(co_await db->execute_simple("DEALLOCATE ALL", soon()));
    std::int64_t streamed = 0;
    auto count =
        co_await db->stream(select_number, Params(std::int64_t{3}), soon(), [&](Row row) -> Result<void> {
          streamed = row.get<std::int64_t>(0);
          return {};
        });
    CO_ASSERT_OK(count);
    EXPECT_EQ(streamed, 3);
    CO_ASSERT_OK(co_await db->execute_simple("DEALLOCATE ALL", soon()));
    const Connection::Call calls[] = {{&select_number, Params(std::int64_t{4})},
                                      {&select_number, Params(std::int64_t{5})}};
    for (const PipelineSync sync : {PipelineSync::each, PipelineSync::once}) {
      auto outcomes = co_await db->pipeline(calls, soon(), sync);
      CO_ASSERT_OK(outcomes);
      CO_ASSERT_OK((*outcomes)[0]);
      CO_ASSERT_OK((*outcomes)[1]);
      EXPECT_EQ((*(*outcomes)[1])[0].get<std::int64_t>(0), 5);
      CO_ASSERT_OK(co_await db->execute_simple("DEALLOCATE ALL", soon()));
    }
    EXPECT_EQ(db->reprepared_total(), 4u);
    // Inside a transaction the failure has spoilt it, so all of it must run again.
    CO_ASSERT_OK(co_await db->execute_simple("BEGIN", soon()));
    auto inside = co_await db->execute(select_number, Params(std::int64_t{6}), soon());
    EXPECT_FALSE(inside);
    EXPECT_EQ(inside.error().retry, Retry::fresh_snapshot);
    CO_ASSERT_OK(co_await db->recover(soon()));
    CO_ASSERT_OK(co_await db->execute(select_number, Params(std::int64_t{6}), soon()));
  });
}

// Through Pgpool-II 4.3 a statement that is gone costs the session; what counts is that we neither hang nor
// lie.
TEST_F(ConnectionTest, DeallocateThroughPgpoolEndsInAnAnswerOrALostSession) {
  run([this]() -> Task<> {
    auto db = co_await connect(Route::pgpool);
    CO_ASSERT_OK(co_await db->execute(select_number, Params(std::int64_t{1}), soon()));
    CO_ASSERT_OK(co_await db->execute_simple("DEALLOCATE ALL", soon()));
    auto answer = co_await db->execute(select_number, Params(std::int64_t{2}), soon());
    if (!answer) {
      EXPECT_CODE(answer, Code::connection_lost);
      EXPECT_EQ(db->state(), SessionState::broken);
    } else {
      EXPECT_EQ((*answer)[0].get<std::int64_t>(0), 2);
    }
  });
}

TEST_F(ConnectionTest, NotificationsArriveOnADirectSession) {
  run([this]() -> Task<> {
    auto db = co_await connect(Route::direct);
    auto sender = co_await connect(Route::pgpool);
    CO_ASSERT_OK(co_await db->execute_simple("LISTEN changes", soon()));
    EXPECT_CODE(co_await db->next_notification(Deadline::after(20ms)), Code::deadline_exceeded);
    EXPECT_EQ(db->state(), SessionState::idle);
    CO_ASSERT_OK(co_await sender->execute_simple("NOTIFY changes, 'one'", soon()));
    CO_ASSERT_OK(co_await sender->execute_simple("NOTIFY changes, 'two'", soon()));
    auto one = co_await db->next_notification(soon());
    CO_ASSERT_OK(one);
    EXPECT_EQ(one->channel, "changes");
    EXPECT_EQ(one->payload, "one");
    CO_ASSERT_OK(co_await db->validate(soon()));
    auto two = co_await db->next_notification(soon());
    CO_ASSERT_OK(two);
    EXPECT_EQ(two->payload, "two");
    // The session dies while it listens.
    CO_ASSERT_OK(co_await sender->execute(terminate, Params(std::int32_t{db->backend_pid()}), soon()));
    EXPECT_CODE(co_await db->next_notification(soon()), Code::connection_lost);
    EXPECT_EQ(db->state(), SessionState::broken);
  });
}

TEST_F(ConnectionTest, WhatPgpoolCannotCarryIsRefused) {
  run([this]() -> Task<> {
    auto db = co_await connect(Route::pgpool);
    EXPECT_CODE(co_await db->execute_simple("LISTEN changes", soon()), Code::unsupported);
    EXPECT_CODE(co_await db->execute_simple("SET search_path TO other", soon()), Code::unsupported);
    EXPECT_CODE(co_await db->execute({"lock", "SELECT pg_advisory_lock(1)"}, {}, soon()), Code::unsupported);
    EXPECT_CODE(co_await db->next_notification(soon()), Code::unsupported);
    EXPECT_EQ(db->state(), SessionState::idle);
    CO_ASSERT_OK(co_await db->execute(select_number, Params(std::int64_t{1}), soon(), Routing::primary));
  });
}

TEST_F(ConnectionTest, CopyInTheWrongCallIsRefused) {
  run([this]() -> Task<> {
    auto db = co_await connect(Route::direct);
    CO_ASSERT_OK(co_await db->execute_simple("CREATE TEMP TABLE t (a int)", soon()));
    EXPECT_FALSE(co_await db->execute_simple("COPY t FROM STDIN", soon()));
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_CODE(co_await db->execute_simple("COPY t TO STDOUT", soon()), Code::invalid_argument);
    EXPECT_EQ(db->state(), SessionState::broken);
  });
}

TEST_F(ConnectionTest, AWrongPasswordIsNamedAndNeverShown) {
  run([this]() -> Task<> {
    for (const Route route : {Route::direct, Route::pgpool}) {
      auto options = options_for(route);
      options.password = Secret("not-the-password");
      auto refused = co_await Connection::connect(context_.get_executor(), options, soon());
      EXPECT_CODE(refused, Code::unauthenticated);
      EXPECT_THAT(refused.error().to_string(), Not(HasSubstr("not-the-password")));
      EXPECT_EQ(refused.error().retry, Retry::never);
    }
  });
}

TEST_F(ConnectionTest, AnUnknownDatabaseIsNamed) {
  run([this]() -> Task<> {
    auto options = options_for(Route::direct);
    options.database = "nowhere";
    EXPECT_CODE(co_await Connection::connect(context_.get_executor(), options, soon()), Code::not_found);
  });
}

TEST_F(ConnectionTest, AnUnreachablePortIsUnavailable) {
  run([this]() -> Task<> {
    asio::ip::tcp::acceptor unused(context_, {asio::ip::address_v4::loopback(), 0});
    auto options = options_for(Route::direct);
    options.port = unused.local_endpoint().port();
    unused.close();
    auto refused = co_await Connection::connect(context_.get_executor(), options, soon());
    EXPECT_CODE(refused, Code::unavailable);
    EXPECT_EQ(refused.error().retry, Retry::safe);
    options.host = "name.invalid";
    EXPECT_CODE(co_await Connection::connect(context_.get_executor(), options, soon()), Code::unavailable);
  });
}

TEST_F(ConnectionTest, AListenerThatNeverAnswersEndsByTheDeadline) {
  run([this]() -> Task<> {
    asio::ip::tcp::acceptor black_hole(context_, {asio::ip::address_v4::loopback(), 0});
    auto options = options_for(Route::direct);
    options.port = black_hole.local_endpoint().port();
    const auto begun = Monotonic::now();
    EXPECT_CODE(co_await Connection::connect(context_.get_executor(), options, Deadline::after(150ms)),
                Code::deadline_exceeded);
    EXPECT_LT(Monotonic::now() - begun, 1s);
  });
}

TEST_F(ConnectionTest, NamesAreResolved) {
  run([this]() -> Task<> {
    auto options = options_for(Route::direct);
    options.host = "localhost";
    auto db = co_await Connection::connect(context_.get_executor(), options, soon());
    CO_ASSERT_OK(db);
  });
}

}  // namespace
}  // namespace citadel::pg
