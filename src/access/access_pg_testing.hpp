// What the tests against real servers share: a migrated database for each, reached as the daemon reaches it,
// and as the schema's owner.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "access/store.hpp"
#include "aio/run.hpp"
#include "store/migrated_testing.hpp"
#include "support/servers.hpp"

namespace citadel::access {

using namespace std::chrono_literals;
using testing::HasSubstr;

inline Deadline soon() {
  return Deadline::after(60s);
}

class AccessTest : public testing::Test {
 protected:
  void SetUp() override {
    auto& options = options_;
    options.pool.connect = as_role(servers_->pooled(), local::app_role, servers_->app_password());
    options.pool.connect.route = pg::Route::pgpool;
    options.pool.size_min = 1;
    database_.emplace(context_.get_executor(), options, system_clock(), 1);
    ASSERT_TRUE(run(database_->start(soon())));
  }
  void TearDown() override { EXPECT_TRUE(run(database_->close(soon()))); }

  template <class T>
  T run(Task<T> task) {
    return aio::run(context_, std::move(task));
  }
  // Rows as text, fields by '|', rows by '\n'; or the SQLSTATE.
  std::string as_owner(std::string_view statement) {
    const auto owner = run(pg::Connection::connect(
        context_.get_executor(), as_role(servers_->direct(), local::owner_role, servers_->owner_password()),
        soon()));
    if (!owner) return owner.error().to_string();
    return text_of(run((*owner)->execute_simple(statement, soon())));
  }
  // The same in one transaction of the daemon's role; `tenant` 0: without the setting.
  std::string as_app(std::string_view statement, std::int32_t tenant = 0) {
    return text_of(run(database_->transact<pg::Rows>(
        soon(), store::Intent::write, {.name = "test"},
        [&](pg::Transaction& transaction) -> Task<Result<pg::Rows>> {
          if (tenant)
            CITADEL_CO_TRY(co_await transaction.set_local("citadel.tenant", std::to_string(tenant), soon()));
          co_return co_await transaction.execute_simple(statement, soon());
        })));
  }
  Tenant tenant(std::string name) {
    auto made = run(create_tenant(*database_, std::move(name), caller, soon()));
    EXPECT_TRUE(made) << made.error().to_string();
    return made.value_or(Tenant{});
  }
  Principal principal(std::int32_t tenant, std::string name, Role role = Role::reader) {
    auto made = run(create_principal(*database_, tenant, std::move(name), role, caller, soon()));
    EXPECT_TRUE(made) << made.error().to_string();
    return made.value_or(Principal{});
  }
  IssuedKey key(std::int32_t tenant, std::string principal,
                std::optional<std::chrono::seconds> valid_for = {}) {
    auto made = run(create_key(*database_, pepper_, tenant, std::move(principal), valid_for, caller, soon()));
    EXPECT_TRUE(made) << made.error().to_string();
    return made.value_or(IssuedKey{});
  }

  static inline const Caller caller{.actor = "principal:default/ada", .request_id = "req-7"};
  support::Servers& servers_ = support::shared_servers();
  const std::string name_ = store::migrated_database(servers_);
  asio::io_context context_{1};
  store::Options options_;  // what a test sets before SetUp() is kept
  std::optional<store::Database> database_;
  const Pepper pepper_{Secret("the pepper of these tests, which is long")};

 private:
  pg::ConnectOptions as_role(const local::Endpoint& endpoint, std::string_view role, const Secret& password) {
    pg::ConnectOptions out;
    out.host = endpoint.host;
    out.port = endpoint.port;
    out.database = name_;
    out.user = role;
    out.password = password;
    out.route = pg::Route::direct;
    return out;
  }
  static std::string text_of(const Result<pg::Rows>& rows) {
    if (!rows) return rows.error().sqlstate;
    std::string out;
    for (const pg::Row row : *rows) {
      if (!out.empty()) out += '\n';
      for (int i = 0; i < rows->columns(); ++i)
        out += (i ? "|" : "") +
               (row.is_null(i) ? std::string("null") : std::string(row.get<std::string_view>(i)));
    }
    return out;
  }
};

}  // namespace citadel::access
