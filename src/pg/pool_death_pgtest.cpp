// The pool while servers and networks die.
#include <thread>

#include "aio/gate.hpp"
#include "pg/pool_core.hpp"
#include "pg/pool_testing.hpp"
#include "support/fault_proxy.hpp"

namespace citadel::pg {
namespace {

using testing::HasSubstr;

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
    // From a deadline's timer to the caller it takes a few turns of the loop, one after the other: the
    // cancelled operation, the session that is closed, the caller.
    constexpr int turns = 3;
    // How late a mere timer is here: logins under a sanitizer leave the loop no time. Where the loop was held
    // up, callers are resumed before the timer is; the timer's time was due all the same.
    Monotonic::duration loop_late{};
    Monotonic::time_point timer_due = Monotonic::time_point::max();
    const auto time_the_loop = [&]() -> Task<> {
      while (!stop && healed < load.callers) {
        timer_due = Monotonic::now() + 5ms;
        co_await aio::sleep_for(5ms);  // sleep: the yardstick of lateness
        loop_late = std::max(loop_late, Monotonic::now() - timer_due);
      }
      timer_due = Monotonic::time_point::max();
    };
    callers.spawn("timer", time_the_loop());
    const auto call = [&]() -> Task<> {
      int successes = 0;
      while (!stop && successes < load.healed) {
        const auto deadline = Deadline::after(load.deadline);
        const auto outcome = co_await select_once(pool, deadline);
        const auto now = Monotonic::now();
        const auto over = now - deadline.when();
        loop_late = std::max(loop_late, now - timer_due);
        if (over > grace + turns * loop_late) {
          ++load.late;
          load.latest =
              fmt::format("{} ms late, a timer {} ms: {}", over / 1ms, loop_late / 1ms, describe(outcome));
        }
        if (!outcome) {
          ++load.failures;
          co_await aio::sleep_for(5ms);  // sleep: a caller that pauses after a failure
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

TEST_F(PoolDeath, AfterARestartNoSessionOfTheTimeBeforeIsLentAgain) {
  support::Servers own({.pgpool_children = 40});
  with_pool(options(10, own), [&](Pool& pool) -> Task<> {
    co_await fill(pool);
    std::vector<Lease> held;
    for (std::size_t i = 0; i < losses_flush; ++i) {
      auto lease = co_await pool.acquire(soon());
      CO_ASSERT_OK(lease);
      held.push_back(std::move(*lease));
    }
    EXPECT_TRUE(own->stop(local::Server::postgres, soon()));
    EXPECT_TRUE(own->start(local::Server::postgres, soon()));
    for (Lease& lease : held) {
      EXPECT_EQ(pool.status().generation, 1u);
      EXPECT_CODE(co_await lease->execute(select_one, {}, soon()), Code::connection_lost);
      lease = Lease();
    }
    EXPECT_EQ(pool.status().generation, 2u);
    EXPECT_EQ(pool.status().open, 0u);
    for (int i = 0; i < 20; ++i) CO_ASSERT_OK(co_await select_once(pool, soon()));
    EXPECT_EQ(pool.status().generation, 2u);
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
    EXPECT_GT(pool.status().generation, 1u);
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
    EXPECT_GT(pool.status().generation, 1u);
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
    EXPECT_GT(pool.status().generation, 1u);
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
      // sleep: the fault lasts this long
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
  // sleep: any timer will do
  run([]() -> Task<> { co_await aio::sleep_for(1ms); });  // opens the reactor's own descriptors
  const auto before = descriptors();
  auto made = options(8, own);
  // Enough for a login where a sanitizer and other tests leave little of the machine.
  made.connect_timeout = 2s;
  with_pool(made, [&](Pool& pool) -> Task<> {
    std::vector<Lease> held;
    std::vector<Error> refused;
    aio::Gate callers(context_.get_executor());
    for (int i = 0; i < 4; ++i) callers.spawn("caller", hold(pool, soon(), held, refused));
    EXPECT_TRUE(co_await callers.drain(soon()));
    const auto deadline = Deadline::after(3s);
    for (int i = 0; i < 4; ++i) callers.spawn("one too many", hold(pool, deadline, held, refused));
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

}  // namespace
}  // namespace citadel::pg
