// A hold comes before an erasure or a drop, or after it, and never between: each waits for the other's
// transaction, by the advisory lock (4850147, 4) of migration 6, and then sees what that one did.
#include "aio/gate.hpp"
#include "audit/audit_pg_testing.hpp"
#include "audit/lifecycle.hpp"
#include "audit/retention.hpp"

namespace citadel::audit {
namespace {

using std::chrono::days;

constexpr std::string_view hold_ada =
    "select audit.place_hold('acme', 'ada', null, null, null, null, 'r', 'w')";
constexpr std::string_view erase_ada = "select audit.erase_subject('acme', 'ada', 'r', 'w')";

class HoldOrderTest : public AuditTest {
 protected:
  void SetUp() override {
    AuditTest::SetUp();
    Event event = sealed_event_of("acme", "ada");
    event.action = "inference.complete";
    event.time = event.received_at = system_clock().wall() - days(400);
    event.id = new_uuid7(event.time, random_);
    append({frame_of(event)});
  }
  // A transaction that stays open with what `statement` did, until end().
  void begin(std::string_view statement) {
    auto connected = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
    ASSERT_TRUE(connected) << connected.error().to_string();
    other_ = *std::move(connected);
    const auto done = run(other_->execute_simple(fmt::format("begin; {}", statement), soon()));
    ASSERT_TRUE(done) << done.error().to_string();
  }
  void end(std::string_view how) { ASSERT_TRUE(run(other_->execute_simple(how, soon()))); }
  static constexpr std::string_view holds = "l.locktype = 'advisory' and l.classid = 4850147 and l.objid = 4";
  std::string count_locks(std::string_view which) {
    return sql(
        fmt::format("select count(*) from pg_locks l where {} and l.database = (select oid from pg_database "
                    "where datname = current_database())",
                    which));
  }
  // Starts `work`, and ends the other transaction once that waits for it, or has not waited.
  template <class T>
  Result<T> after_waiting(Task<Result<T>> work, std::string_view how = "commit",
                          std::string_view lock = holds) {
    std::optional<Result<T>> out;
    aio::Gate gate(context_.get_executor());
    gate.spawn("work", [](Task<Result<T>> task, std::optional<Result<T>>& into) -> Task<> {
      into = co_await std::move(task);
    }(std::move(work), out));
    const auto deadline = soon();
    bool waits = false;
    while (!waits && !out && !deadline.expired()) {
      waits = count_locks(fmt::format("{} and not l.granted", lock)) == "1";
    }
    advisory_had_ = count_locks("l.locktype = 'advisory' and l.granted");
    EXPECT_TRUE(waits) << "it did not wait for the other's lock";
    end(how);
    EXPECT_TRUE(run(gate.drain(soon())));
    return out.value_or(fail(Code::internal, "it did not end"));
  }
  auto erase() { return erase_subject(*database_, "acme", "ada", "article 17", legal, soon()); }
  auto drop() {
    return run_retention(*database_, keep, 1, RetentionDrops::due, legal, system_clock().wall(), soon());
  }

  std::unique_ptr<pg::Connection> other_;
  std::string advisory_had_;  // by all, while it waited
};

TEST_F(HoldOrderTest, AnErasureWaitsForAHoldAndIsRefused) {
  begin(hold_ada);
  EXPECT_EQ(code_of(after_waiting(erase())), Code::conflict);
  EXPECT_EQ(sql("select count(*) from audit.event where subject = 'ada'"), "1");
}

TEST_F(HoldOrderTest, AnErasureWaitsForAHoldThatIsNotPlacedAndGoesOn) {
  begin(hold_ada);
  const auto done = after_waiting(erase(), "rollback");
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->events, 1);
}

// The letter cannot be seen before the locks are had.
TEST_F(HoldOrderTest, AnErasureReachesALetterThatComesMeanwhile) {
  const auto frame = frame_of(sealed_event_of("acme", "ada"));
  begin(fmt::format(
      "select pg_advisory_xact_lock(4850147, 4); insert into citadel.dead_letter (producer, epoch, "
      "sequence, id, kind, reason, payload) values ('{}', 100, 1, '{}', 2, 'refused', '\\x{}')",
      origin_.producer.to_string(), frame.id.to_string(), to_hex(as_bytes(frame.payload))));
  const auto done = after_waiting(erase());
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->dead_letters, 1);
}

TEST_F(HoldOrderTest, AnErasureReadsTheLettersWithoutALock) {
  begin("lock table citadel.dead_letter in access exclusive mode");
  const auto done = after_waiting(erase(), "commit", "l.relation = 'citadel.dead_letter'::regclass");
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(advisory_had_, "0");
}

TEST_F(HoldOrderTest, ADropWaitsForAHoldAndLeavesItsMonth) {
  begin(hold_ada);
  const auto done = after_waiting(drop());
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->dropped.size(), 0u);
  EXPECT_EQ(done->held.size(), 1u);
  EXPECT_EQ(sql("select count(*) from audit.event where subject = 'ada'"), "1");
}

TEST_F(HoldOrderTest, AHoldWaitsForAnErasureAndComesAfterIt) {
  begin(erase_ada);
  const auto placed =
      after_waiting(place_hold(*database_, {.tenant = "acme", .subject = "ada"}, "a case", legal, soon()));
  ASSERT_TRUE(placed) << placed.error().to_string();
  EXPECT_EQ(sql("select count(*) from audit.event where subject = 'ada'"), "0");
}

TEST_F(HoldOrderTest, AReleaseWaitsForAnErasure) {
  const auto hold =
      run(place_hold(*database_, {.tenant = "acme", .subject = "bob"}, "a case", legal, soon()));
  ASSERT_TRUE(hold) << hold.error().to_string();
  begin(erase_ada);
  const auto released = after_waiting(release_hold(*database_, hold->id, "over", legal, soon()));
  EXPECT_TRUE(released) << released.error().to_string();
}

}  // namespace
}  // namespace citadel::audit
