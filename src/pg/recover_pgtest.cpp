// What becomes of a session whose call ended early: by its deadline, by cancellation, by the backend's end.
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>

#include "pg/connection.hpp"
#include "pg/pgtest.hpp"

namespace citadel::pg {
namespace {

constexpr Statement select_number{"select_number", "SELECT $1::int8"};
constexpr Statement sleep_for{"sleep_for", "SELECT pg_sleep($1)"};
constexpr Statement terminate{"terminate", "SELECT pg_terminate_backend($1)"};

class RecoverRoute : public PgRouteTest {};
INSTANTIATE_TEST_SUITE_P(, RecoverRoute, testing::Values(Route::direct, Route::pgpool), route_name);

class RecoverTest : public PgTest {};

TEST_P(RecoverRoute, AMissedDeadlineLeavesItBusyAndRecoverByCancelRequestMendsIt) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    const auto begun = Monotonic::now();
    EXPECT_CODE(co_await db->execute(sleep_for, Params(30.0), Deadline::after(200ms)),
                Code::deadline_exceeded);
    EXPECT_LT(Monotonic::now() - begun, 1s);
    EXPECT_EQ(db->state(), SessionState::busy);
    EXPECT_CODE(co_await db->execute(select_number, Params(std::int64_t{1}), soon()), Code::internal);
    EXPECT_EQ(db->state(), SessionState::busy);
    CO_ASSERT_OK(co_await db->recover(Deadline::after(5s)));
    EXPECT_EQ(db->state(), SessionState::idle);
    auto rows = co_await db->execute(select_number, Params(std::int64_t{7}), soon());
    CO_ASSERT_OK(rows);
    EXPECT_EQ((*rows)[0].get<std::int64_t>(0), 7);
  });
}

TEST_P(RecoverRoute, RecoverThroughADirectSession) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto helper = co_await connect(Route::direct);
    CO_ASSERT_OK(co_await db->execute_simple("BEGIN", soon()));
    EXPECT_CODE(co_await db->execute(sleep_for, Params(30.0), Deadline::after(100ms)),
                Code::deadline_exceeded);
    CO_ASSERT_OK(co_await db->recover(Deadline::after(5s), helper.get()));
    EXPECT_EQ(db->state(), SessionState::idle);
    CO_ASSERT_OK(co_await db->execute(select_number, Params(std::int64_t{7}), soon()));
  });
}

TEST_P(RecoverRoute, RecoverRollsBackWhatWasLeftOpen) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    CO_ASSERT_OK(co_await db->execute_simple("BEGIN", soon()));
    EXPECT_EQ(db->state(), SessionState::in_block);
    EXPECT_CODE(co_await db->execute_simple("SELECT 1 / 0", soon()), Code::invalid_argument);
    EXPECT_EQ(db->state(), SessionState::failed);
    CO_ASSERT_OK(co_await db->recover(soon()));
    EXPECT_EQ(db->state(), SessionState::idle);
  });
}

TEST_P(RecoverRoute, NoLateCancelHitsTheNextStatement) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto helper = co_await connect(Route::direct);
    int missed = 0;
    for (int i = 0; i < 120; ++i) {
      auto slept = co_await db->execute(sleep_for, Params(0.004), Deadline::after(3500us + (i % 12) * 120us));
      if (slept) continue;
      EXPECT_CODE(slept, Code::deadline_exceeded);
      ++missed;
      auto recovered = co_await db->recover(soon(), i % 2 == 0 ? helper.get() : nullptr);
      if (!recovered) {
        // Allowed only where nobody can tell whether the cancel is still on its way.
        EXPECT_EQ(GetParam(), Route::pgpool) << recovered.error().to_string();
        EXPECT_EQ(db->state(), SessionState::broken);
        db = co_await connect();
      }
      for (int k = 0; k < 3; ++k)
        CO_ASSERT_OK(co_await db->execute(select_number, Params(std::int64_t{k}), soon()));
    }
    EXPECT_GT(missed, 10);
  });
}

TEST_P(RecoverRoute, ACancelledCoroutineLeavesItBusy) {
  std::unique_ptr<Connection> db;
  run([&]() -> Task<> { db = co_await connect(); });
  asio::cancellation_signal cancel;
  bool aborted = false;
  asio::steady_timer timer(context_, 100ms);
  timer.async_wait([&](auto) { cancel.emit(asio::cancellation_type::terminal); });
  asio::co_spawn(
      context_, [&]() -> Task<> { (void)co_await db->execute(sleep_for, Params(30.0), soon()); },
      asio::bind_cancellation_slot(cancel.slot(),
                                   [&](std::exception_ptr thrown) { aborted = thrown != nullptr; }));
  context_.restart();
  while (!aborted && context_.run_one() > 0) {
  }
  EXPECT_TRUE(aborted);
  EXPECT_EQ(db->state(), SessionState::busy);
  run([&]() -> Task<> {
    CO_ASSERT_OK(co_await db->recover(soon()));
    CO_ASSERT_OK(co_await db->validate(soon()));
  });
}

TEST_P(RecoverRoute, AnExpiredDeadlineSendsNothing) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    EXPECT_CODE(co_await db->execute(select_number, Params(std::int64_t{1}), Deadline::after(0s)),
                Code::deadline_exceeded);
    EXPECT_EQ(db->state(), SessionState::idle);
    CO_ASSERT_OK(co_await db->validate(soon()));
  });
}

TEST_P(RecoverRoute, ABackendTerminatedWhileItRunsIsALostSession) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto killer = co_await connect(Route::direct);
    CO_ASSERT_OK(co_await db->execute_simple("BEGIN", soon()));
    bool ended = false;
    asio::co_spawn(
        context_,
        [&]() -> Task<> {
          auto slept = co_await db->execute(sleep_for, Params(20.0), soon());
          EXPECT_CODE(slept, Code::connection_lost);
          EXPECT_EQ(slept.error().retry, Retry::fresh_snapshot);
          ended = true;
        },
        asio::detached);
    co_await until_asleep(*killer, *db);
    CO_ASSERT_OK(co_await killer->execute(terminate, Params(std::int32_t{db->backend_pid()}), soon()));
    // sleep: polls, until a deadline
    for (const Deadline limit = soon(); !ended && !limit.expired();) co_await aio::sleep_for(5ms);
    EXPECT_TRUE(ended);
    EXPECT_EQ(db->state(), SessionState::broken);
    EXPECT_CODE(co_await db->validate(soon()), Code::connection_lost);
    EXPECT_CODE(co_await db->recover(soon()), Code::connection_lost);
  });
}

TEST_P(RecoverRoute, ABackendTerminatedWhileIdleIsALostSession) {
  run([this]() -> Task<> {
    auto db = co_await connect();
    auto killer = co_await connect(Route::direct);
    CO_ASSERT_OK(co_await killer->execute(terminate, Params(std::int32_t{db->backend_pid()}), soon()));
    // The signal is taken up at the backend's leisure.
    Result<Rows> answer;
    for (const Deadline limit = soon(); answer && !limit.expired();) {
      answer = co_await db->execute(select_number, Params(std::int64_t{1}), soon());
    }
    EXPECT_CODE(answer, Code::connection_lost);
    EXPECT_EQ(db->state(), SessionState::broken);
  });
}

TEST_F(RecoverTest, APipelineThatMissesItsDeadlineIsRecovered) {
  run([this]() -> Task<> {
    auto db = co_await connect(Route::direct);
    const std::vector<Connection::Call> calls(4, {&sleep_for, Params(20.0)});
    EXPECT_CODE(co_await db->pipeline(calls, Deadline::after(100ms)), Code::deadline_exceeded);
    EXPECT_EQ(db->state(), SessionState::busy);
    CO_ASSERT_OK(co_await db->recover(Deadline::after(10s)));
    EXPECT_EQ(db->state(), SessionState::idle);
    CO_ASSERT_OK(co_await db->pipeline(std::vector<Connection::Call>(2, {&sleep_for, Params(0.0)}), soon()));
  });
}

TEST_F(RecoverTest, APipelineOnASessionThatIsTerminated) {
  run([this]() -> Task<> {
    auto db = co_await connect(Route::direct);
    constexpr Statement suicide{"suicide", "SELECT pg_terminate_backend(pg_backend_pid())"};
    const Connection::Call calls[] = {
        {&sleep_for, Params(0.0)}, {&suicide, Params()}, {&sleep_for, Params(0.0)}};
    EXPECT_CODE(co_await db->pipeline(calls, soon()), Code::connection_lost);
    EXPECT_EQ(db->state(), SessionState::broken);
  });
}

// libpq closes the socket of a session as soon as it is lost, so the next session gets the number while the
// lost one still stands; its end must not deafen the other.
TEST_P(RecoverRoute, TheEndOfALostSessionLeavesTheNextOneAlone) {
  run([this]() -> Task<> {
    auto killer = co_await PgTest::connect(Route::direct);
    for (int round = 0; round < 5; ++round) {
      auto lost = co_await connect();
      CO_ASSERT_OK(co_await killer->execute(terminate, Params(std::int32_t{lost->backend_pid()}), soon()));
      Result<Rows> answer;
      for (const Deadline limit = soon(); answer && !limit.expired();) {
        answer = co_await lost->execute_simple("SELECT 1", soon());
      }
      EXPECT_CODE(answer, Code::connection_lost);
      auto next = co_await connect();
      lost.reset();
      CO_ASSERT_OK(co_await next->execute(select_number, Params(std::int64_t{1}), Deadline::after(5s)));
    }
  });
}

}  // namespace
}  // namespace citadel::pg
