#include "pg/pool.hpp"

#include <fmt/ranges.h>

#include <set>

#include "aio/gate.hpp"
#include "pg/pool_testing.hpp"
#include "support/fault_proxy.hpp"

namespace citadel::pg {
namespace {

using testing::HasSubstr;

TEST_F(PoolTest, AHundredSessionsAreBusyAtOnceThroughPgpool) {
  auto& servers = support::shared_servers();
  auto made = options(100);
  made.adaptive = true;
  with_pool(made, [&](Pool& pool) -> Task<> {
    auto gate_keeper = co_await connect(Route::direct);
    CO_ASSERT_OK(co_await gate_keeper->execute_simple("BEGIN; SELECT pg_advisory_xact_lock(77)", soon()));
    aio::Gate callers(context_.get_executor());
    int done = 0;
    const auto call = [&]() -> Task<> {
      auto lease = co_await pool.acquire(soon());
      CO_ASSERT_OK(lease);
      // Until the last session is open, whatever the role's lock_timeout is.
      constexpr Statement wait{
          "wait_for_gate",
          "SELECT pg_advisory_xact_lock_shared(77)::text FROM set_config('lock_timeout', '0', true)"};
      CO_ASSERT_OK(co_await (*lease)->execute(wait, {}, soon()));
      ++done;
    };
    for (int i = 0; i < 100; ++i) callers.spawn("caller", call());
    const auto active = [&] {
      return sessions(servers, name_, "state = 'active' AND wait_event = 'advisory'");
    };
    EXPECT_TRUE(co_await eventually([&] { return active() == 100; })) << active();
    EXPECT_EQ(pool.status().lent, 100u);
    EXPECT_EQ(done, 0);
    EXPECT_TRUE(co_await gate_keeper->execute_simple("COMMIT", soon()));
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_EQ(done, 100);
  });
}

TEST_F(PoolTest, StartOpensTheMinimum) {
  auto made = options(5);
  made.size_min = 3;
  with_pool(made, [&](Pool& pool) -> Task<> {
    CO_ASSERT_OK(co_await pool.start(soon()));
    EXPECT_EQ(pool.status().idle, 3u);
    // Counted by process: Pgpool-II may keep backends of earlier clients of this name besides.
    std::set<int> pids;
    std::vector<Lease> leases;
    for (int i = 0; i < 3; ++i) {
      auto lease = co_await pool.acquire(soon());
      CO_ASSERT_OK(lease);
      pids.insert((*lease)->backend_pid());
      leases.push_back(*std::move(lease));
    }
    EXPECT_EQ(pool.status().opened_total, 3u);
    EXPECT_EQ(sessions(support::shared_servers(), name_, fmt::format("pid in ({})", fmt::join(pids, ","))),
              3);
  });
}

TEST_F(PoolTest, AFullQueueRefusesAndADeadlineEndsTheWait) {
  auto made = options(1);
  made.queue_max = 1;
  with_pool(made, [&](Pool& pool) -> Task<> {
    auto lease = co_await pool.acquire(soon());
    CO_ASSERT_OK(lease);
    aio::Gate callers(context_.get_executor());
    std::vector<Lease> held;
    std::vector<Error> refused;
    callers.spawn("waiter", hold(pool, soon(), held, refused));
    EXPECT_TRUE(co_await eventually([&] { return pool.status().waiting == 1; }));
    const auto full = co_await pool.acquire(soon());
    EXPECT_CODE(full, Code::overloaded);
    EXPECT_THAT(full.error().message, HasSubstr("queue_max"));
    EXPECT_TRUE(co_await callers.close(soon()));
    EXPECT_EQ(pool.status().waiting, 0u);
    EXPECT_TRUE(held.empty());

    const auto deadline = Deadline::after(200ms);
    EXPECT_CODE(co_await pool.acquire(deadline), Code::overloaded);
    EXPECT_TRUE(deadline.expired());
    EXPECT_FALSE(deadline.expired(Monotonic::now() - grace));
    EXPECT_EQ(pool.status().refused_queue_total, 1u);
    EXPECT_EQ(pool.status().refused_time_total, 1u);
  });
}

TEST_F(PoolTest, ALeakIsReportedWithItsOrigin) {
  auto made = options(1);
  made.leak_after = 40ms;
  testing::internal::CaptureStderr();
  with_pool(made, [&](Pool& pool) -> Task<> {
    auto lease = co_await pool.acquire(soon(), "count models");
    EXPECT_TRUE(co_await eventually([&] { return pool.status().leaked_total == 1; }));
    co_await aio::sleep_for(100ms);  // sleep: time for a second report; too short a time could only hide it
    EXPECT_EQ(pool.status().leaked_total, 1u);
  });
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("acquired_for=\"count models\""), HasSubstr("pool_pgtest.cpp:")));
}

TEST_F(PoolTest, ACancelledWaiterLeavesTheQueueAndSwallowsNoSession) {
  with_pool(options(1), [&](Pool& pool) -> Task<> {
    auto lease = co_await pool.acquire(soon());
    CO_ASSERT_OK(lease);
    std::vector<Lease> held;
    std::vector<Error> refused;
    for (const bool handed_in_the_same_moment : {false, true}) {
      aio::Gate callers(context_.get_executor());
      callers.spawn("waiter", hold(pool, soon(), held, refused));
      EXPECT_TRUE(co_await eventually([&] { return pool.status().waiting == 1; }));
      if (handed_in_the_same_moment) *lease = Lease();
      EXPECT_TRUE(co_await callers.close(soon()));
      EXPECT_EQ(pool.status().waiting, 0u);
    }
    held.clear();
    EXPECT_EQ(pool.status().lent, 0u);
    EXPECT_EQ(pool.status().idle, 1u);
    CO_ASSERT_OK(co_await pool.acquire(soon()));
  });
}

TEST_F(PoolTest, ASessionComesBackRolledBack) {
  with_pool(options(1), [&](Pool& pool) -> Task<> {
    for (const auto* sql : {"BEGIN", "BEGIN; SELECT 1/0"}) {
      auto lease = co_await pool.acquire(soon());
      CO_ASSERT_OK(lease);
      (void)co_await (*lease)->execute_simple(sql, soon());
      EXPECT_NE((*lease)->state(), SessionState::idle);
      *lease = Lease();
      lease = co_await pool.acquire(soon());
      CO_ASSERT_OK(lease);
      EXPECT_EQ((*lease)->state(), SessionState::idle);
    }
    EXPECT_EQ(pool.status().opened_total, 1u);
    EXPECT_EQ(pool.status().recovered_total, 2u);
  });
}

TEST_F(PoolTest, ADemotedSessionIsClosedAndTheOthersOfItsGenerationWithIt) {
  with_pool(options(3), [&](Pool& pool) -> Task<> {
    auto first = co_await pool.acquire(soon()), second = co_await pool.acquire(soon());
    CO_ASSERT_OK(first);
    CO_ASSERT_OK(second);
    CO_ASSERT_OK(co_await pool.acquire(soon()));  // one more, that lies idle
    first->demote();
    *first = Lease();
    EXPECT_EQ(pool.status().generation, 2u);
    EXPECT_EQ(pool.status().open, 1u);
    *second = Lease();
    EXPECT_EQ(pool.status().open, 0u);
    CO_ASSERT_OK(co_await pool.acquire(soon()));
    EXPECT_EQ(pool.status().opened_total, 4u);
  });
}

class PoolCancel : public PoolTest, public testing::WithParamInterface<Route> {};
INSTANTIATE_TEST_SUITE_P(, PoolCancel, testing::Values(Route::direct, Route::pgpool), route_name);

// Several at once, so that they share the direct connection.
TEST_P(PoolCancel, StatementsThatOutlastTheirCallersAreReallyCancelled) {
  auto& servers = support::shared_servers();
  const std::string name = "cancelled", control = "control_" + route_name({GetParam(), 0});
  auto made = options(4);
  made.connect.application_name = name;
  if (GetParam() == Route::direct) made.direct = past_pgpool(servers, control);
  with_pool(made, [&](Pool& pool) -> Task<> {
    aio::Gate callers(context_.get_executor());
    const auto call = [&]() -> Task<> {
      auto lease = co_await pool.acquire(soon());
      CO_ASSERT_OK(lease);
      EXPECT_FALSE(co_await (*lease)->execute(sleep_long, {}, Deadline::after(300ms)));
      EXPECT_EQ((*lease)->state(), SessionState::busy);
    };
    for (int i = 0; i < 4; ++i) callers.spawn("caller", call());
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_TRUE(co_await eventually([&] { return pool.status().recovering == 0; }));
    EXPECT_EQ(pool.status().recovered_total, 4u);
    EXPECT_EQ(pool.status().opened_total, 4u);
    EXPECT_EQ(sessions(servers, name, "state = 'active'"), 0);
    EXPECT_EQ(sessions(servers, control), GetParam() == Route::direct ? 1 : 0);
    auto lease = co_await pool.acquire(soon());
    CO_ASSERT_OK(lease);
    CO_ASSERT_OK(co_await (*lease)->execute(select_one, {}, soon()));
  });
}

TEST_F(PoolTest, CloseWaitsForLentSessionsAndNamesTheOneThatStays) {
  run([&]() -> Task<> {
    Pool pool(context_.get_executor(), options(1), system_clock(), 1);
    auto lease = co_await pool.acquire(soon());
    CO_ASSERT_OK(lease);
    aio::Gate callers(context_.get_executor());
    std::vector<Lease> held;
    std::vector<Error> refused;
    callers.spawn("waiter", hold(pool, soon(), held, refused));
    EXPECT_TRUE(co_await eventually([&] { return pool.status().waiting == 1; }));
    const auto deadline = Deadline::after(100ms);
    const auto closed = co_await pool.close(deadline);
    EXPECT_CODE(closed, Code::deadline_exceeded);
    EXPECT_THAT(closed.error().message, HasSubstr("pool_pgtest.cpp"));
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_EQ(refused.size(), 1u);
    EXPECT_EQ(refused[0].code, Code::cancelled);
    EXPECT_CODE(co_await pool.acquire(soon()), Code::cancelled);
    // The statement outlives close(): nobody can recover the session, so it goes.
    EXPECT_FALSE(co_await (*lease)->execute(sleep_long, {}, Deadline::after(10ms)));
    *lease = Lease();
    EXPECT_TRUE(co_await pool.close(soon()));
    EXPECT_EQ(pool.status().open, 0u);
  });
}

TEST_F(PoolTest, CloseEndsWhatOpensAndWhatWaits) {
  auto& servers = support::shared_servers();
  support::FaultProxy proxy("127.0.0.1", servers->pooled().port);
  proxy.black_hole();
  auto made = options(10);
  made.connect.host = "127.0.0.1";
  made.connect.port = proxy.port();
  made.connect_timeout = 60s;
  run([&]() -> Task<> {
    Pool pool(context_.get_executor(), made, system_clock(), 1);
    aio::Gate callers(context_.get_executor());
    std::vector<Lease> held;
    std::vector<Error> refused;
    for (int i = 0; i < 5; ++i) callers.spawn("waiter", hold(pool, soon(), held, refused));
    EXPECT_TRUE(co_await eventually([&] { return proxy.counts().accepted == 5; }));
    const auto begin = Monotonic::now();
    const auto closed = co_await pool.close(soon());
    EXPECT_TRUE(closed) << describe(closed);
    EXPECT_LT(Monotonic::now() - begin, 1s);
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_EQ(refused.size(), 5u);
  });
}

}  // namespace
}  // namespace citadel::pg
