#include "pg/pool.hpp"

#include <filesystem>
#include <functional>
#include <thread>

#include "aio/gate.hpp"
#include "pg/pgtest.hpp"
#include "support/fault_proxy.hpp"

namespace citadel::pg {
namespace {

using testing::HasSubstr;

constexpr Statement select_one{"select_one", "SELECT 1"};
constexpr Statement sleep_long{"sleep_long", "SELECT pg_sleep(600)"};
// What a caller may overrun its deadline by.
constexpr auto grace = 100ms;

std::size_t descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

ConnectOptions through_pgpool(support::Servers& servers, std::string name) {
  ConnectOptions options;
  options.host = servers->pooled().host;
  options.port = servers->pooled().port;
  options.database = servers->pooled().database;
  options.user = local::owner_role;
  options.password = servers->owner_password();
  options.application_name = std::move(name);
  return options;
}

ConnectOptions past_pgpool(support::Servers& servers, std::string name) {
  auto options = through_pgpool(servers, std::move(name));
  options.host = servers->direct().host;
  options.port = servers->direct().port;
  options.route = Route::direct;
  return options;
}

// Sessions of this application that pg_stat_activity shows.
int sessions(support::Servers& servers, const std::string& name, const std::string& filter = "true") {
  return std::stoi(servers.sql_as_superuser(fmt::format(
      "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND {};", name, filter)));
}

class PoolTest : public PgTest {
 protected:
  PoolOptions options(std::size_t size_max, support::Servers& servers = support::shared_servers()) {
    PoolOptions made;
    made.connect = through_pgpool(servers, name_);
    made.size_min = 0;
    made.size_max = size_max;
    made.adaptive = false;
    return made;
  }

  // Runs `body` with a pool, and closes it.
  void with_pool(PoolOptions pool_options, std::function<Task<>(Pool&)> body) {
    run([&]() -> Task<> {
      Pool pool(context_.get_executor(), pool_options, system_clock(), 1);
      co_await body(pool);
      const auto closed = co_await pool.close(soon());
      EXPECT_TRUE(closed) << describe(closed);
      const auto status = pool.status();
      EXPECT_EQ(status.open + status.opening + status.waiting, 0u);
    });
  }

  // Until `condition` holds; false at the deadline.
  static Task<bool> eventually(std::function<bool()> condition) {
    const auto deadline = soon();
    while (!deadline.expired()) {
      if (condition()) co_return true;
      co_await aio::sleep_for(10ms);
    }
    co_return false;
  }

  static Task<> hold(Pool& pool, Deadline deadline, std::vector<Lease>& held, std::vector<Error>& refused) {
    auto lease = co_await pool.acquire(deadline);
    if (lease) {
      held.push_back(std::move(*lease));
    } else {
      refused.push_back(lease.error());
    }
  }

  const std::string name_ = testing::UnitTest::GetInstance()->current_test_info()->name();
};

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
      constexpr Statement wait{"wait_for_gate", "SELECT pg_advisory_xact_lock_shared(77)::text"};
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
    EXPECT_EQ(sessions(support::shared_servers(), name_), 3);
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
    const auto deadline = Deadline::after(200ms);
    callers.spawn("waiter", hold(pool, deadline, held, refused));
    co_await aio::sleep_for(1ms);
    const auto full = co_await pool.acquire(soon());
    EXPECT_CODE(full, Code::overloaded);
    EXPECT_THAT(full.error().message, HasSubstr("queue_max"));
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_TRUE(deadline.expired());
    EXPECT_FALSE(deadline.expired(Monotonic::now() - grace));
    EXPECT_EQ(refused.size(), 1u);
    EXPECT_EQ(refused[0].code, Code::overloaded);
    EXPECT_EQ(pool.status().refused_queue_total, 1u);
    EXPECT_EQ(pool.status().refused_time_total, 1u);
  });
}

TEST_F(PoolTest, ALeakIsReportedWithItsOrigin) {
  auto made = options(1);
  made.leak_after = 40ms;
  testing::internal::CaptureStderr();
  with_pool(made, [&](Pool& pool) -> Task<> {
    auto lease = co_await pool.acquire(soon());
    EXPECT_TRUE(co_await eventually([&] { return pool.status().leaked_total == 1; }));
    co_await aio::sleep_for(100ms);
    EXPECT_EQ(pool.status().leaked_total, 1u);
  });
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("pool_pgtest.cpp:"));
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
      co_await aio::sleep_for(1ms);
      EXPECT_EQ(pool.status().waiting, 1u);
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

TEST_F(PoolTest, APoisonedSessionIsClosed) {
  with_pool(options(1), [&](Pool& pool) -> Task<> {
    auto lease = co_await pool.acquire(soon());
    CO_ASSERT_OK(lease);
    lease->poison();
    *lease = Lease();
    EXPECT_EQ(pool.status().open, 0u);
    CO_ASSERT_OK(co_await pool.acquire(soon()));
    EXPECT_EQ(pool.status().opened_total, 2u);
  });
}

class PoolCancel : public PoolTest, public testing::WithParamInterface<Route> {};
INSTANTIATE_TEST_SUITE_P(, PoolCancel, testing::Values(Route::direct, Route::pgpool), route_name);

// Several at once, so that they share the direct connection.
TEST_P(PoolCancel, StatementsThatOutlastTheirCallersAreReallyCancelled) {
  auto& servers = support::shared_servers();
  const std::string name = "cancelled";
  auto made = options(4);
  made.connect.application_name = name;
  if (GetParam() == Route::direct) made.direct = past_pgpool(servers, "control");
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
    EXPECT_EQ(pool.status().recovering, 4u);
    EXPECT_TRUE(co_await eventually([&] { return pool.status().recovering == 0; }));
    EXPECT_EQ(pool.status().recovered_total, 4u);
    EXPECT_EQ(pool.status().opened_total, 4u);
    EXPECT_EQ(sessions(servers, name, "state = 'active'"), 0);
    EXPECT_EQ(sessions(servers, "control"), GetParam() == Route::direct ? 1 : 0);
    auto lease = co_await pool.acquire(soon());
    CO_ASSERT_OK(lease);
    CO_ASSERT_OK(co_await (*lease)->execute(select_one, {}, soon()));
  });
}

// --- deaths

class PoolDeath : public PoolTest {
 protected:
  // Opens all sessions of the pool, and leaves them idle.
  Task<> fill(Pool& pool) {
    std::vector<Lease> held;
    std::vector<Error> refused;
    aio::Gate callers(context_.get_executor());
    for (std::size_t i = 0; i < pool.options().size_max; ++i)
      callers.spawn("fill", hold(pool, soon(), held, refused));
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_EQ(held.size(), pool.options().size_max);
  }

  static Task<Result<void>> select_once(Pool& pool, Deadline deadline) {
    auto lease = co_await pool.acquire(deadline);
    if (!lease) co_return std::unexpected(lease.error());
    auto rows = co_await (*lease)->execute(select_one, {}, deadline);
    if (!rows) co_return std::unexpected(rows.error());
    co_return Result<void>();
  }

  void terminate_all(support::Servers& servers) {
    servers.sql_as_superuser(fmt::format(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '{}';",
        name_));
  }

  // `callers` of them in a closed loop, while `fault` runs on another thread; ends when each has had `healed`
  // successes after it.
  struct Load {
    int callers = 20;
    int healed = 10;
    std::chrono::milliseconds deadline{1'500};
    std::size_t failures = 0, late = 0;
    std::string latest;
  };
  Task<> load(Pool& pool, Load& load, std::function<void()> fault) {
    bool fault_is_over = false, stop = false;
    std::thread thread([&, executor = context_.get_executor()] {
      fault();
      asio::post(executor, [&] { fault_is_over = true; });
    });
    int healed = 0;
    aio::Gate callers(context_.get_executor());
    const auto call = [&]() -> Task<> {
      int successes = 0;
      while (!stop && successes < load.healed) {
        const auto deadline = Deadline::after(load.deadline);
        const auto outcome = co_await select_once(pool, deadline);
        const auto over = Monotonic::now() - deadline.when();
        if (over > grace) {
          ++load.late;
          load.latest = fmt::format("{} ms late: {}", over / 1ms, describe(outcome));
        }
        if (!outcome) {
          ++load.failures;
          co_await aio::sleep_for(5ms);
        } else if (fault_is_over) {
          ++successes;
        }
      }
      ++healed;
    };
    for (int i = 0; i < load.callers; ++i) callers.spawn("caller", call());
    const bool all_ended = (co_await callers.drain(Deadline::after(60s))).has_value();
    stop = true;
    EXPECT_TRUE(all_ended) << "it did not heal";
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_EQ(load.late, 0u) << load.latest;
    EXPECT_EQ(healed, load.callers);
    thread.join();
  }
};

TEST_F(PoolDeath, AFlushAfterAllBackendsDiedHidesItFromCallers) {
  with_pool(options(10), [&](Pool& pool) -> Task<> {
    co_await fill(pool);
    terminate_all(support::shared_servers());
    pool.flush();
    EXPECT_EQ(pool.status().open, 0u);
    for (int i = 0; i < 20; ++i) CO_ASSERT_OK(co_await select_once(pool, soon()));
    EXPECT_EQ(pool.status().generation, 2u);
  });
}

TEST_F(PoolDeath, WithoutAFlushOneCallerFindsOutForAll) {
  with_pool(options(10), [&](Pool& pool) -> Task<> {
    co_await fill(pool);
    terminate_all(support::shared_servers());
    const auto first = co_await select_once(pool, soon());
    EXPECT_CODE(first, Code::connection_lost);
    for (int i = 0; i < 20; ++i) CO_ASSERT_OK(co_await select_once(pool, soon()));
    co_await fill(pool);
  });
}

TEST_F(PoolDeath, HealsAfterPostgresqlWasKilledUnderLoad) {
  support::Servers own({.pgpool_children = 40});
  with_pool(options(20, own), [&](Pool& pool) -> Task<> {
    co_await fill(pool);
    Load stress;
    co_await load(pool, stress, [&] {
      EXPECT_TRUE(own->kill_all(local::Server::postgres, SIGKILL));
      const auto deadline = soon();
      while (own->status(local::Server::postgres).restarts == 0 && !deadline.expired())
        std::this_thread::yield();
    });
    EXPECT_GT(stress.failures, 0u) << "the fault has not fired";
  });
}

TEST_F(PoolDeath, HealsAfterPostgresqlWasRestartedUnderLoad) {
  support::Servers own({.pgpool_children = 40});
  with_pool(options(20, own), [&](Pool& pool) -> Task<> {
    co_await fill(pool);
    Load stress;
    co_await load(pool, stress, [&] {
      EXPECT_TRUE(own->stop(local::Server::postgres, soon()));
      EXPECT_TRUE(own->start(local::Server::postgres, soon()));
    });
    EXPECT_GT(stress.failures, 0u) << "the fault has not fired";
  });
}

TEST_F(PoolDeath, HealsAfterPgpoolWasKilledUnderLoad) {
  support::Servers own({.pgpool_children = 40});
  with_pool(options(20, own), [&](Pool& pool) -> Task<> {
    co_await fill(pool);
    Load stress;
    co_await load(pool, stress, [&] {
      EXPECT_TRUE(own->kill(local::Server::pgpool, SIGKILL));
      EXPECT_TRUE(own->kill_all(local::Server::pgpool, SIGKILL) || true);
      const auto deadline = soon();
      while (own->status(local::Server::pgpool).restarts == 0 && !deadline.expired())
        std::this_thread::yield();
    });
    EXPECT_GT(stress.failures, 0u) << "the fault has not fired";
  });
}

TEST_F(PoolDeath, NobodyHangsWhereTheNetworkSwallowsEverything) {
  auto& servers = support::shared_servers();
  support::FaultProxy proxy("127.0.0.1", servers->pooled().port);
  auto made = options(10);
  made.connect.host = "127.0.0.1";
  made.connect.port = proxy.port();
  made.connect_timeout = 300ms;
  made.recover_timeout = 300ms;
  with_pool(made, [&](Pool& pool) -> Task<> {
    co_await fill(pool);
    Load stress;
    stress.deadline = 500ms;
    co_await load(pool, stress, [&] {
      proxy.black_hole();
      EXPECT_TRUE(proxy.wait_for([](const auto& counts) { return counts.holds >= 10; }, soon()));
      std::this_thread::sleep_for(1s);  // long enough that every caller meets it
      proxy.pass();
    });
    EXPECT_GT(stress.failures, 0u) << "the fault has not fired";
  });
}

TEST_F(PoolDeath, WhereNothingListensCallersLearnWhyAndTheReturnIsNoticed) {
  auto& servers = support::shared_servers();
  support::FaultProxy proxy("127.0.0.1", servers->pooled().port);
  proxy.refuse(true);
  auto made = options(10);
  made.size_min = 2;
  made.connect.host = "127.0.0.1";
  made.connect.port = proxy.port();
  with_pool(made, [&](Pool& pool) -> Task<> {
    EXPECT_CODE(co_await pool.start(soon()), Code::unavailable);
    const auto deadline = Deadline::after(300ms);
    const auto refused = co_await pool.acquire(deadline);
    EXPECT_FALSE(deadline.expired(Monotonic::now() - grace));
    EXPECT_CODE(refused, Code::unavailable);
    EXPECT_THAT(refused.error().message, HasSubstr(pool.status().last_open_error->message));
    const auto failed = pool.status().open_failed_total;
    EXPECT_LT(failed, 50u) << "a storm";
    proxy.refuse(false);
    EXPECT_TRUE(co_await eventually([&] { return pool.status().idle == 2; })) << "nobody asked, and yet";
    CO_ASSERT_OK(co_await select_once(pool, soon()));
  });
}

TEST_F(PoolDeath, ExhaustedSlotsOfPgpoolEndInErrorsAndLeakNothing) {
  support::Servers own({.pgpool_children = 4});
  run([]() -> Task<> { co_await aio::sleep_for(1ms); });  // opens the reactor's own descriptors
  const auto before = descriptors();
  auto made = options(8, own);
  made.connect_timeout = 300ms;
  with_pool(made, [&](Pool& pool) -> Task<> {
    std::vector<Lease> held;
    std::vector<Error> refused;
    aio::Gate callers(context_.get_executor());
    const auto deadline = Deadline::after(2s);
    for (int i = 0; i < 8; ++i) callers.spawn("caller", hold(pool, deadline, held, refused));
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_FALSE(deadline.expired(Monotonic::now() - grace));
    EXPECT_EQ(held.size(), 4u);
    EXPECT_EQ(refused.size(), 4u);
    for (const auto& error : refused) EXPECT_EQ(error.code, Code::overloaded) << error.to_string();
    EXPECT_TRUE(pool.status().last_open_error);
    held.clear();
    CO_ASSERT_OK(co_await select_once(pool, soon()));
  });
  run([&]() -> Task<> {
    EXPECT_TRUE(co_await eventually([&] { return descriptors() <= before; }))
        << descriptors() << " of " << before;
  });
}

// --- the end

TEST_F(PoolTest, CloseWaitsForLentSessionsAndNamesTheOneThatStays) {
  run([&]() -> Task<> {
    Pool pool(context_.get_executor(), options(1), system_clock(), 1);
    auto lease = co_await pool.acquire(soon());
    CO_ASSERT_OK(lease);
    aio::Gate callers(context_.get_executor());
    std::vector<Lease> held;
    std::vector<Error> refused;
    callers.spawn("waiter", hold(pool, soon(), held, refused));
    co_await aio::sleep_for(1ms);
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
