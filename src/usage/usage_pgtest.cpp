#include "aio/gate.hpp"
#include "drain/drain.hpp"
#include "support/temp_folder.hpp"
#include "usage/usage_testing.hpp"

namespace citadel::usage {
namespace {

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
  ASSERT_FALSE(absent.has_value());
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
  ASSERT_FALSE(failed.has_value());
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
  sql("drop table " + partition_of(noon_));
  lost = run(drain_with(*sink_, frames));
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code, Code::unavailable);
  EXPECT_EQ(drain(frames).stored, 1u);
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

}  // namespace
}  // namespace citadel::usage
