// What the tests of pg/ against real servers share: sessions on both routes, and a body that runs as a
// coroutine.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "aio/run.hpp"
#include "aio/wait.hpp"
#include "pg/connection.hpp"
#include "support/servers.hpp"

namespace citadel::pg {

using namespace std::chrono_literals;

// When a test gives up. A hundred logins under a sanitizer take half of it where the machine is busy.
inline Deadline soon() {
  return Deadline::after(60s);
}

inline ConnectOptions options_for(Route route) {
  auto& servers = support::shared_servers();
  const auto endpoint = route == Route::direct ? servers->direct() : servers->pooled();
  ConnectOptions options;
  options.host = endpoint.host;
  options.port = endpoint.port;
  options.database = endpoint.database;
  options.user = local::owner_role;
  options.password = servers->owner_password();
  options.application_name = "pg_pgtest";
  options.route = route;
  return options;
}

// Runs one coroutine to its end on a context of its own.
class PgTest : public testing::Test {
 protected:
  template <class Body>
  void run(Body body) {
    aio::run(context_, [](Body inner) -> Task<> { co_await inner(); }(std::move(body)));
  }

  Task<std::unique_ptr<Connection>> connect(Route route) { return connect(options_for(route)); }
  Task<std::unique_ptr<Connection>> connect(ConnectOptions options) {
    auto connection = co_await Connection::connect(context_.get_executor(), std::move(options), soon());
    if (!connection) throw std::runtime_error(connection.error().to_string());
    co_return *std::move(connection);
  }

  // Until `sleeper`'s backend has come to its pg_sleep, as `observer` sees it; the test fails at the
  // deadline.
  static Task<> until_asleep(Connection& observer, const Connection& sleeper) {
    constexpr Statement asleep{"asleep",
                               "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'"};
    for (const Deadline limit = soon(); !limit.expired();) {
      auto seen = co_await observer.execute(asleep, Params(std::int32_t{sleeper.backend_pid()}), soon());
      EXPECT_TRUE(seen) << describe(seen);
      if (!seen || !seen->empty()) co_return;
      co_await aio::sleep_for(5ms);  // sleep: polls, until a deadline
    }
    ADD_FAILURE() << "the backend did not come to its pg_sleep";
  }

  static std::string describe(const auto& result) { return result ? "a value" : result.error().to_string(); }

  asio::io_context context_{1};
};

// Each test on both routes.
class PgRouteTest : public PgTest, public testing::WithParamInterface<Route> {
 protected:
  Task<std::unique_ptr<Connection>> connect() { return PgTest::connect(GetParam()); }
  using PgTest::connect;
};

inline std::string route_name(const testing::TestParamInfo<Route>& info) {
  return info.param == Route::direct ? "Direct" : "Pgpool";
}

#define EXPECT_CODE(result, wanted)                                                     \
  do {                                                                                  \
    const auto& expect_code_ = (result);                                                \
    EXPECT_FALSE(expect_code_.has_value());                                             \
    if (!expect_code_) {                                                                \
      EXPECT_EQ(expect_code_.error().code, wanted) << expect_code_.error().to_string(); \
    }                                                                                   \
  } while (false)
#define CO_ASSERT_OK(result)                                                                              \
  do {                                                                                                    \
    const auto& assert_ok_ = (result);                                                                    \
    EXPECT_TRUE(assert_ok_.has_value()) << (assert_ok_ ? std::string() : assert_ok_.error().to_string()); \
    if (!assert_ok_) co_return;                                                                           \
  } while (false)

}  // namespace citadel::pg
