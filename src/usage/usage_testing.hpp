// What the tests against real servers share: a migrated database for each test, and frames to drain into it.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aio/run.hpp"
#include "base/time_text.hpp"
#include "journal/journal.hpp"
#include "store/migrated_testing.hpp"
#include "support/servers.hpp"
#include "usage/queries.hpp"
#include "usage/record_codec.hpp"
#include "usage/sink.hpp"

namespace citadel::usage {

using namespace std::chrono_literals;
using drain::SinkOutcome;
using testing::ElementsAre;
using testing::HasSubstr;

inline Deadline soon() {
  return Deadline::after(30s);
}

inline pg::ConnectOptions as_role(const local::Endpoint& endpoint, std::string_view role,
                                  const Secret& password, pg::Route route, const std::string& database) {
  pg::ConnectOptions out;
  out.host = endpoint.host;
  out.port = endpoint.port;
  out.database = database;
  out.user = role;
  out.password = password;
  out.route = route;
  return out;
}

// A migrated database of its own for each test, reached as the daemon reaches it: through Pgpool-II, as
// citadel_app.
class UsageTest : public testing::Test {
 protected:
  void SetUp() override {
    store::Options options;
    options.pool.connect =
        as_role(servers_->pooled(), local::app_role, servers_->app_password(), pg::Route::pgpool, name_);
    options.pool.size_min = 1;
    database_.emplace(context_.get_executor(), options, system_clock(), 1);
    ASSERT_TRUE(run(database_->start(soon())));
  }
  void TearDown() override {
    if (database_) EXPECT_TRUE(run(database_->close(soon())));
  }

  template <class T>
  T run(Task<T> task) {
    return aio::run(context_, std::move(task));
  }
  pg::ConnectOptions owner_options() {
    return as_role(servers_->direct(), local::owner_role, servers_->owner_password(), pg::Route::direct,
                   name_);
  }
  // What the schema's owner sees: rows as text, fields by '|', rows by '\n'.
  std::string sql(std::string_view statement) {
    const auto owner = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
    if (!owner) return owner.error().to_string();
    const auto rows = run((*owner)->execute_simple(statement, soon()));
    if (!rows) return rows.error().to_string();
    std::string out;
    for (const pg::Row row : *rows) {
      if (!out.empty()) out += '\n';
      for (int i = 0; i < rows->columns(); ++i)
        out += (i ? "|" : "") + std::string(row.get<std::string_view>(i));
    }
    return out;
  }
  // The same as the daemon's role.
  Result<pg::Rows> sql_as_app(std::string_view statement) {
    return run(database_->transact<pg::Rows>(
        soon(), store::Intent::write, {.name = "test"},
        [&](pg::Transaction& tx) { return tx.execute_simple(statement, soon()); }));
  }

  Task<Result<SinkOutcome>> drain_with(drain::Sink& sink, const std::vector<journal::Frame>& frames,
                                       std::optional<Error> then_fail = {}) {
    CITADEL_CO_TRY(co_await sink.prepare(*database_, frames, soon()));
    co_return co_await database_->transact<SinkOutcome>(
        soon(), store::Intent::write, {.name = "test drain", .attempts_max = 1},
        [&](pg::Transaction& tx) -> Task<Result<SinkOutcome>> {
          auto outcome = co_await sink.write(tx, origin_, frames, soon());
          if (outcome && then_fail) co_return std::unexpected(*then_fail);
          co_return outcome;
        });
  }
  SinkOutcome drain(const std::vector<journal::Frame>& frames) {
    const auto outcome = run(drain_with(*sink_, frames));
    EXPECT_TRUE(outcome) << outcome.error().to_string();
    return outcome.value_or(SinkOutcome{});
  }

  journal::Frame frame_of(const RequestRecord& record) {
    return {{origin_.epoch, ++sequence_}, journal::Kind::usage_request, record.id, encode_record(record)};
  }
  RequestRecord record_at(WallTime time, std::string model = "m") {
    RequestRecord record;
    record.started_at = time;
    record.id = new_uuid7(time, random_);
    record.model = std::move(model);
    record.prompt_tokens = 100;
    record.completion_tokens = 10;
    return record;
  }
  // The partition of that moment's month, as ensure_partitions names it.
  static std::string partition_of(WallTime time) {
    const std::string text = format_time(time);
    return "usage.request_" + text.substr(0, 4) + text.substr(5, 2);
  }
  UsageReport report(const UsageQuery& query) {
    auto result = run(usage_report(*database_, query, soon()));
    EXPECT_TRUE(result) << result.error().to_string();
    return result.value_or(UsageReport{});
  }
  RequestPage list(RequestFilter filter) {
    auto page = run(list_requests(*database_, std::move(filter), soon()));
    EXPECT_TRUE(page) << page.error().to_string();
    return page.value_or(RequestPage{});
  }

  support::Servers& servers_ = support::shared_servers();
  std::string name_ = store::migrated_database(servers_);
  asio::io_context context_{1};
  std::optional<store::Database> database_;
  std::unique_ptr<drain::Sink> sink_ = make_usage_sink();
  const drain::Origin origin_{Uuid{{1, 2, 3}}, 7};
  std::uint64_t sequence_ = 0;
  SeededRandom random_{42};
  const WallTime noon_ = std::chrono::floor<std::chrono::days>(system_clock().wall()) - 12h;  // yesterday's
};

}  // namespace citadel::usage
