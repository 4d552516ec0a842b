#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aio/gate.hpp"
#include "aio/run.hpp"
#include "base/time_text.hpp"
#include "drain/drain.hpp"
#include "journal/journal.hpp"
#include "store/migrations.hpp"
#include "support/servers.hpp"
#include "support/temp_folder.hpp"
#include "usage/queries.hpp"
#include "usage/record_codec.hpp"
#include "usage/sink.hpp"

namespace citadel::usage {
namespace {

using namespace std::chrono_literals;
using drain::SinkOutcome;
using testing::ElementsAre;
using testing::HasSubstr;

Deadline soon() {
  return Deadline::after(30s);
}

pg::ConnectOptions as_role(const local::Endpoint& endpoint, std::string_view role, const Secret& password,
                           pg::Route route, const std::string& database) {
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
    const auto owner = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
    ASSERT_TRUE(owner) << owner.error().to_string();
    const auto migrated = run(store::migrate(**owner, store::embedded_migrations(), soon(), {}));
    ASSERT_TRUE(migrated) << migrated.error().to_string();
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
  std::string name_ = servers_.new_database();
  asio::io_context context_{1};
  std::optional<store::Database> database_;
  std::unique_ptr<drain::Sink> sink_ = make_usage_sink();
  const drain::Origin origin_{Uuid{{1, 2, 3}}, 7};
  std::uint64_t sequence_ = 0;
  SeededRandom random_{42};
  const WallTime noon_ = std::chrono::floor<std::chrono::days>(system_clock().wall()) - 12h;  // yesterday's
};

TEST_F(UsageTest, StoresEveryFieldAndGivesItBack) {
  RequestRecord record = record_at(noon_ + 1234567us, "mixtral-8x7b");
  record.tenant = "acme";
  record.latency_us = 1;
  record.ttft_us = 0;
  record.queue_us = duration_us_max;
  record.status = 503;
  record.cost_nano = cost_nano_max;
  record.streamed = true;
  record.trace_id = Uuid{{9, 8, 7}};
  record.error_code = "overloaded";
  record.session = "s-\u00e9";
  record.endpoint = "/v1";
  record.api_key = "gateway";
  const RequestRecord plain = record_at(noon_);
  EXPECT_EQ(drain({frame_of(record), frame_of(plain)}).stored, 2u);
  for (const RequestRecord& wanted : {record, plain}) {
    const auto found = run(get_request(*database_, wanted.id, soon()));
    ASSERT_TRUE(found) << found.error().to_string();
    EXPECT_EQ(*found, wanted);
  }
  const auto absent = run(get_request(*database_, record_at(noon_).id, soon()));
  EXPECT_EQ(absent.error().code, Code::not_found);
}

TEST_F(UsageTest, SumsByMinuteHourAndDay) {
  std::vector<journal::Frame> first, second;
  for (int i = 0; i < 300; ++i) {
    RequestRecord record = record_at(noon_ + 20s * i, i % 3 ? "a" : "b");
    if (i % 10 == 0) record.status = 500;
    if (i % 2) record.latency_us = 1000 * i;
    (i % 4 ? first : second).push_back(frame_of(record));
  }
  drain(first);
  drain(second);
  const std::string sums = "300|30|30000|3000|0|150|22500000|299000";
  for (const std::string table : {"minute", "hour", "day"}) {
    EXPECT_EQ(
        sql("select sum(requests), sum(errors), sum(prompt_tokens), sum(completion_tokens), sum(cost_nano), "
            "sum(latency_count), sum(latency_us_sum), max(latency_us_max) from usage.rollup_" +
            table),
        sums);
  }
  EXPECT_EQ(sql("select count(*), count(distinct bucket) from usage.rollup_minute"), "200|100");
  EXPECT_EQ(sql("select count(*), count(distinct bucket) from usage.rollup_hour"), "4|2");
  EXPECT_EQ(sql("select name, requests from usage.rollup_day join usage.model on id = model_id order by 1"),
            "a|200\nb|100");
}

TEST_F(UsageTest, ARepeatIsDroppedWhereverItComesFrom) {
  std::vector<journal::Frame> frames;
  for (int i = 0; i < 50; ++i) frames.push_back(frame_of(record_at(noon_ + i * 1s)));
  EXPECT_EQ(drain(frames).stored, 50u);
  frames.push_back(frame_of(record_at(noon_ + 1min)));
  frames.push_back(frames.back());
  const SinkOutcome again = drain(frames);
  EXPECT_EQ(again.stored, 1u);
  EXPECT_EQ(again.repeated, 51u);
  sink_ = make_usage_sink();  // another daemon
  EXPECT_EQ(drain(frames).repeated, 52u);
  EXPECT_EQ(sql("select (select count(*) from usage.request), (select sum(requests) from usage.rollup_hour)"),
            "51|51");
}

TEST_F(UsageTest, AConflictIsKeptAndCountedInNoSum) {
  const RequestRecord record = record_at(noon_);
  RequestRecord other = record, third = record;
  other.completion_tokens = 99;
  third.completion_tokens = 98;
  EXPECT_EQ(drain({frame_of(record), frame_of(other)}).conflicting, 1u);
  const SinkOutcome later = drain({frame_of(third), frame_of(other)});
  EXPECT_EQ(later.stored, 0u);
  EXPECT_EQ(later.conflicting, 2u);
  EXPECT_EQ(sql("select record->>'completion_tokens' from usage.request_conflict order by 1"), "98\n99");
  EXPECT_EQ(sql("select completion_tokens from usage.request"), "10");
  EXPECT_EQ(sql("select requests, completion_tokens from usage.rollup_day"), "1|10");
}

TEST_F(UsageTest, AFrameThatCannotBeReadIsKeptAndBlocksNobody) {
  std::vector<journal::Frame> frames{frame_of(record_at(noon_)), frame_of(record_at(noon_)),
                                     frame_of(record_at(noon_))};
  frames[0].payload.pop_back();
  frames[2].payload[0] = 9;
  const SinkOutcome outcome = drain(frames);
  EXPECT_EQ(outcome.stored, 1u);
  EXPECT_EQ(outcome.undecodable, 2u);
  EXPECT_EQ(sql("select epoch, sequence, kind, reason, substr(encode(payload, 'hex'), 1, 2) from "
                "citadel.dead_letter "
                "order by sequence"),
            "7|1|1|the request record is cut off|01\n"
            "7|3|1|a request record of version 9; this program reads 1|09");
  EXPECT_EQ(drain(frames).repeated, 1u);
}

// The sink cannot see that a text is not UTF-8, or that a model's name is not; PostgreSQL can.
TEST_F(UsageTest, TheDrainSetsAsideWhatPostgresRefusesAndStoresTheRest) {
  support::TempFolder folder;
  auto journal = journal::Journal::open({.folder = folder.path() / "journal"}, system_clock());
  ASSERT_TRUE(journal) << journal.error().to_string();
  std::vector<journal::Record> records;
  for (int i = 0; i < 40; ++i) {
    RequestRecord record = record_at(noon_ + i * 1s);
    if (i == 7) record.session = "\xFF";
    if (i == 23) record.model = "\xC0";
    records.push_back({.id = record.id, .payload = encode_record(record)});
  }
  ASSERT_TRUE(run((*journal)->append(records, soon())));
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  sinks.push_back(make_usage_sink());
  drain::Drain drain(*database_, **journal, std::move(sinks), {.interval = 1ms}, system_clock(), 1);
  drain.start();
  const auto closed = run(drain.close(soon()));
  EXPECT_TRUE(closed) << closed.error().to_string();
  EXPECT_EQ(sql("select count(*) from usage.request"), "38");
  EXPECT_EQ(sql("select sum(requests) from usage.rollup_day"), "38");
  EXPECT_EQ(sql("select sequence, reason like '%22021%' from citadel.dead_letter order by sequence"),
            "8|t\n24|t");
  EXPECT_EQ(drain.status().dead_letter_total, 2u);
  EXPECT_EQ(drain.status().stored_total, 38u);
}

TEST_F(UsageTest, WhatIsRememberedStaysTrueAfterARollback) {
  const std::vector<journal::Frame> frames{frame_of(record_at(noon_, "new-model"))};
  const auto failed = run(drain_with(*sink_, frames, Error(Code::internal, "after the write")));
  EXPECT_EQ(failed.error().message, "after the write");
  EXPECT_EQ(sql("select count(*) from usage.request"), "0");
  EXPECT_EQ(drain(frames).stored, 1u);
}

TEST_F(UsageTest, WhatTheDatabaseHasLostIsMadeAnew) {
  EXPECT_EQ(drain({frame_of(record_at(noon_))}).stored, 1u);
  // As a restore to an earlier moment would: the partition, the names and their sums are gone.
  sql("truncate usage.rollup_minute, usage.rollup_hour, usage.rollup_day, usage.model, usage.tenant");
  const std::vector<journal::Frame> frames{frame_of(record_at(noon_ + 1s))};
  auto lost = run(drain_with(*sink_, frames));
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code, Code::unavailable);
  EXPECT_EQ(lost.error().retry, Retry::safe);
  EXPECT_EQ(std::string(lost.error().sqlstate), "");
  EXPECT_EQ(drain(frames).stored, 1u);
  sql("drop table usage.request_" + format_time(noon_).substr(0, 4) + format_time(noon_).substr(5, 2) +
      format_time(noon_).substr(8, 2));
  lost = run(drain_with(*sink_, frames));
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code, Code::unavailable);
  EXPECT_EQ(drain(frames).stored, 1u);
}

TEST_F(UsageTest, ABatchMaySpanMoreDaysThanOneCallMakes) {
  std::vector<journal::Frame> frames;
  for (int day = 0; day < 100; ++day) {
    frames.push_back(frame_of(record_at(noon_ - std::chrono::days(day))));
    frames.push_back(frame_of(record_at(noon_ - std::chrono::days(day))));
  }
  EXPECT_EQ(drain(frames).stored, 200u);
  EXPECT_EQ(drain(frames).repeated, 200u);
  EXPECT_EQ(sql("select count(*) from pg_inherits where inhparent = 'usage.request'::regclass"), "100");
  EXPECT_EQ(sql("select count(*), sum(requests) from usage.rollup_day"), "100|200");
}

TEST_F(UsageTest, DaemonsThatMakeTheSameThingsDoNotFailEachOther) {
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  std::vector<std::vector<journal::Frame>> batches;
  for (int i = 0; i < 8; ++i) {
    sinks.push_back(make_usage_sink());
    batches.emplace_back();
    for (int j = 0; j < 40; ++j) {
      // Each in another order, so that only order taken by the sink avoids a deadlock.
      const int k = i % 2 ? j : 39 - j;
      batches.back().push_back(frame_of(record_at(noon_ - 24h * (k % 10), "model-" + std::to_string(k))));
    }
  }
  std::vector<std::string> errors;
  aio::Gate gate(context_.get_executor());
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    gate.spawn("drain",
               [](auto* test, drain::Sink& sink, const std::vector<journal::Frame>& frames,
                  std::vector<std::string>& failed) -> Task<> {
                 const auto outcome = co_await test->drain_with(sink, frames);
                 if (!outcome) failed.push_back(outcome.error().to_string());
               }(this, *sinks[i], batches[i], errors));
  }
  EXPECT_TRUE(run(gate.drain(soon())));
  EXPECT_THAT(errors, testing::IsEmpty());
  EXPECT_EQ(
      sql("select (select count(*) from usage.request), (select sum(requests) from usage.rollup_minute), "
          "(select count(*) from usage.model)"),
      "320|320|40");
}

TEST_F(UsageTest, ListsNewestFirstByPages) {
  std::vector<journal::Frame> frames;
  std::vector<Uuid> newest_first;
  for (int i = 0; i < 25; ++i) {
    const auto record = record_at(noon_ - 36h + i * 3h);
    frames.push_back(frame_of(record));
    newest_first.insert(newest_first.begin(), record.id);
  }
  drain(frames);
  std::vector<Uuid> seen;
  RequestFilter filter{.limit = 10};
  std::vector<std::size_t> sizes;
  for (bool more = true; more;) {
    const RequestPage page = list(filter);
    for (const auto& record : page.requests) seen.push_back(record.id);
    sizes.push_back(page.requests.size());
    more = page.next_cursor.has_value();
    filter.cursor = page.next_cursor.value_or("");
    // What arrives meanwhile changes no later page.
    drain({frame_of(record_at(noon_ + 48h))});
  }
  EXPECT_EQ(seen, newest_first);
  EXPECT_THAT(sizes, ElementsAre(10, 10, 5));
}

TEST_F(UsageTest, ListsByEveryFilter) {
  RequestRecord a = record_at(noon_, "a"), b = record_at(noon_ + 1h, "b"), c = record_at(noon_ + 2h, "a");
  b.tenant = "acme";
  b.status = 429;
  b.trace_id = Uuid{{5}};
  // Begun before its id was made.
  c.started_at -= 30min;
  drain({frame_of(a), frame_of(b), frame_of(c)});
  const auto ids = [&](RequestFilter filter) {
    std::string out;
    for (const auto& record : list(std::move(filter)).requests) {
      out += record.id == a.id ? "a" : record.id == b.id ? "b" : "c";
    }
    return out;
  };
  EXPECT_EQ(ids({}), "cba");
  EXPECT_EQ(ids({.tenant = "default"}), "ca");
  EXPECT_EQ(ids({.tenant = "nobody"}), "");
  EXPECT_EQ(ids({.model = "a"}), "ca");
  EXPECT_EQ(ids({.tenant = "acme", .model = "a"}), "");
  EXPECT_EQ(ids({.status = 200}), "ca");
  EXPECT_EQ(ids({.status = 429}), "b");
  EXPECT_EQ(ids({.trace_id = Uuid{{5}}}), "b");
  EXPECT_EQ(ids({.from = noon_ + 1h}), "cb");
  EXPECT_EQ(ids({.to = noon_ + 1h}), "a");
  EXPECT_EQ(ids({.from = noon_ + 90min, .to = noon_ + 91min}), "c");
  EXPECT_EQ(ids({.tenant = "acme", .model = "b", .status = 429, .trace_id = Uuid{{5}}}), "b");
}

TEST_F(UsageTest, RefusesListsBeyondTheirLimits) {
  const auto error = [&](RequestFilter filter) {
    const auto page = run(list_requests(*database_, std::move(filter), soon()));
    return page ? "accepted" : page.error().message;
  };
  EXPECT_EQ(error({.limit = 0}), "limit must be from 1 to 1000, not 0");
  EXPECT_EQ(error({.limit = 1001}), "limit must be from 1 to 1000, not 1001");
  EXPECT_EQ(error({.from = noon_, .to = noon_}), "from must lie before to");
  EXPECT_THAT(error({.cursor = "x"}), HasSubstr("cursor is not one"));
}

TEST_F(UsageTest, ReportsUsageByBucketAndGroup) {
  std::vector<journal::Frame> frames;
  for (int i = 0; i < 6; ++i) {
    RequestRecord record = record_at(noon_ + i * 30min, i % 2 ? "b" : "a");
    record.tenant = i < 2 ? "acme" : "default";
    frames.push_back(frame_of(record));
  }
  drain(frames);
  UsageQuery query{.from = noon_, .to = noon_ + 2h, .bucket = Bucket::hour};
  const auto plain = report(query);
  ASSERT_EQ(plain.rows.size(), 2u);
  EXPECT_EQ(plain.rows[1].start, noon_ + 1h);
  EXPECT_EQ(plain.rows[1].sums.requests, 2);
  EXPECT_EQ(plain.totals.prompt_tokens, 400);
  EXPECT_TRUE(plain.complete);
  query.group_by = GroupBy::model;
  const auto by_model = report(query);
  ASSERT_EQ(by_model.rows.size(), 4u);
  EXPECT_EQ(by_model.rows[0].group, "a");
  EXPECT_EQ(by_model.rows[1].group, "b");
  EXPECT_EQ(by_model.totals, plain.totals);
  query.group_by = GroupBy::tenant;
  EXPECT_EQ(report(query).rows[0].group, "acme");
  query.tenant = "acme";
  query.model = "b";
  EXPECT_EQ(report(query).totals.requests, 1);
  query = {.from = noon_, .to = noon_ + 10min, .bucket = Bucket::minute, .group_by = GroupBy::none};
  EXPECT_EQ(report(query).totals.requests, 1);
  query = {.from = noon_ - 12h, .to = noon_ + 12h, .bucket = Bucket::day};
  EXPECT_EQ(report(query).totals.requests, 6);
  query.from += 1h;
  EXPECT_EQ(run(usage_report(*database_, query, soon())).error().code, Code::invalid_argument);
}

TEST_F(UsageTest, AnAnswerThatRetentionHasCutSaysSo) {
  const WallTime old = std::chrono::floor<std::chrono::days>(noon_) - std::chrono::days(30);
  drain({frame_of(record_at(old)), frame_of(record_at(noon_))});
  const UsageQuery query{.from = old, .to = old + 1h, .bucket = Bucket::minute};
  // Old, but written just now, as an import does: it stays.
  EXPECT_TRUE(sql_as_app("select usage.prune_rollups()"));
  EXPECT_EQ(report(query).totals.requests, 1);
  sql("update usage.rollup_minute set updated_at = now() - interval '8 days'");
  EXPECT_TRUE(sql_as_app("select usage.prune_rollups()"));
  EXPECT_EQ(report(query).totals.requests, 0);
  EXPECT_FALSE(report(query).complete);
  UsageQuery later = query;
  later.from = old + 1min;
  EXPECT_TRUE(report(later).complete);
  later = {.from = old, .to = old + 24h, .bucket = Bucket::day};
  EXPECT_EQ(report(later).totals.requests, 1);
  EXPECT_TRUE(report(later).complete);
}

TEST_F(UsageTest, TheDaemonsRoleMayNotChangeWhatIsWritten) {
  drain({frame_of(record_at(noon_))});
  for (const std::string_view statement :
       {"delete from usage.request", "update usage.request set cost_nano = 0", "truncate usage.request",
        "delete from usage.rollup_day", "update usage.model set name = 'x'",
        "delete from usage.request_conflict", "delete from citadel.commit_marker",
        "delete from citadel.watermark", "delete from citadel.dead_letter",
        "update usage.rollup_pruned set before = now()", "create table usage.mine (a int)"}) {
    const auto done = sql_as_app(statement);
    ASSERT_FALSE(done.has_value()) << statement;
    EXPECT_EQ(done.error().code, Code::permission_denied) << statement << ": " << done.error().to_string();
  }
}

TEST_F(UsageTest, PartitionsAreMadeOnlyForDaysThatMayBeRecorded) {
  const auto make = [&](std::string_view days) {
    const auto done = sql_as_app("select usage.ensure_partitions(array(select d::date from " +
                                 std::string(days) + " as d))");
    return done ? std::string((*done)[0].get<std::string_view>(0)) : std::string(done.error().sqlstate);
  };
  EXPECT_EQ(make("generate_series(current_date - 3, current_date, interval '1 day')"), "4");
  EXPECT_EQ(make("generate_series(current_date - 3, current_date + 1, interval '1 day')"), "1");
  EXPECT_EQ(make("unnest(array[null, current_date])"), "0");
  EXPECT_EQ(make("unnest(array[current_date - 3701])"), "22023");
  EXPECT_EQ(make("unnest(array[current_date + 367])"), "22023");
  EXPECT_EQ(make("generate_series(current_date - 64, current_date, interval '1 day')"), "54000");
}

TEST_F(UsageTest, CommitMarkersArePurgedButNotTheYoung) {
  sql("insert into citadel.commit_marker (at, id) values (now() - interval '2 hours', gen_random_uuid()), "
      "(now() - interval '59 minutes', gen_random_uuid())");
  const auto purged = sql_as_app("select citadel.purge_commit_markers('0')");
  ASSERT_TRUE(purged) << purged.error().to_string();
  EXPECT_EQ((*purged)[0].get<std::string_view>(0), "1");
}

TEST_F(UsageTest, EveryTableSaysWhatItIs) {
  EXPECT_EQ(
      sql("select c.oid::regclass from pg_class c where c.relkind in ('r', 'p') and not c.relispartition and "
          "c.relnamespace in ('usage'::regnamespace, 'citadel'::regnamespace) and "
          "obj_description(c.oid, 'pg_class') is null"),
      "");
}

}  // namespace
}  // namespace citadel::usage
