#include "drain/drain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aio/run.hpp"
#include "aio/wait.hpp"
#include "store/migrated_testing.hpp"
#include "support/servers.hpp"

namespace citadel::drain {
namespace {

using namespace std::chrono_literals;
using journal::Kind;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto other_kind = Kind::audit_event;

Deadline soon() {
  return Deadline::after(30s);
}

// What a sink was given; outlives it.
struct Given {
  int throws = 0;  // so many calls of prepare() do
  std::vector<Kind> prepared;
  std::string synchronous_commit;          // in the latest transaction
  std::vector<std::vector<Kind>> written;  // a batch each
};

constexpr pg::Statement read_synchronous_commit{"synchronous_commit",
                                                "select current_setting('synchronous_commit')"};

// Writes nothing, and remembers what it was given.
class NotingSink final : public Sink {
 public:
  NotingSink(Kind kind, Given& given) : kind_(kind), given_(given) {}
  Kind kind() const override { return kind_; }
  Task<Result<void>> prepare(store::Database&, std::span<const journal::Frame> frames, Deadline) override {
    if (given_.throws > 0 && given_.throws-- > 0) throw std::runtime_error("nobody foresaw this");
    for (const auto& frame : frames) given_.prepared.push_back(frame.kind);
    co_return Result<void>();
  }
  Task<Result<SinkOutcome>> write(pg::Transaction& transaction, Origin,
                                  std::span<const journal::Frame> frames, Deadline deadline) override {
    CITADEL_CO_ASSIGN(const auto rows, co_await transaction.execute(read_synchronous_commit, {}, deadline));
    given_.synchronous_commit = rows[0].get<std::string>(0);
    auto& batch = given_.written.emplace_back();
    for (const auto& frame : frames) batch.push_back(frame.kind);
    co_return SinkOutcome{.stored = frames.size()};
  }

 private:
  Kind kind_;
  Given& given_;
};

// A journal and a migrated database of its own for each test.
class DrainTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto pooled = servers_->pooled();
    options_.pool.connect.host = pooled.host;
    options_.pool.connect.port = pooled.port;
    options_.pool.connect.database = name_;
    options_.pool.connect.user = local::app_role;
    options_.pool.connect.password = servers_->app_password();
    options_.pool.connect.route = pg::Route::pgpool;
    options_.pool.size_min = 1;
    auto opened = journal::Journal::open({.folder = folder_.path() / "journal"}, system_clock());
    ASSERT_TRUE(opened) << opened.error().to_string();
    journal_ = *std::move(opened);
  }
  void TearDown() override {
    drain_.reset();
    if (database_) EXPECT_TRUE(run(database_->close(soon())));
  }

  template <class T>
  T run(Task<T> task) {
    return aio::run(context_, std::move(task));
  }

  // Begins to drain into sinks of these kinds.
  void start(std::initializer_list<Kind> kinds, Options options) {
    database_.emplace(context_.get_executor(), options_, system_clock(), 1);
    std::vector<std::unique_ptr<Sink>> sinks;
    for (const Kind kind : kinds) sinks.push_back(std::make_unique<NotingSink>(kind, given_[kind]));
    drain_.emplace(*database_, *journal_, std::move(sinks), options, system_clock(), 1);
    drain_->start();
  }
  void append(std::vector<Kind> kinds) {
    std::vector<journal::Record> records;
    for (const Kind kind : kinds) {
      records.push_back({.kind = kind, .id = new_uuid7(system_clock().wall(), random_), .payload = "x"});
    }
    const auto appended = run(journal_->append(std::move(records), soon()));
    ASSERT_TRUE(appended) << appended.error().to_string();
    last_ = *appended;
  }
  // The role's synchronous_commit, as a session of the pool has it outside of the drain's transaction.
  std::string setting_outside() {
    const auto rows =
        run(database_->query(soon(), store::Intent::read_your_writes, read_synchronous_commit, {}));
    return rows ? (*rows)[0].get<std::string>(0) : rows.error().to_string();
  }
  // Lets the drain work until it is so.
  bool becomes(std::function<bool(const Status&)> condition) {
    return run([](DrainTest& self, std::function<bool(const Status&)> is_so) -> Task<bool> {
      for (const auto deadline = soon(); !deadline.expired();) {
        if (is_so(self.drain_->status())) co_return true;
        co_await aio::sleep_for(1ms);  // sleep: polls, until a deadline
      }
      co_return false;
    }(*this, std::move(condition)));
  }
  bool drained_in_time() {
    return becomes([this](const Status& status) { return status.drained == last_; });
  }

  support::Servers& servers_ = support::shared_servers();
  const std::string name_ = store::migrated_database(servers_);
  const support::TempFolder folder_;
  asio::io_context context_{1};
  store::Options options_;
  std::unique_ptr<journal::Journal> journal_;
  std::optional<store::Database> database_;
  std::map<Kind, Given> given_;
  std::optional<Drain> drain_;
  journal::Position last_;
  SeededRandom random_{1};
};

TEST_F(DrainTest, RecordsGatherForTheIntervalUntilSomebodyKicks) {
  start({Kind::usage_request}, {.interval = 1h});
  // What the journal has when the drain looks for the first time is written at once.
  ASSERT_TRUE(becomes([](const Status& status) { return status.idle; }));
  for (int i = 0; i < 3; ++i) append({Kind::usage_request});
  EXPECT_EQ(drain_->status().batches_total, 0u);
  drain_->kick();
  ASSERT_TRUE(drained_in_time());
  // One batch: the second and the third append did not cut the first one's interval short.
  EXPECT_EQ(given_[Kind::usage_request].written.size(), 1u);
  EXPECT_EQ(drain_->status().stored_total, 3u);

  // Nothing waits now, and a kick is not lost on the interval that the next records begin.
  append({Kind::usage_request});
  drain_->kick();
  ASSERT_TRUE(drained_in_time());
  EXPECT_EQ(drain_->status().batches_total, 2u);
  EXPECT_TRUE(run(drain_->close(soon())));
}

TEST_F(DrainTest, EachSinkGetsFramesOfItsOwnKindOnly) {
  append({Kind::usage_request, other_kind, Kind::usage_request, other_kind});
  start({Kind::usage_request, other_kind}, {.interval = 1ms});
  ASSERT_TRUE(drained_in_time());
  for (const Kind kind : {Kind::usage_request, other_kind}) {
    EXPECT_THAT(given_[kind].prepared, ElementsAre(kind, kind));
    EXPECT_THAT(given_[kind].written, ElementsAre(ElementsAre(kind, kind)));
  }
  EXPECT_TRUE(run(drain_->close(soon())));
}

struct Durability {
  const char* of_the_role;
  const char* of_the_drain;
};
// A database for each, because Pgpool-II may lend a backend again that began with the role's setting of
// before.
class DrainDurability : public DrainTest, public testing::WithParamInterface<Durability> {};
INSTANTIATE_TEST_SUITE_P(Of, DrainDurability,
                         testing::Values(Durability{"off", "on"}, Durability{"local", "local"},
                                         Durability{"remote_apply", "remote_apply"}),
                         [](const auto& info) { return std::string(info.param.of_the_role); });

// The journal removes a segment once its records are committed, so a COMMIT that does not wait for the disk
// would lose what was acknowledged.
TEST_P(DrainDurability, ACommitWaitsForTheDiskWhereTheRoleSaysOtherwise) {
  const auto [of_the_role, of_the_drain] = GetParam();
  servers_.sql_as_superuser(fmt::format("ALTER ROLE {} IN DATABASE {} SET synchronous_commit = {};",
                                        local::app_role, name_, of_the_role));
  append({Kind::usage_request});
  start({Kind::usage_request}, {.interval = 1ms});
  ASSERT_TRUE(drained_in_time());
  EXPECT_EQ(given_[Kind::usage_request].synchronous_commit, of_the_drain);
  EXPECT_EQ(setting_outside(), of_the_role);
  EXPECT_TRUE(run(drain_->close(soon())));
}

TEST_F(DrainTest, ARecordOfAKindThatNobodyKnowsStaysInTheJournal) {
  append({Kind::usage_request, other_kind});
  start({Kind::usage_request}, {.interval = 1ms, .backoff_initial = 1ms, .backoff_ceiling = 1ms});
  ASSERT_TRUE(becomes([](const Status& status) { return status.last_error.has_value(); }));
  EXPECT_EQ(drain_->status().last_error->code, Code::unsupported);
  const auto closed = run(drain_->close(Deadline::after(10ms)));
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, Code::deadline_exceeded);
  EXPECT_EQ(journal_->status().undrained_records, 2u);
  EXPECT_TRUE(given_[Kind::usage_request].written.empty());
}

TEST_F(DrainTest, AnExceptionIsAFailureLikeAnother) {
  given_[Kind::usage_request].throws = 2;
  append({Kind::usage_request});
  start({Kind::usage_request}, {.interval = 1ms, .backoff_initial = 1ms, .backoff_ceiling = 1ms});
  ASSERT_TRUE(drained_in_time());
  EXPECT_EQ(drain_->status().failures_total, 2u);
  EXPECT_EQ(drain_->status().stored_total, 1u);
  EXPECT_TRUE(run(drain_->close(soon())));
}

TEST_F(DrainTest, AWatermarkThatAnotherProcessMovedIsNotTakenForOurs) {
  append({Kind::usage_request});
  start({Kind::usage_request}, {.interval = 1ms, .backoff_initial = 1ms, .backoff_ceiling = 1ms});
  ASSERT_TRUE(drained_in_time());
  // A copy of the machine has gone on with the same epoch.
  const auto moved = run(database_->transact<bool>(
      soon(), store::Intent::write, {.name = "test"}, [](pg::Transaction& transaction) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await transaction.execute_simple(
            "update citadel.watermark set sequence = sequence + 1", soon()));
        co_return true;
      }));
  ASSERT_TRUE(moved) << moved.error().to_string();
  append({Kind::usage_request});
  ASSERT_TRUE(becomes([](const Status& status) { return status.last_error.has_value(); }));
  EXPECT_EQ(drain_->status().last_error->code, Code::conflict);
  EXPECT_FALSE(run(drain_->close(Deadline::after(10ms))));
  EXPECT_EQ(journal_->status().undrained_records, 1u);
  EXPECT_EQ(drain_->status().replayed_total, 0u);
}

TEST_F(DrainTest, CloseSaysWhatIsLeftWhereTheDatabaseIsAway) {
  options_.pool.connect.host = "127.0.0.1";
  options_.pool.connect.port = 1;  // nobody listens
  start({Kind::usage_request}, {.interval = 1ms, .batch_timeout = 50ms});
  append({Kind::usage_request});
  const auto closed = run(drain_->close(soon()));
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, Code::deadline_exceeded);
  EXPECT_THAT(closed.error().message, HasSubstr("1 records"));
  EXPECT_EQ(journal_->status().undrained_records, 1u);
}

}  // namespace
}  // namespace citadel::drain
