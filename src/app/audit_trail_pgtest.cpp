// The C++ API of recording, as daemon code uses it: without HTTP, against real servers.
#include "app/audit_trail.hpp"

#include <future>
#include <set>

#include "app/settings.hpp"
#include "audit/audit_pg_testing.hpp"
#include "audit/queries.hpp"
#include "tlog/proof.hpp"

namespace citadel::app {
namespace {

using audit::soon;

class AuditTrailTest : public audit::AuditTest {
 protected:
  void SetUp() override {
    AuditTest::SetUp();
    config_.drain.interval = 1ms;
    config_.audit.signing_key_file = folder_ / "signing.key";
    config_.audit.master_key_file = folder_ / "master.key";
    config_.audit.checkpoint_folder = folder_ / "checkpoint";
    config_.audit.journal_folder = folder_ / "journal";
    config_.audit.checkpoint_interval = 10ms;
    ASSERT_TRUE(make_audit_secrets(config_.audit, "test/trail"));
    auto secrets = load_audit_secrets(config_.audit);
    ASSERT_TRUE(secrets) << secrets.error().to_string();
    auto opened = AuditTrail::open(config_, *std::move(secrets), system_clock());
    ASSERT_TRUE(opened) << opened.error().to_string();
    trail_ = *std::move(opened);
    trail_->attach(*database_, config_);
    trail_->start();
  }
  void end() {
    if (!trail_) return;
    EXPECT_TRUE(run(trail_->close(soon())));
    trail_->detach();
    trail_.reset();
  }
  void TearDown() override {
    end();
    AuditTest::TearDown();
  }

  Result<std::vector<Recorded>> record(const std::vector<audit::Event>& events) {
    return run(trail_->record(events, soon()));
  }
  // The event's index, once the log has what was recorded up to there.
  std::optional<std::uint64_t> index_of(const Recorded& recorded) {
    const auto drained = run(trail_->publisher().wait_drained(recorded.position, soon()));
    EXPECT_TRUE(drained) << drained.error().to_string();
    const auto found = run(audit::find_indexes(*database_, {recorded.id}, soon()));
    EXPECT_TRUE(found) << found.error().to_string();
    if (!found || found->size() != 1) return std::nullopt;
    return found->front().second;
  }

  const support::TempFolder folder_{"trail"};
  Config config_;
  std::unique_ptr<AuditTrail> trail_;
};

TEST_F(AuditTrailTest, AnEventIsOnDiskThenInTheLogThenUnderASignedCheckpoint) {
  auto event = sealed_event_of("acme", "customer-9");
  event.group(audit::Group::details) = R"({"password":"hunter2"})";
  ASSERT_TRUE(trail_->redactor().apply(event));
  ASSERT_TRUE(audit::check_event(event, event_limits(config_)));

  // ack=journal
  const auto taken = record({event});
  ASSERT_TRUE(taken) << taken.error().to_string();
  ASSERT_EQ(taken->size(), 1u);
  EXPECT_EQ(taken->front().id, event.id);
  EXPECT_FALSE(taken->front().repeated);
  EXPECT_GE(trail_->status().journal.last_durable, taken->front().position);

  // ack=database
  const auto index = index_of(taken->front());
  ASSERT_TRUE(index);
  const auto entry =
      run(audit::get_entry(*database_, *index, audit::OpenGroups::yes, trail_->keys(), soon()));
  ASSERT_TRUE(entry) << entry.error().to_string();
  EXPECT_EQ(entry->envelope->event.tenant, "acme");
  for (const auto& group : entry->groups) {
    ASSERT_TRUE(group.opened);
    EXPECT_EQ(group.opened->bytes.find("hunter2"), std::string::npos);
  }

  // ack=checkpoint: from here on, the public key is enough.
  const auto published = run(trail_->publisher().wait_published(*index, soon()));
  ASSERT_TRUE(published) << published.error().to_string();
  auto proof =
      run(audit::prove_inclusion(*database_, *index, published->checkpoint, soon(), &trail_->tiles()));
  ASSERT_TRUE(proof) << proof.error().to_string();
  EXPECT_EQ(audit::decode_leaf(as_bytes(proof->leaf))->id, event.id);
  tlog::LogProof file{
      .extra = {}, .index = *index, .inclusion = std::move(proof->hashes), .checkpoint = published->note};
  const tlog::LogPolicy policy{
      .origin = trail_->origin(), .log_keys = {trail_->verifier()}, .witnesses = {}, .witnesses_min = 0};
  const auto leaf = tlog::leaf_hash(as_bytes(proof->leaf));
  EXPECT_TRUE(tlog::verify_proof(tlog::LogProof::parse(file.encode()).value(), leaf, policy));
  ++file.index;
  EXPECT_FALSE(tlog::verify_proof(file, leaf, policy));
}

TEST_F(AuditTrailTest, ARepeatHasItsPositionAndAnIdThatSaysSomethingElseIsRefused) {
  const auto first = event_of(), second = event_of();
  const auto taken = record({first, second});
  ASSERT_TRUE(taken) << taken.error().to_string();
  EXPECT_EQ(taken->at(1).position.sequence, taken->at(0).position.sequence + 1);
  EXPECT_LE(taken->at(1).position, trail_->status().journal.last_durable);
  const auto again = record({second, first});
  ASSERT_TRUE(again) << again.error().to_string();
  for (const int i : {0, 1}) {
    EXPECT_TRUE(again->at(i).repeated);
    EXPECT_EQ(again->at(i).position, taken->at(1 - i).position);
  }
  auto other = first;
  other.reason = "another";
  const auto alone = record({other});
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code, Code::conflict);
  EXPECT_THAT(alone.error().message, testing::StartsWith("/id: "));
  // All or none: the event beside it was not taken, and is taken afterwards.
  const auto beside = event_of();
  const auto both = record({beside, other});
  ASSERT_FALSE(both);
  EXPECT_THAT(both.error().message, testing::StartsWith("/1/id: "));
  const auto later = record({beside});
  ASSERT_TRUE(later) << later.error().to_string();
  EXPECT_FALSE(later->front().repeated);
  EXPECT_LT(taken->at(1).position, later->front().position);
  ASSERT_TRUE(index_of(later->front()));
  EXPECT_EQ(sql(fmt::format("select count(*) from audit.entry where id in ('{}', '{}', '{}')",
                            first.id.to_string(), second.id.to_string(), beside.id.to_string())),
            "3");
}

TEST_F(AuditTrailTest, ManyThreadsRecordAtOnce) {
  constexpr int threads = 4, each = 50;
  std::vector<std::vector<audit::Event>> events(threads);
  for (auto& of_one : events) {
    for (int i = 0; i < each; ++i) of_one.push_back(event_of());
  }
  // An executor outlives the journal that answers on it.
  std::vector<std::unique_ptr<asio::io_context>> contexts;
  std::vector<std::future<std::vector<Recorded>>> work;
  for (const auto& of_one : events) {
    auto& context = *contexts.emplace_back(std::make_unique<asio::io_context>(1));
    work.push_back(std::async(std::launch::async, [this, &of_one, &context] {
      std::vector<Recorded> out;
      for (const auto& event : of_one) {
        const std::vector<audit::Event> one{event};
        const auto taken = aio::run(context, trail_->record(one, soon()));
        EXPECT_TRUE(taken) << taken.error().to_string();
        if (taken) out.push_back(taken->front());
      }
      return out;
    }));
  }
  std::set<journal::Position> positions;
  Recorded last;
  for (auto& one : work) {
    for (const auto& recorded : one.get()) {
      positions.insert(recorded.position);
      if (last.position < recorded.position) last = recorded;
    }
  }
  EXPECT_EQ(positions.size(), std::size_t{threads} * each);
  ASSERT_TRUE(index_of(last));
  EXPECT_EQ(sql("select count(*) from audit.event where action = 'model_version.create'"),
            std::to_string(threads * each));
  EXPECT_EQ(fault(), "");
  end();  // before the executors
}

}  // namespace
}  // namespace citadel::app
