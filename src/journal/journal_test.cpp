#include "journal/journal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <latch>

#include "aio/run.hpp"
#include "aio/runtime.hpp"
#include "journal/test_folder.hpp"

namespace citadel::journal {
namespace {

using namespace std::chrono_literals;

TEST(Journal, WhatIsAppendedIsReadInOrder) {
  const TestFolder folder;
  auto journal = open_small(folder.path());
  for (std::uint64_t i = 1; i <= 300; ++i) EXPECT_EQ(append_one(*journal, i).value(), place(1, i));
  const auto frames = read_all(*journal);
  ASSERT_EQ(frames.size(), 300u);
  for (std::uint64_t i = 0; i < 300; ++i) {
    EXPECT_EQ(frames[i].position, place(1, i + 1));
    EXPECT_EQ(frames[i].payload, payload_of(i + 1));
    EXPECT_EQ(frames[i].id, id_of(i + 1));
    EXPECT_EQ(frames[i].kind, Kind::usage_request);
  }
  EXPECT_GT(journal->status().segments, 2u);
  EXPECT_EQ(journal->status().undrained_records, 300u);
}

TEST(Journal, ReadKeepsToItsLimitsAndGoesOnAnywhere) {
  const TestFolder folder;
  auto journal = open_small(folder.path());
  for (std::uint64_t i = 1; i <= 200; ++i) (void)append_one(*journal, i).value();
  EXPECT_EQ(journal->read({}, 7, 1 << 20).value().size(), 7u);
  EXPECT_EQ(journal->read({}, 100, 1).value().size(), 1u);
  for (std::uint64_t after = 0; after < 200; ++after) {
    const auto frames = journal->read(place(1, after), 1, 1).value();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames[0].position.sequence, after + 1);
  }
  EXPECT_TRUE(journal->read(place(1, 200), 10, 100).value().empty());
  EXPECT_TRUE(journal->read(place(9, 0), 10, 100).value().empty());
}

TEST(Journal, ASecondOpenIsRefused) {
  const TestFolder folder;
  auto journal = open_small(folder.path());
  const auto second = Journal::open(small_options(folder.path()), system_clock(), test_seed);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::conflict);
  journal.reset();
  EXPECT_TRUE(Journal::open(small_options(folder.path()), system_clock(), test_seed));
}

TEST(Journal, AReopenKeepsTheFramesAndBeginsANewEpoch) {
  const TestFolder folder;
  Uuid producer;
  for (std::uint64_t epoch = 1; epoch <= 4; ++epoch) {
    auto journal = open_small(folder.path());
    if (epoch == 1) producer = journal->status().producer;
    EXPECT_EQ(journal->status().producer, producer);
    EXPECT_EQ(journal->status().epoch, place(epoch, 0).epoch);
    EXPECT_EQ(journal->status().undrained_records, (epoch - 1) * 50);
    for (std::uint64_t i = 1; i <= 50; ++i) {
      EXPECT_EQ(append_one(*journal, epoch * 100 + i).value(), place(epoch, i));
    }
    const auto frames = read_all(*journal);
    ASSERT_EQ(frames.size(), epoch * 50);
    for (std::uint64_t i = 0; i < frames.size(); ++i) {
      EXPECT_EQ(frames[i].position, place(i / 50 + 1, i % 50 + 1));
    }
    EXPECT_TRUE(journal->damage().empty());
  }
}

TEST(Journal, AdvanceUnlinksAndIsKept) {
  const TestFolder folder;
  {
    auto journal = open_small(folder.path());
    for (std::uint64_t i = 1; i <= 300; ++i) (void)append_one(*journal, i).value();
    const auto before = journal->status();
    ASSERT_TRUE(journal->advance(place(1, 250)));
    const auto after = journal->status();
    EXPECT_LT(after.segments, before.segments);
    EXPECT_LT(after.size_bytes, before.size_bytes);
    EXPECT_EQ(after.undrained_records, 50u);
    EXPECT_EQ(after.undrained_bytes, 50 * frame_size(payload_of(1).size()));
    EXPECT_TRUE(after.oldest_undrained.has_value());
    EXPECT_EQ(journal->read({}, 1, 1).value().front().position.sequence % 1, 0u);
    EXPECT_EQ(journal->advance(place(1, 301)).error().code, Code::invalid_argument);
    EXPECT_TRUE(journal->advance(place(1, 3))) << "what is behind the cursor is no news";
    EXPECT_EQ(journal->status().cursor, place(1, 250));
  }
  auto journal = open_small(folder.path());
  EXPECT_EQ(journal->status().cursor, place(1, 250));
  EXPECT_EQ(journal->status().undrained_records, 50u);
  EXPECT_EQ(journal->read(journal->status().cursor, 1, 1).value().front().position, place(1, 251));
  ASSERT_TRUE(journal->advance(place(1, 300)));
  EXPECT_EQ(journal->status().undrained_records, 0u);
  EXPECT_EQ(journal->status().undrained_bytes, 0u);
  EXPECT_FALSE(journal->status().oldest_undrained);
  EXPECT_EQ(journal->status().segments, 1u);
  EXPECT_EQ(append_one(*journal, 7).value(), place(2, 1));
  EXPECT_TRUE(journal->status().oldest_undrained);
}

TEST(Journal, RefusesWhatCanNeverFit) {
  const TestFolder folder;
  auto journal = open_small(folder.path());
  EXPECT_EQ(append_all(*journal, {}).error().code, Code::invalid_argument);
  EXPECT_EQ(append_all(*journal, {record_of(1, std::string(1025, 'x'))}).error().code,
            Code::invalid_argument);
  std::vector<Record> many;
  for (std::uint64_t i = 0; i < 10; ++i) many.push_back(record_of(i, std::string(1024, 'x')));
  EXPECT_EQ(append_all(*journal, many).error().code, Code::invalid_argument);
  EXPECT_TRUE(append_all(*journal, {record_of(1, std::string(1024, 'x'))}));
  EXPECT_TRUE(append_all(*journal, {record_of(1, "")}));
}

TEST(Journal, RefusesOptionsThatCannotBe) {
  const TestFolder folder;
  const auto refused = [&](auto change) {
    Options options = small_options(folder.path());
    change(options);
    const auto journal = Journal::open(options, system_clock(), test_seed);
    return !journal && journal.error().code == Code::invalid_argument;
  };
  EXPECT_FALSE(refused([](Options&) {}));
  EXPECT_TRUE(refused([](Options& o) { o.folder.clear(); }));
  EXPECT_TRUE(refused([](Options& o) { o.segment_bytes = 1'000; }));
  EXPECT_TRUE(refused([](Options& o) { o.size_bytes_max = o.segment_bytes * 2 - 1; }));
  EXPECT_TRUE(refused([](Options& o) { o.payload_bytes_max = 0; }));
  EXPECT_TRUE(refused([](Options& o) { o.payload_bytes_max = 1u << 30; }));
  EXPECT_TRUE(refused([](Options& o) { o.queue_records_max = 0; }));
}

TEST(Journal, FullRefusesAndHealsWhenTheDrainAdvances) {
  const TestFolder folder;
  Options options = small_options(folder.path());
  options.size_bytes_max = 3 * options.segment_bytes;
  options.reserve_bytes = 2'048;
  auto journal = Journal::open(options, system_clock(), test_seed).value();
  std::uint64_t sheddable = 0;
  const auto append_sheddable = [&](std::uint64_t i) {
    Record record = record_of(i, payload_of(i));
    record.shed = Class::sheddable;
    return append_all(*journal, {record});
  };
  while (append_sheddable(sheddable + 1)) ++sheddable;
  EXPECT_EQ(append_sheddable(1).error().code, Code::storage_full);
  EXPECT_EQ(journal->status().shed_total, 2u);
  EXPECT_FALSE(journal->status().full) << "there is room for what is critical";
  std::uint64_t critical = 0;
  while (append_one(*journal, critical + 1)) ++critical;
  EXPECT_GE(critical * frame_size(payload_of(1).size()), 2'048 - frame_size(payload_of(1).size()));
  EXPECT_EQ(append_one(*journal, 1).error().code, Code::storage_full);
  EXPECT_EQ(journal->status().refused_full_total, 2u);
  EXPECT_LE(journal->status().size_bytes, options.size_bytes_max);
  EXPECT_FALSE(journal->status().failed);
  EXPECT_TRUE(journal->status().full);
  EXPECT_THAT(journal->status().full_reason, testing::HasSubstr("journal.size_bytes_max"));
  EXPECT_EQ(read_all(*journal).size(), sheddable + critical) << "reads live on";
  ASSERT_TRUE(journal->advance(place(1, sheddable)));
  EXPECT_FALSE(journal->status().full) << "a segment was freed";
  EXPECT_EQ(append_one(*journal, 1).value(), place(1, sheddable + critical + 1));
}

TEST(Journal, AQueueAtItsLimitSaysOverloaded) {
  const TestFolder folder;
  Options options = small_options(folder.path());
  options.queue_records_max = 4;
  auto journal = Journal::open(options, system_clock(), test_seed).value();
  // The first answer is held back, so that the writer is busy.
  std::promise<void> release;
  std::promise<void> held;
  std::latch done(5);
  journal->append({record_of(1, "x")}, [&](Result<Position>) {
    held.set_value();
    release.get_future().wait();
    done.count_down();
  });
  held.get_future().wait();
  std::size_t refused = 0;
  for (int i = 0; i < 6; ++i) {
    journal->append({record_of(2, "x")}, [&](Result<Position> result) {
      if (result) {
        done.count_down();
      } else {
        EXPECT_EQ(result.error().code, Code::overloaded);
        ++refused;
      }
    });
  }
  EXPECT_EQ(refused, 2u);
  release.set_value();
  done.wait();
  EXPECT_EQ(read_all(*journal).size(), 5u);
}

Task<Result<Position>> append_task(Journal& journal, std::uint64_t i, Deadline deadline) {
  std::vector<Record> records{record_of(i, payload_of(i))};
  co_return co_await journal.append(std::move(records), deadline);
}

TEST(Journal, AnExpiredDeadlineIsNotWritten) {
  const TestFolder folder;
  auto journal = open_small(folder.path());
  asio::io_context context;
  const auto late = aio::run(context, append_task(*journal, 1, Deadline::after(-1s)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::deadline_exceeded);
  EXPECT_EQ(aio::run(context, append_task(*journal, 2, Deadline::after(10s))).value(), place(1, 1));
  journal.reset();
  context.run();
}

TEST(Journal, OnDurableIsCalledWhenFramesCanBeRead) {
  const TestFolder folder;
  auto journal = open_small(folder.path());
  std::atomic<std::uint64_t> seen{0};
  journal->on_durable([&] { seen = journal->status().last_durable.sequence; });
  for (std::uint64_t i = 1; i <= 5; ++i) (void)append_one(*journal, i).value();
  journal->on_durable(nullptr);
  EXPECT_GE(seen, 4u);
}

TEST(Journal, TheDestructorWritesWhatIsQueued) {
  const TestFolder folder;
  auto journal = open_small(folder.path());
  std::atomic<int> acknowledged{0};
  for (std::uint64_t i = 1; i <= 500; ++i) {
    journal->append({record_of(i, payload_of(i))},
                    [&](Result<Position> r) { acknowledged += r.has_value(); });
  }
  journal.reset();
  EXPECT_EQ(acknowledged, 500);
  EXPECT_EQ(read_all(*open_small(folder.path())).size(), 500u);
}

Task<> produce(Journal& journal, std::uint64_t first, std::uint64_t count,
               std::atomic<std::uint64_t>& acknowledged) {
  Position last;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto position = co_await append_task(journal, first + i, Deadline::after(60s));
    EXPECT_TRUE(position);
    if (!position) co_return;
    EXPECT_GT(*position, last) << "one producer's records keep their order";
    last = *position;
    ++acknowledged;
  }
}

TEST(Journal, ManyThreadsAppendReadAndAdvance) {
  constexpr std::uint64_t producers = 64;
  constexpr std::uint64_t each = 50;
  const TestFolder folder(Medium::disk);
  auto journal = open_small(folder.path());
  std::atomic<std::uint64_t> acknowledged{0};
  std::vector<Uuid> seen;
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t thread = 0; thread < producers; ++thread) {
      threads.emplace_back([&, thread] {
        asio::io_context context;
        if (thread % 2 == 0) {
          aio::run(context, produce(*journal, thread * 1'000, each, acknowledged));
          return;
        }
        for (std::uint64_t i = 0; i < each; ++i)
          acknowledged += append_one(*journal, thread * 1'000 + i).has_value();
      });
    }
    threads.emplace_back([&] {
      Position cursor;
      while (seen.size() < producers * each) {
        const auto frames = journal->read(cursor, 64, 1 << 16).value();
        for (const Frame& frame : frames) {
          EXPECT_EQ(frame.position.sequence, cursor.sequence + 1);
          cursor = frame.position;
          seen.push_back(frame.id);
        }
        if (!frames.empty()) EXPECT_TRUE(journal->advance(cursor));
        (void)journal->status();
      }
    });
  }
  EXPECT_EQ(acknowledged, producers * each);
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::unique(seen).begin(), seen.end());
  EXPECT_EQ(journal->status().appended_total, producers * each);
  EXPECT_LE(journal->status().syncs_total, producers * each);
}

}  // namespace
}  // namespace citadel::journal
