#include "usage/request_reader.hpp"

#include "usage/months.hpp"
#include "usage/usage_testing.hpp"

namespace citadel::usage {
namespace {

class RequestReaderTest : public UsageTest {
 protected:
  // Reads all of them at once; the answers stand in their order.
  std::vector<Result<RequestRecord>> read_all(const std::vector<Uuid>& ids) {
    std::vector<Result<RequestRecord>> answers(ids.size(), fail(Code::internal, "no answer"));
    run([](RequestReaderTest& self, const std::vector<Uuid>& wanted,
           std::vector<Result<RequestRecord>>& out) -> Task<bool> {
      aio::Gate callers(self.context_.get_executor());
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        callers.spawn("read", [](RequestReader& reader, Uuid id, Result<RequestRecord>& answer) -> Task<> {
          answer = co_await reader.read(id, soon());
        }(*self.reader_, wanted[i], out[i]));
      }
      co_return (co_await callers.drain(soon())).has_value();
    }(*this, ids, answers));
    return answers;
  }
  static Uuid id_of(WallTime time, std::uint64_t low) {
    return make_uuid7(std::chrono::floor<std::chrono::milliseconds>(time), 0, low);
  }
  void TearDown() override {
    EXPECT_TRUE(run(gate_.close(soon())));
    reader_.reset();
    UsageTest::TearDown();
  }
  void SetUp() override {
    UsageTest::SetUp();
    reader_.emplace(*database_, gate_);
  }

  aio::Gate gate_{context_.get_executor()};
  std::optional<RequestReader> reader_;
};

TEST_F(RequestReaderTest, ManyReadersOfTwoMonthsShareFewQueriesAndEachHasItsOwnAnswer) {
  std::vector<journal::Frame> frames;
  std::vector<RequestRecord> records;
  std::vector<Uuid> ids;
  for (int i = 0; i < 100; ++i) {
    records.push_back(record_at(noon_ - std::chrono::days(i % 2 ? 0 : 40) - i * 1s, i % 3 ? "a" : "b"));
    if (i % 5) frames.push_back(frame_of(records.back()));  // every fifth is not there
    ids.push_back(records.back().id);
  }
  ids.push_back(id_of(usage_time_end, 1));  // nor is there one behind the end of time
  EXPECT_EQ(drain(frames).stored, 80u);
  const auto answers = read_all(ids);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (i < records.size() && i % 5) {
      ASSERT_TRUE(answers[i]) << answers[i].error().to_string();
      EXPECT_EQ(*answers[i], records[i]);
    } else {
      ASSERT_FALSE(answers[i]);
      EXPECT_EQ(answers[i].error().code, Code::not_found);
    }
  }
  const auto status = reader_->status();
  EXPECT_EQ(status.reads_total, 100u);
  // While a month's first reads are under way, each with a query of its own, the others gather.
  EXPECT_LE(status.queries_total, 2 * (RequestReader::limits.in_flight_max + 1));
}

TEST_F(RequestReaderTest, AFailingStatementReachesAllWhoseReadsItCarried) {
  const RequestRecord record = record_at(noon_);
  EXPECT_EQ(drain({frame_of(record)}).stored, 1u);
  sql("revoke select on usage.request from citadel_app");
  for (const auto& answer : read_all(std::vector<Uuid>(30, record.id))) {
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::permission_denied) << answer.error().to_string();
  }
  sql("grant select on usage.request to citadel_app");
  EXPECT_EQ(read_all({record.id})[0].value(), record);
}

TEST_F(RequestReaderTest, MonthsThatNobodyAsksForAnyMoreAreNotKept) {
  const RequestRecord record = record_at(noon_);
  EXPECT_EQ(drain({frame_of(record)}).stored, 1u);
  for (std::size_t i = 0; i < RequestReader::readers_max + 10; ++i) {
    const auto absent = run(reader_->read(id_of(noon_ - i * std::chrono::days(31), 1), soon()));
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().code, Code::not_found);
  }
  // More months at once than are kept: who finds no place is answered all the same.
  std::vector<Uuid> ids(RequestReader::readers_max + 10, record.id);
  for (std::size_t i = 1; i < ids.size(); ++i) ids[i] = id_of(noon_ - i * std::chrono::days(31), 2);
  const auto answers = read_all(ids);
  EXPECT_EQ(answers[0].value(), record);
  for (std::size_t i = 1; i < answers.size(); ++i) EXPECT_EQ(answers[i].error().code, Code::not_found) << i;
  EXPECT_LT(reader_->status().reads_total, 2 * ids.size()) << "none went out alone";
  EXPECT_GT(reader_->status().reads_total, ids.size());
}

}  // namespace
}  // namespace citadel::usage
