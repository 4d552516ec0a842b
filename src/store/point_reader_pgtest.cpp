// Coalescing: many point reads, few queries.
#include "aio/gate.hpp"
#include "store/point_reader.hpp"
#include "store/store_testing.hpp"

namespace citadel::store {
namespace {

TEST_F(StoreTest, ConcurrentPointReadsBecomeOneQueryEachWithItsOwnAnswer) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [this](Database& database) -> Task<> {
    for (std::int64_t id = 0; id < 10; ++id) EXPECT_TRUE(co_await insert(database, id));
    aio::Gate gate(context_.get_executor());
    PointReader<std::int64_t, std::string> reader(
        database, gate, things_by_id, {.batch_max = 50, .in_flight_max = 1},
        [](pg::Row row) { return std::pair(row.get<std::int64_t>(0), row.get<std::string>(1)); });
    int found = 0;
    int missing = 0;
    aio::OneShot<bool> all(context_.get_executor());
    for (std::int64_t id = 0; id < 40; ++id) {
      asio::co_spawn(context_, reader.read(id % 20, soon()),
                     [&](std::exception_ptr, Result<std::optional<std::string>> row) {
                       EXPECT_TRUE(row) << row.error().to_string();
                       (*row ? found : missing)++;
                       if (found + missing == 40) all.set(true);
                     });
    }
    EXPECT_EQ(co_await all.wait(soon()), true);
    EXPECT_EQ(found, 20);
    EXPECT_EQ(missing, 20);
    EXPECT_LE(reader.status().queries_total, 2u);
    EXPECT_TRUE(co_await gate.close(soon()));
  });
}

constexpr pg::Statement fail_by_id{
    "fail by id", "select id, note from citadel.thing where id = any($1) and 1 / (id - 3) > 9"};

TEST_F(StoreTest, AStatementThatFailsFailsAllTheCallersThatItCarriedAndNoOthers) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [this](Database& database) -> Task<> {
    for (std::int64_t id = 0; id < 10; ++id) EXPECT_TRUE(co_await insert(database, id));
    aio::Gate gate(context_.get_executor());
    PointReader<std::int64_t, std::string> reader(
        database, gate, fail_by_id, {.batch_max = 50, .in_flight_max = 1},
        [](pg::Row row) { return std::pair(row.get<std::int64_t>(0), row.get<std::string>(1)); });
    EXPECT_TRUE(co_await reader.read(1, soon()));
    std::map<std::string, int> answers;
    const auto read = [&](std::int64_t id) -> Task<> {
      const auto row = co_await reader.read(id, soon());
      ++answers[row ? "none" : row.error().sqlstate];
    };
    // The first goes out alone; the next 39 are one query, which id 3 spoils; what comes behind it is well
    // again.
    aio::Gate callers(context_.get_executor());
    for (std::int64_t i = 0; i < 40; ++i) callers.spawn("read", read(i % 5));
    EXPECT_TRUE(co_await callers.drain(soon()));
    EXPECT_EQ(answers, (std::map<std::string, int>{{"none", 1}, {"22012", 39}}));
    EXPECT_TRUE(co_await reader.read(4, soon()));
    EXPECT_EQ(reader.status().in_flight, 0u);
    EXPECT_EQ(reader.status().queries_total, 4u);
    EXPECT_TRUE(co_await gate.close(soon()));
  });
}

TEST_F(StoreTest, AnExceptionInAReadIsItsCallersErrorAndTheReaderGoesOn) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [this](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    aio::Gate gate(context_.get_executor());
    bool throws = true;
    PointReader<std::int64_t, std::string> reader(
        database, gate, things_by_id, {.in_flight_max = 1}, [&](pg::Row row) {
          if (std::exchange(throws, false)) throw std::runtime_error("nobody foresaw this");
          return std::pair(row.get<std::int64_t>(0), row.get<std::string>(1));
        });
    const auto bad = co_await reader.read(1, soon());
    EXPECT_FALSE(bad);
    EXPECT_EQ(bad.error().code, Code::internal);
    EXPECT_EQ(reader.status().in_flight, 0u);
    const auto good = co_await reader.read(1, soon());
    EXPECT_TRUE(good && *good);
    EXPECT_TRUE(co_await gate.close(soon()));
  });
}

TEST_F(StoreTest, AReaderPastItsDeadlineLeavesTheOthersAlone) {
  const Migration only[] = {first};
  ASSERT_TRUE(migrate_with(only));
  with_database(options(), [this](Database& database) -> Task<> {
    EXPECT_TRUE(co_await insert(database, 1));
    aio::Gate gate(context_.get_executor());
    PointReader<std::int64_t, std::string> reader(database, gate, things_by_id, {}, [](pg::Row row) {
      return std::pair(row.get<std::int64_t>(0), row.get<std::string>(1));
    });
    const auto late = co_await reader.read(1, Deadline::after(0s));
    EXPECT_FALSE(late);
    EXPECT_EQ(late.error().code, Code::deadline_exceeded);
    const auto good = co_await reader.read(1, soon());
    EXPECT_TRUE(good && *good);
    EXPECT_TRUE(co_await gate.close(soon()));
  });
}

}  // namespace
}  // namespace citadel::store
