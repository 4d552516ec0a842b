// COPY in and out on both routes.
#include "pg/copy_writer.hpp"
#include "pg/pgtest.hpp"

namespace citadel::pg {
namespace {

using testing::HasSubstr;

constexpr std::string_view copy_sql = "COPY copied FROM STDIN (FORMAT binary)";
constexpr int rows_per_chunk = 500;

class Copy : public PgRouteTest {
 protected:
  // A session with a table of its own. Temporary, so it needs no cleaning and no privilege.
  Task<std::unique_ptr<Connection>> with_table() {
    auto db = co_await connect();
    auto made = co_await db->execute_simple(
        "CREATE TEMP TABLE copied (id uuid PRIMARY KEY, at timestamptz NOT NULL, n int8, note text, doc "
        "jsonb, ok bool, "
        "few int2, amount int4, real float8, raw bytea, tags text[])",
        soon());
    EXPECT_TRUE(made) << describe(made);
    co_return db;
  }

  static void write_row(CopyWriter& writer, int i) {
    const Uuid id = make_uuid7(std::chrono::sys_time<std::chrono::milliseconds>(1ms * i), 0, 0);
    writer.row(id, WallTime(1us * i), std::int64_t{i},
               i % 3 == 0 ? std::optional<std::string>() : std::optional<std::string>("note"),
               Jsonb{"{\"a\": 1}"}, i % 2 == 0, static_cast<std::int16_t>(i % 100), std::int32_t{i}, i * 0.5,
               as_bytes("raw"), std::vector<std::string>{"x", "y"});
  }

  // Rows in chunks, then what `last` says.
  struct Source {
    int rows;
    Result<std::string_view> last = std::string_view();
    int written = 0;
    CopyWriter writer{};
    bool finished = false;

    Result<std::string_view> operator()() {
      if (written > 0) writer.clear();
      if (finished) return last;
      for (int i = 0; i < rows_per_chunk && written < rows; ++i) write_row(writer, written++);
      if (written == rows) {
        finished = true;
        if (last) writer.finish();
      }
      return writer.view();
    }
  };

  Task<std::int64_t> count(Connection& db) {
    auto rows = co_await db.execute({"count", "SELECT count(*) FROM copied"}, {}, soon());
    co_return rows ? (*rows)[0].get<std::int64_t>(0) : -1;
  }
};
INSTANTIATE_TEST_SUITE_P(, Copy, testing::Values(Route::direct, Route::pgpool), route_name);

TEST_P(Copy, TwentyThousandRowsArrive) {
  run([this]() -> Task<> {
    auto db = co_await with_table();
    auto source = std::make_shared<Source>(20'000);
    auto copied = co_await db->copy_in(copy_sql, Deadline::after(60s), [source] { return (*source)(); });
    CO_ASSERT_OK(copied);
    EXPECT_EQ(*copied, 20'000);
    EXPECT_EQ(co_await count(*db), 20'000);
    auto row = co_await db->execute(
        {"row",
         "SELECT id, at, n, note, doc::text, ok, few, amount, real, raw, tags FROM copied WHERE n = 19997"},
        {}, soon());
    CO_ASSERT_OK(row);
    EXPECT_EQ(row->size(), 1);
    const Row r = (*row)[0];
    EXPECT_EQ(r.get<WallTime>(1), WallTime(19'997us));
    EXPECT_EQ(r.get<std::string>(3), "note");
    EXPECT_EQ(r.get<std::string>(4), "{\"a\": 1}");
    EXPECT_EQ(r.get<std::int32_t>(7), 19'997);
    EXPECT_EQ(r.get<std::vector<std::string>>(10).size(), 2u);
  });
}

TEST_P(Copy, AnErrorOfTheSourceFailsItOnTheServerToo) {
  run([this]() -> Task<> {
    auto db = co_await with_table();
    auto source = std::make_shared<Source>(2'000, fail(Code::io_error, "the journal cannot be read"));
    auto copied = co_await db->copy_in(copy_sql, soon(), [source] { return (*source)(); });
    EXPECT_CODE(copied, Code::io_error);
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_EQ(co_await count(*db), 0);
  });
}

TEST_P(Copy, AnErrorOfTheServerIsTheOutcome) {
  run([this]() -> Task<> {
    auto db = co_await with_table();
    auto first = std::make_shared<Source>(1'000);
    CO_ASSERT_OK(co_await db->copy_in(copy_sql, soon(), [first] { return (*first)(); }));
    // The server finds the duplicate in the first chunk, while we go on to send.
    auto again = std::make_shared<Source>(20'000);
    EXPECT_CODE(co_await db->copy_in(copy_sql, soon(), [again] { return (*again)(); }), Code::conflict);
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_EQ(co_await count(*db), 1'000);
    EXPECT_CODE(co_await db->copy_in("COPY nowhere FROM STDIN (FORMAT binary)", soon(),
                                     [again] { return (*again)(); }),
                Code::internal);
    EXPECT_EQ(co_await count(*db), 1'000);
  });
}

TEST_P(Copy, AStreamWithoutItsEndIsRefused) {
  run([this]() -> Task<> {
    auto db = co_await with_table();
    CopyWriter writer;
    write_row(writer, 1);
    const std::string bytes(writer.view().substr(0, writer.view().size() - 3));
    int calls = 0;
    auto copied = co_await db->copy_in(copy_sql, soon(), [&]() -> Result<std::string_view> {
      return calls++ == 0 ? std::string_view(bytes) : std::string_view();
    });
    EXPECT_CODE(copied, Code::invalid_argument);
    EXPECT_EQ(co_await count(*db), 0);
  });
}

TEST_P(Copy, WhatIsNoCopyIsRefused) {
  run([this]() -> Task<> {
    auto db = co_await with_table();
    const auto nothing = []() -> Result<std::string_view> { return std::string_view(); };
    EXPECT_CODE(co_await db->copy_in("SELECT 1", soon(), nothing), Code::invalid_argument);
    EXPECT_CODE(co_await db->copy_out("SELECT 1", soon(), [](Bytes) { return Result<void>(); }),
                Code::invalid_argument);
    EXPECT_CODE(co_await db->copy_out(copy_sql, soon(), [](Bytes) { return Result<void>(); }),
                Code::invalid_argument);
    const std::string twice = std::string(copy_sql) + "; " + std::string(copy_sql);
    auto source = std::make_shared<Source>(10);
    EXPECT_FALSE(co_await db->copy_in(twice, soon(), [source] { return (*source)(); }));
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_EQ(co_await count(*db), 0);
    EXPECT_FALSE(co_await db->copy_out("COPY copied TO STDOUT; COPY copied TO STDOUT", soon(),
                                       [](Bytes) { return Result<void>(); }));
    EXPECT_EQ(db->state(), SessionState::broken);
  });
}

TEST_P(Copy, ADeadlineInMidCopyIsRecovered) {
  run([this]() -> Task<> {
    auto db = co_await with_table();
    CO_ASSERT_OK(
        co_await db->execute_simple("CREATE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS $$ "
                                    "BEGIN PERFORM pg_sleep(0.01); RETURN NEW; "
                                    "END $$",
                                    soon()));
    CO_ASSERT_OK(co_await db->execute_simple(
        "CREATE TRIGGER slow BEFORE INSERT ON copied FOR EACH ROW EXECUTE FUNCTION pg_temp.slow()", soon()));
    auto source = std::make_shared<Source>(200'000);
    EXPECT_CODE(co_await db->copy_in(copy_sql, Deadline::after(200ms), [source] { return (*source)(); }),
                Code::deadline_exceeded);
    EXPECT_EQ(db->state(), SessionState::busy);
    auto helper = co_await connect(options_for(Route::direct));
    CO_ASSERT_OK(co_await db->recover(Deadline::after(10s), helper.get()));
    EXPECT_EQ(co_await count(*db), 0);
  });
}

TEST_P(Copy, CopyOutGivesWhatWentIn) {
  run([this]() -> Task<> {
    auto db = co_await with_table();
    auto source = std::make_shared<Source>(20'000);
    CO_ASSERT_OK(co_await db->copy_in(copy_sql, soon(), [source] { return (*source)(); }));
    std::size_t size_bytes = 0;
    std::string head;
    auto out = co_await db->copy_out("COPY copied TO STDOUT (FORMAT binary)", soon(),
                                     [&](Bytes chunk) -> Result<void> {
                                       if (head.empty()) head = as_text(chunk).substr(0, 6);
                                       size_bytes += chunk.size();
                                       return {};
                                     });
    CO_ASSERT_OK(out);
    EXPECT_EQ(*out, 20'000);
    EXPECT_EQ(head, "PGCOPY");
    EXPECT_GT(size_bytes, 20'000u * 100);
    // Refused in the middle: cancelled, drained, and the session goes on.
    int chunks = 0;
    auto refused = co_await db->copy_out("COPY (SELECT a.* FROM copied a, generate_series(1, 200)) TO STDOUT",
                                         soon(), [&](Bytes) -> Result<void> {
                                           if (++chunks < 10) return {};
                                           return fail(Code::storage_full, "enough");
                                         });
    EXPECT_CODE(refused, Code::storage_full);
    EXPECT_EQ(db->state(), SessionState::idle);
    EXPECT_EQ(co_await count(*db), 20'000);
  });
}

}  // namespace
}  // namespace citadel::pg
