#include "aio/gate.hpp"
#include "usage/usage_testing.hpp"

namespace citadel::usage {
namespace {

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
  // The last day of all.
  EXPECT_EQ(error({.from = *parse_time("9999-12-31T00:00:00Z")}), "accepted");
  EXPECT_EQ(error({.to = *parse_time("1970-01-01T00:00:01Z")}), "accepted");
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
  const auto uneven = run(usage_report(*database_, query, soon()));
  ASSERT_FALSE(uneven.has_value());
  EXPECT_EQ(uneven.error().code, Code::invalid_argument);
}

TEST_F(UsageTest, ASumThatIsFullBlocksNoRecordAndSaysSo) {
  drain({frame_of(record_at(noon_, "a")), frame_of(record_at(noon_, "b"))});
  for (const std::string table : {"minute", "hour", "day"})
    sql("update usage.rollup_" + table +
        " set cost_nano = 9223372036854775807 - 1000, latency_us_sum = 9223372036854775807");
  const auto day = std::chrono::floor<std::chrono::days>(noon_);
  UsageQuery query{.from = day, .to = day + 24h, .bucket = Bucket::day, .group_by = GroupBy::model};
  // No row is full yet, but together they are.
  const auto two = report(query);
  EXPECT_EQ(two.rows.at(0).sums.cost_nano, sum_max - 1000);
  EXPECT_EQ(two.totals.cost_nano, sum_max);
  RequestRecord dear = record_at(noon_ + 1s, "a");
  dear.cost_nano = 1001;
  dear.latency_us = 1;
  EXPECT_EQ(drain({frame_of(dear)}).stored, 1u);
  for (const Bucket bucket : {Bucket::minute, Bucket::hour, Bucket::day}) {
    for (const GroupBy group_by : {GroupBy::none, GroupBy::model, GroupBy::tenant}) {
      query.bucket = bucket;
      query.group_by = group_by;
      const auto full = report(query);
      EXPECT_EQ(full.totals.cost_nano, sum_max);
      EXPECT_EQ(full.totals.latency.sum, sum_max);
      EXPECT_EQ(full.totals.requests, 3);
      EXPECT_EQ(full.totals.prompt_tokens, 300);
      EXPECT_TRUE(full.totals.saturated());
    }
  }
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

// Without the lock the second would not see the first one's table and fail on its name.
TEST_F(UsageTest, AMakerOfAPartitionWaitsForAnother) {
  const auto connect = [&] {
    auto options = owner_options();
    options.user = local::app_role;
    options.password = servers_->app_password();
    return run(pg::Connection::connect(context_.get_executor(), options, soon()));
  };
  const auto first = connect(), second = connect();
  ASSERT_TRUE(first && second);
  const std::string make = "select usage.ensure_partitions(array[current_date])";
  ASSERT_TRUE(run((*first)->execute_simple("begin; " + make, soon())));
  std::string made;
  aio::Gate gate(context_.get_executor());
  gate.spawn("second", [](pg::Connection& connection, const std::string& text, std::string& out) -> Task<> {
    const auto rows = co_await connection.execute_simple(text, soon());
    out = rows ? std::string((*rows)[0].get<std::string_view>(0)) : rows.error().to_string();
  }(**second, make, made));
  const Deadline deadline = soon();
  while (made.empty() && !deadline.expired() &&
         sql("select count(*) from pg_locks where not granted and locktype = 'advisory'") == "0") {
  }
  EXPECT_EQ(made, "");
  ASSERT_TRUE(run((*first)->execute_simple("commit", soon())));
  EXPECT_TRUE(run(gate.drain(soon())));
  EXPECT_EQ(made, "0");
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
