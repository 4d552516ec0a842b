// What the tests of store/ against real servers share: a database for each test, a table, and a Database.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aio/run.hpp"
#include "store/database.hpp"
#include "store/migrations.hpp"
#include "support/servers.hpp"

namespace citadel::store {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

inline Deadline soon() {
  return Deadline::after(60s);
}

inline pg::ConnectOptions as_role(const local::Endpoint& endpoint, std::string_view role,
                                  const Secret& password, pg::Route route) {
  pg::ConnectOptions out;
  out.host = endpoint.host;
  out.port = endpoint.port;
  out.database = endpoint.database;
  out.user = role;
  out.password = password;
  out.route = route;
  return out;
}

// A database of its own for each test, so that migrations start from nothing.
class StoreTest : public testing::Test {
 protected:
  explicit StoreTest(support::Servers& servers = support::shared_servers()) : servers_(servers) {}
  void SetUp() override { name_ = servers_.new_database(); }

  pg::ConnectOptions owner() {
    auto out = as_role(servers_->direct(), local::owner_role, servers_->owner_password(), pg::Route::direct);
    out.database = name_;
    return out;
  }
  pg::ConnectOptions app() {
    auto out = as_role(servers_->pooled(), local::app_role, servers_->app_password(), pg::Route::pgpool);
    out.database = name_;
    return out;
  }
  std::unique_ptr<pg::Connection> connect(const pg::ConnectOptions& options) {
    auto connection = aio::run(context_, pg::Connection::connect(context_.get_executor(), options, soon()));
    EXPECT_TRUE(connection) << connection.error().to_string();
    return *std::move(connection);
  }
  Result<int> migrate_with(std::span<const Migration> migrations) {
    const auto connection = connect(owner());
    return aio::run(context_, migrate(*connection, migrations, soon(), {}));
  }
  Options options() {
    Options out;
    out.pool.connect = app();
    out.pool.direct =
        as_role(servers_->direct(), local::app_role, servers_->app_password(), pg::Route::direct);
    out.pool.direct->database = name_;
    out.pool.size_min = 1;
    return out;
  }
  // Runs `body` with a started Database and closes it.
  void with_database(Options wanted, std::function<Task<>(Database&)> body) {
    Database database(context_.get_executor(), std::move(wanted), system_clock(), 1);
    ASSERT_TRUE(aio::run(context_, database.start(soon())));
    aio::run(context_, body(database));
    EXPECT_TRUE(aio::run(context_, database.close(soon())));
  }

  support::Servers& servers_;
  std::string name_;
  asio::io_context context_{1};
};

inline constexpr Migration first{1, "one",
                                 "create table citadel.thing (id bigint primary key, note text); "
                                 "grant usage on schema citadel to citadel_app; "
                                 "grant all on citadel.thing to citadel_app;"
                                 "create table citadel.commit_marker (id uuid primary key); "
                                 "grant all on citadel.commit_marker to citadel_app;"};
inline constexpr pg::Statement insert_thing{"insert thing",
                                            "insert into citadel.thing (id, note) values ($1, $2)"};
inline constexpr pg::Statement update_thing{"update thing",
                                            "update citadel.thing set note = $2 where id = $1"};
inline constexpr pg::Statement count_things{"count things", "select count(*) from citadel.thing"};
inline constexpr pg::Statement things_by_id{"things by id",
                                            "select id, note from citadel.thing where id = any($1)"};

inline Task<std::int64_t> count(Database& database) {
  auto rows = co_await database.query(soon(), Intent::read_your_writes, count_things, {});
  co_return rows ? (*rows)[0].get<std::int64_t>(0) : -1;
}

inline Task<Result<bool>> insert(Database& database, std::int64_t id) {
  return database.transact<bool>(
      soon(), Intent::write, {.name = "insert"}, [id](pg::Transaction& tx) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await tx.execute(insert_thing, pg::Params(id, "x"), soon()));
        co_return true;
      });
}

}  // namespace citadel::store
