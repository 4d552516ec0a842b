#include "aio/wait.hpp"
#include "drain/drain.hpp"
#include "support/temp_folder.hpp"
#include "usage/usage_testing.hpp"

namespace citadel::usage {
namespace {

// Partitions by month, as migration 0004 makes them.
class MonthsTest : public UsageTest {
 protected:
  // What usage.ensure_partitions says to these days, as the daemon's role: how many it made, or the SQLSTATE.
  std::string ensure(std::string_view days) {
    const auto done = sql_as_app("select usage.ensure_partitions(array(select d::date from " +
                                 std::string(days) + " as d))");
    return done ? std::string((*done)[0].get<std::string_view>(0)) : std::string(done.error().sqlstate);
  }
  std::string partitions() {
    return sql(
        "select string_agg(split_part(partition::text, '.', 2), ' ' order by lower_id) from "
        "usage.request_partitions()");
  }
  static WallTime at(std::string_view text) { return *parse_time(text); }
};

TEST_F(MonthsTest, APartitionHoldsAMonth) {
  EXPECT_EQ(ensure("unnest(array['2026-02-28', '2026-02-01', '2024-02-29', null, '2026-03-01'])"), "3");
  EXPECT_EQ(partitions(), "request_202402 request_202602 request_202603");
  EXPECT_EQ(ensure("unnest(array['2026-02-14', '2024-02-01'])"), "0");
  EXPECT_EQ(sql("select lower_id = usage.id_floor('2024-02-01 00:00Z'), upper_id = "
                "usage.id_floor('2024-03-01 00:00Z') "
                "from usage.request_partitions() order by lower_id limit 1"),
            "t|t");
}

TEST_F(MonthsTest, PartitionsAreMadeOnlyForDaysThatMayBeRecorded) {
  EXPECT_EQ(ensure("unnest(array[current_date, '1970-01-01', current_date + 466])"), "3");
  EXPECT_EQ(ensure("unnest(array['1969-12-31'::date])"), "22023");
  EXPECT_EQ(ensure("unnest(array[current_date + 467])"), "22023");
  EXPECT_EQ(ensure("generate_series(current_date - 4000, current_date, interval '1 day')"), "54000");
}

// A database from before migration 0004 has them.
TEST_F(MonthsTest, AMonthThatHasDaysIsFilledUpByDays) {
  sql("create table usage.request_20260110 (like usage.request including all)");
  sql("do $$ begin execute format('alter table usage.request attach partition usage.request_20260110 for "
      "values "
      "from (%L) to (%L)', usage.id_floor('2026-01-10 00:00Z'), usage.id_floor('2026-01-11 00:00Z')); end "
      "$$");
  EXPECT_EQ(ensure("unnest(array['2026-01-10', '2026-01-11', '2026-01-31', '2026-02-01'])"), "3");
  EXPECT_EQ(partitions(), "request_20260110 request_20260111 request_20260131 request_202602");
  std::vector<journal::Frame> frames;
  for (const auto time :
       {"2026-01-09T12:00:00Z", "2026-01-10T12:00:00Z", "2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"})
    frames.push_back(frame_of(record_at(at(time))));
  EXPECT_EQ(drain(frames).stored, 4u);
  EXPECT_EQ(drain(frames).repeated, 4u);
  const auto page = list({.from = at("2026-01-01T00:00:00Z")});
  ASSERT_EQ(page.requests.size(), 4u);
  EXPECT_EQ(page.requests[3].started_at, at("2026-01-09T12:00:00Z"));
}

// As retention does. The records of that month that come later have a place, at once.
TEST_F(MonthsTest, ADetachedPartitionStaysOutAndANewOneTakesItsPlace) {
  const RequestRecord old = record_at(noon_);
  drain({frame_of(old)});
  const std::string partition = partition_of(noon_);
  EXPECT_EQ(sql("alter table usage.request detach partition " + partition), "");
  support::TempFolder folder;
  auto journal = journal::Journal::open({.folder = folder.path() / "journal"}, system_clock());
  ASSERT_TRUE(journal) << journal.error().to_string();
  std::vector<journal::Record> records;
  for (int i = 0; i < 40; ++i) {
    const RequestRecord record = record_at(noon_ + i * 1s);
    records.push_back({.id = record.id, .payload = encode_record(record)});
  }
  ASSERT_TRUE(run((*journal)->append(records, soon())));
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  sinks.push_back(std::move(sink_));  // it remembers the partition
  drain::Drain drain(*database_, **journal, std::move(sinks), {.interval = 1ms}, system_clock(), 1);
  drain.start();
  run([](drain::Drain& one) -> Task<> {
    for (const auto deadline = soon(); !deadline.expired() && one.status().stored_total < 40;)
      co_await aio::sleep_for(1ms);  // sleep: polls, until a deadline
  }(drain));
  const auto closed = run(drain.close(soon()));
  EXPECT_TRUE(closed) << closed.error().to_string();
  EXPECT_EQ(drain.status().stored_total, 40u);
  EXPECT_EQ(drain.status().dead_letter_total, 0u);
  EXPECT_LE(drain.status().failures_total, 1u);
  EXPECT_EQ(sql("select count(*) from usage.request"), "40");
  EXPECT_EQ(sql("select count(*) from " + partition), "1");
  EXPECT_EQ(sql("select count(*) from " + partition + "_2"), "40");
}

// What making anew does not help is not tried for each half of the batch again: the drain looks for the
// record that is refused, and stores the others.
TEST_F(MonthsTest, APartitionThatRefusesARecordBlocksNobody) {
  drain({frame_of(record_at(noon_))});
  sql("alter table " + partition_of(noon_) + " add check (prompt_tokens <> 7)");
  std::vector<journal::Frame> frames{frame_of(record_at(noon_))};
  RequestRecord refused = record_at(noon_);
  refused.prompt_tokens = 7;
  frames.push_back(frame_of(refused));
  const auto first = run(drain_with(*sink_, frames));
  ASSERT_FALSE(first.has_value());
  EXPECT_EQ(first.error().code, Code::unavailable);
  for (int i = 0; i < 3; ++i) {
    const auto again = run(drain_with(*sink_, frames));
    ASSERT_FALSE(again.has_value());
    EXPECT_EQ(std::string(again.error().sqlstate), "23514");
  }
}

TEST_F(MonthsTest, ABatchMaySpanTenYears) {
  std::vector<journal::Frame> frames;
  for (int day = 0; day < 3640; day += 7)
    frames.push_back(frame_of(record_at(noon_ - std::chrono::days(day))));
  EXPECT_EQ(drain(frames).stored, 520u);
  EXPECT_EQ(drain(frames).repeated, 520u);
  EXPECT_EQ(sql("select count(*) between 119 and 121 from usage.request_partitions()"), "t");
  EXPECT_EQ(sql("select count(*), sum(requests) from usage.rollup_day"), "520|520");
  // Page by page to the oldest.
  std::size_t seen = 0;
  RequestFilter filter{.limit = 100};
  for (bool more = true; more;) {
    const auto page = list(filter);
    seen += page.requests.size();
    more = page.next_cursor.has_value();
    filter.cursor = page.next_cursor.value_or("");
  }
  EXPECT_EQ(seen, 520u);
}

// More often than the five executions after which PostgreSQL also plans without the parameters' values.
// Whoever opens the locked partition waits for it until the deadline.
TEST_F(MonthsTest, WhatIsNewOpensNoOldPartition) {
  const WallTime old = noon_ - std::chrono::days(100);
  drain({frame_of(record_at(old)), frame_of(record_at(noon_ - 1h))});
  auto options = owner_options();
  const auto owner = run(pg::Connection::connect(context_.get_executor(), options, soon()));
  ASSERT_TRUE(owner);
  ASSERT_TRUE(run((*owner)->execute_simple(
      "begin; lock table " + partition_of(old) + " in access exclusive mode", soon())));
  const auto briefly = [] { return Deadline::after(5s); };
  for (int i = 0; i < 8; ++i) {
    const RequestRecord record = record_at(noon_ + i * 1s);
    ASSERT_EQ(drain({frame_of(record)}).stored, 1u);
    const auto page = run(list_requests(*database_, {.from = {}, .limit = 1}, briefly()));
    ASSERT_TRUE(page) << i << ": " << page.error().to_string();
    EXPECT_EQ(page->requests.at(0), record);
    const auto found = run(get_request(*database_, record.id, briefly()));
    ASSERT_TRUE(found) << i << ": " << found.error().to_string();
  }
}

}  // namespace
}  // namespace citadel::usage
