// What the tests of the pool against real servers share.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "pg/pgtest.hpp"
#include "pg/pool.hpp"

namespace citadel::pg {

inline constexpr Statement select_one{"select_one", "SELECT 1"};
inline constexpr Statement sleep_long{"sleep_long", "SELECT pg_sleep(600)"};
// What a caller may overrun its deadline by.
inline constexpr auto grace = 100ms;

inline std::size_t descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

inline ConnectOptions through_pgpool(support::Servers& servers, std::string name) {
  ConnectOptions options;
  options.host = servers->pooled().host;
  options.port = servers->pooled().port;
  options.database = servers->pooled().database;
  options.user = local::owner_role;
  options.password = servers->owner_password();
  options.application_name = std::move(name);
  return options;
}

inline ConnectOptions past_pgpool(support::Servers& servers, std::string name) {
  auto options = through_pgpool(servers, std::move(name));
  options.host = servers->direct().host;
  options.port = servers->direct().port;
  options.route = Route::direct;
  return options;
}

// Sessions of this application that pg_stat_activity shows.
inline int sessions(support::Servers& servers, const std::string& name, const std::string& filter = "true") {
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
      co_await aio::sleep_for(10ms);  // sleep: polls, until a deadline
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

}  // namespace citadel::pg
