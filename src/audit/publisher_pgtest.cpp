#include "audit/publisher.hpp"

#include <bit>

#include "aio/gate.hpp"
#include "audit/audit_pg_testing.hpp"
#include "audit/queries.hpp"
#include "base/file.hpp"
#include "drain/drain.hpp"

namespace citadel::audit {
namespace {

class PublisherTest : public AuditTest {
 protected:
  void SetUp() override {
    AuditTest::SetUp();
    permit_ = std::make_shared<GrowthPermit>();
    own_.emplace(keys_, permit_, SequencerOptions{}, system_clock());
    own_sink_ = make_audit_sink(*own_);
    begin();
  }
  void TearDown() override {
    end();
    AuditTest::TearDown();
  }
  // As a daemon that starts, on the same store.
  void begin() {
    auto store = CheckpointStore::open(folder_.path() / "checkpoint");
    ASSERT_TRUE(store) << store.error().to_string();
    publisher_.emplace(
        *database_, *own_, permit_, *std::move(store), *tlog::NoteSigner::parse(signing_key_),
        std::vector<tlog::NoteVerifier>(),
        PublisherOptions{
            .origin = "test/log", .journal = origin_, .interval = interval_, .witnesses = witnesses_},
        system_clock());
  }
  void end() {
    if (publisher_) EXPECT_TRUE(run(publisher_->close(soon())));
    publisher_.reset();
  }
  void restart() {
    end();
    permit_->refuse(Error(Code::unavailable, "not looked yet"));
    begin();
  }
  Result<SinkOutcome> own_append(const std::vector<journal::Frame>& frames) {
    return run(append_with(*own_sink_, origin_, frames));
  }
  void add(int count) {
    std::vector<journal::Frame> frames;
    for (int i = 0; i < count; ++i) frames.push_back(frame_of(event_of()));
    const auto outcome = own_append(frames);
    ASSERT_TRUE(outcome) << outcome.error().to_string();
  }
  Result<void> publish() { return run(publisher_->publish(soon())); }
  tlog::Checkpoint published() {
    const auto status = publisher_->status();
    EXPECT_TRUE(status.published);
    return status.published ? status.published->checkpoint : tlog::Checkpoint{};
  }

  // What the verifier finds wrong with the log up to the signed checkpoint; "" where nothing is.
  std::string verify(std::optional<std::string> older = {}) {
    auto verifier =
        Verifier::make({.policy = {.origin = "test/log",
                                   .log_keys = {tlog::NoteSigner::parse(signing_key_)->verifier()},
                                   .witnesses = {}},
                        .older_checkpoint = std::move(older)});
    if (!verifier) return verifier.error().to_string();
    const auto size = published().size;
    for (std::uint64_t next = 0; next < size;) {
      const auto count = std::min<std::uint64_t>(200, size - next);
      const auto page = run(read_entries(*database_, next, count, OpenGroups::yes, *keys_, soon()));
      if (!page) return page.error().to_string();
      if (page->empty()) break;
      for (const EntryView& view : *page) {
        const auto groups = exported_groups(view);
        if (auto fed = verifier->feed(exported_entry(view, groups)); !fed) return fed.error().to_string();
      }
      next += page->size();
    }
    const auto finished = verifier->finish(publisher_->status().published->note);
    return finished ? "" : finished.error().to_string();
  }

  // The database as it is, and put back to it later: a restore.
  void back_up() {
    sql("create schema kept; create table kept.head as select * from audit.head; "
        "create table kept.tile as select * from audit.tile; create table kept.entry as select * from "
        "audit.entry; "
        "create table kept.event as select * from audit.event");
  }
  void restore() {
    const std::string tables[] = {"tile", "entry", "event"};
    std::string statements =
        "begin; alter table audit.head disable trigger all; update audit.head h set size = k.size, "
        "root = k.root, fence = k.fence, pending_sequence = k.pending_sequence from kept.head k; "
        "alter table audit.head enable always trigger only_grows; ";
    for (const auto& table : tables) {
      statements += fmt::format("alter table audit.{0} disable trigger append_only; ", table);
      if (table != "tile") statements += "set local citadel.audit_erasing = 'on'; ";
      statements += fmt::format(
          "delete from audit.{0}; insert into audit.{0} select * from kept.{0}; "
          "alter table audit.{0} enable always trigger append_only; ",
          table);
    }
    ASSERT_EQ(sql(statements + "commit"), "");
    sequences_.clear();
  }

  const support::TempFolder folder_;
  Secret signing_key_ = tlog::NoteSigner::generate("test/log")->encode();
  std::chrono::milliseconds interval_{1h};
  std::shared_ptr<Witnesses> witnesses_;
  std::optional<Sequencer> own_;
  std::unique_ptr<drain::Sink> own_sink_;
  std::optional<Publisher> publisher_;
};

TEST_F(PublisherTest, NothingIsAppendedBeforeTheFirstLook) {
  EXPECT_EQ(code_of(own_append({frame_of(event_of())})), Code::unavailable);
  sequences_.clear();
  ASSERT_TRUE(publish());
  add(1);
  EXPECT_EQ(fault(), "");
}

TEST_F(PublisherTest, SignsTheHeadAsItGrows) {
  for (const int count : {1, 300, 7}) {
    ASSERT_TRUE(publish());
    add(count);
    ASSERT_TRUE(publish());
    const LogHead found = head();
    EXPECT_EQ(published().size, found.size);
    EXPECT_EQ(published().root, found.root);
    EXPECT_EQ(published().origin, "test/log");
  }
  EXPECT_EQ(verify(), "");
  // Anybody with the public key can read the file.
  const auto file = read_file(folder_.path() / "checkpoint" / "checkpoint", 1 << 20);
  const tlog::LogPolicy policy{
      .origin = "test/log", .log_keys = {tlog::NoteSigner::parse(signing_key_)->verifier()}, .witnesses = {}};
  ASSERT_TRUE(file && tlog::open_checkpoint(*file, policy));
  EXPECT_EQ(tlog::open_checkpoint(*file, policy)->checkpoint.size, head().size);
}

TEST_F(PublisherTest, TheVerifierAcceptsMarkersAndErasures) {
  ASSERT_TRUE(publish());
  const auto older = publisher_->status().published->note;
  const Event event = sealed_event_of("acme", "ada");
  Event other = event;
  other.reason = "other";
  std::vector<journal::Frame> frames{frame_of(event), frame_of(event), frame_of(other), frame_of(event_of()),
                                     frame_of(sealed_event_of("acme", "bob"))};
  frames[3].payload.pop_back();
  const auto outcome = own_append(frames);
  ASSERT_TRUE(outcome) << outcome.error().to_string();
  EXPECT_EQ(outcome->repeated + outcome->conflicting + outcome->undecodable, 3u);
  ASSERT_TRUE(sql_as_app("select audit.erase_subject('acme', 'ada', 'asked for', 'dpo')"));
  ASSERT_TRUE(publish());
  EXPECT_EQ(verify(older), "");
  // And it is not blind.
  sql("do $$ declare t regclass; begin for t in select inhrelid from pg_inherits where inhparent = "
      "'audit.event_extended'::regclass loop execute format('alter table %s disable trigger append_only', "
      "t); "
      "execute format('update %s set salt = sha256(salt) where subject = %L', t, 'bob'); end loop; end $$");
  EXPECT_THAT(verify(older), HasSubstr("envelope"));
}

TEST_F(PublisherTest, WhatWaitsInPendingIsTakenWithoutAnEvent) {
  ASSERT_TRUE(publish());
  EXPECT_GT(publisher_->status().pending_total, 0u);
  EXPECT_EQ(sql("select count(*) from audit.pending"), "0");
  const auto before = published().size;
  sql("insert into citadel.migration values (99, 'x', 'y')");
  ASSERT_TRUE(publish());
  EXPECT_EQ(published().size, before + 1);
  EXPECT_EQ(fault(), "");
}

TEST_F(PublisherTest, ARestoreThatLostTheTailIsAForkUntilSomebodyAcceptsIt) {
  ASSERT_TRUE(publish());
  add(5);
  back_up();
  add(5);
  ASSERT_TRUE(publish());
  const auto lost = published();
  restore();
  restart();
  const auto refused = publish();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(code_of(refused), Code::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("accept-fork"));
  ASSERT_TRUE(publisher_->status().fork);
  EXPECT_EQ(code_of(own_append({frame_of(event_of())})), Code::conflict);
  EXPECT_EQ(head().size, lost.size - 5);

  sequences_[origin_.producer] = 5;
  const auto accepted = run(publisher_->accept_fork("restored from Monday's backup", "ops", soon()));
  ASSERT_TRUE(accepted) << accepted.error().to_string();
  EXPECT_FALSE(publisher_->status().fork);
  ASSERT_TRUE(publish());
  EXPECT_EQ(sql("select reason from audit.event where action = 'audit.fork_accepted'"),
            "restored from Monday's backup");
  add(3);
  ASSERT_TRUE(publish());
  EXPECT_EQ(fault(), "");
  const auto history = CheckpointStore::open(folder_.path() / "checkpoint")->history();
  ASSERT_TRUE(history && !history->empty());
  const auto fork = std::ranges::find(*history, SwapKind::accepted_fork, &HistoryEntry::kind);
  ASSERT_NE(fork, history->end());
  EXPECT_EQ(fork->stored.checkpoint, lost);
  EXPECT_EQ(code_of(run(publisher_->accept_fork("again", "ops", soon()))), Code::conflict);
}

// The restore is hidden under new entries: larger than the checkpoint, but not an extension of it.
TEST_F(PublisherTest, ALogThatGrewAgainAfterARestoreIsAForkToo) {
  ASSERT_TRUE(publish());
  add(5);
  back_up();
  add(5);
  ASSERT_TRUE(publish());
  restore();
  permit_->grant(0, tlog::empty_root());  // a daemon without our store
  sequences_[origin_.producer] = 5;
  add(20);
  EXPECT_EQ(code_of(publish()), Code::conflict);
  EXPECT_TRUE(publisher_->status().fork);
}

TEST_F(PublisherTest, ALogThatWasRewrittenAndHashedAnewIsAFork) {
  ASSERT_TRUE(publish());
  add(5);
  ASSERT_TRUE(publish());
  const LogHead found = head();
  tlog::CompactRange forged;
  std::string hashes;
  for (std::uint64_t i = 0; i < found.size; ++i) {
    const auto leaf = tlog::leaf_hash(as_bytes(std::to_string(i)));
    forged.append(leaf);
    hashes += as_text(leaf);
  }
  sql(
      fmt::format("alter table audit.head disable trigger all; alter table audit.tile disable trigger all; "
                  "update audit.head set root = '\\x{}'; update audit.tile set hashes = '\\x{}'",
                  to_hex(forged.root()), to_hex(as_bytes(hashes))));
  EXPECT_EQ(code_of(publish()), Code::conflict);
  EXPECT_EQ(code_of(own_append({frame_of(event_of())})), Code::conflict);
}

TEST_F(PublisherTest, AFailoverThatLosesTheTailStopsTheSequencerAtOnce) {
  ASSERT_TRUE(publish());
  add(5);
  back_up();
  add(5);
  ASSERT_TRUE(publish());
  restore();
  // No look of the publisher in between.
  EXPECT_EQ(code_of(own_append({frame_of(event_of())})), Code::conflict);
}

TEST_F(PublisherTest, AForkWhoseTilesAreBrokenIsNotAccepted) {
  ASSERT_TRUE(publish());
  add(5);
  // A proof from a power of two does not look at the hashes before it, and how many the migrations make
  // grows.
  if (std::has_single_bit(head().size)) add(1);
  ASSERT_TRUE(publish());
  add(2);
  sql("alter table audit.tile disable trigger only_grows; "
      "update audit.tile set hashes = set_byte(hashes, 5, 255 - get_byte(hashes, 5))");
  EXPECT_EQ(code_of(publish()), Code::conflict);
  EXPECT_EQ(code_of(run(publisher_->accept_fork("r", "w", soon()))), Code::corrupt);
  // Mended, it goes on without anybody's word.
  sql("update audit.tile set hashes = set_byte(hashes, 5, 255 - get_byte(hashes, 5))");
  EXPECT_TRUE(publish());
  EXPECT_FALSE(publisher_->status().fork);
}

TEST_F(PublisherTest, AStoreThatAnotherKeySignedIsRefused) {
  ASSERT_TRUE(publish());
  end();
  signing_key_ = tlog::NoteSigner::generate("test/log")->encode();
  begin();
  EXPECT_EQ(code_of(publish()), Code::unauthenticated);
}

TEST_F(PublisherTest, ALogHasOneName) {
  ASSERT_TRUE(publish());
  end();
  auto store = CheckpointStore::open(folder_.path() / "other");
  publisher_.emplace(*database_, *own_, permit_, *store, *tlog::NoteSigner::generate("another/log"),
                     std::vector<tlog::NoteVerifier>(),
                     PublisherOptions{.origin = "another/log", .journal = origin_}, system_clock());
  EXPECT_EQ(code_of(publish()), Code::conflict);
}

TEST_F(PublisherTest, AnswersThoseWhoWait) {
  interval_ = 10ms;
  restart();
  publisher_->start();
  auto opened = journal::Journal::open({.folder = folder_.path() / "journal"}, system_clock());
  ASSERT_TRUE(opened);
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  sinks.push_back(make_audit_sink(*own_));
  drain::Drain drain(*database_, **opened, std::move(sinks), {.interval = 1ms}, system_clock(), 1);
  drain.on_drained([&](journal::Position position) { publisher_->drained(position); });
  drain.start();
  const Event event = event_of();
  const auto frame = frame_of(event);
  const auto position =
      run((*opened)->append({{.kind = frame.kind, .id = frame.id, .payload = frame.payload}}, soon()));
  ASSERT_TRUE(position);
  ASSERT_TRUE(run(publisher_->wait_drained(*position, soon())));
  const auto indexes = run(find_indexes(*database_, {event.id}, soon()));
  ASSERT_TRUE(indexes && indexes->size() == 1);
  const auto index = indexes->front().second;
  const auto checkpoint = run(publisher_->wait_published(index, soon()));
  ASSERT_TRUE(checkpoint) << checkpoint.error().to_string();
  EXPECT_GT(checkpoint->checkpoint.size, index);
  EXPECT_TRUE(run(prove_inclusion(*database_, index, checkpoint->checkpoint, soon())));
  // Nobody waits for ever.
  const auto late =
      run(publisher_->wait_drained({position->epoch, position->sequence + 1}, Deadline::after(20ms)));
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(code_of(late), Code::deadline_exceeded);
  EXPECT_EQ(code_of(run(publisher_->wait_published(1'000'000, Deadline::after(20ms)))),
            Code::deadline_exceeded);
  EXPECT_EQ(publisher_->status().waiters, 0u);
  aio::Gate gate(context_.get_executor());
  std::optional<Code> ended;
  gate.spawn("waiter", [](Publisher& publisher, std::optional<Code>& code) -> Task<> {
    const auto waited = co_await publisher.wait_published(1'000'000, soon());
    code = waited ? Code::internal : waited.error().code;
  }(*publisher_, ended));
  EXPECT_TRUE(run(drain.close(soon())));
  end();
  EXPECT_TRUE(run(gate.drain(soon())));
  EXPECT_EQ(ended, Code::cancelled);
}

// The store has room for the checkpoint, and none for what the witness gives.
TEST_F(PublisherTest, WhereACosignatureCannotBeStoredTheCheckpointGoesWithout) {
  const auto blocked = folder_.path() / "checkpoint" / "latest.new";
  auto key = *tlog::NoteSigner::generate("example/w", tlog::KeyType::cosignature_v1);
  const auto policy =
      tlog::WitnessPolicy::parse(fmt::format("witness w {}\nquorum w\n", key.verifier().encode()));
  ASSERT_TRUE(policy) << policy.error().to_string();
  const tlog::Witness witness(std::move(key),
                              {{"test/log", {tlog::NoteSigner::parse(signing_key_)->verifier()}}});
  tlog::WitnessedHead seen;
  bool blocks = true;
  witnesses_ = std::make_shared<Witnesses>(
      *policy,
      [&](std::size_t, std::string body, Deadline) -> Task<Result<WitnessReply>> {
        const auto given = witness.add_checkpoint(
            body, [&](std::string_view) { return seen; }, std::chrono::sys_seconds(1'700'000'000s));
        if (given.store) seen = given.store->head;
        if (blocks) std::filesystem::create_directory(blocked);
        co_return WitnessReply{given.status, given.content_type, given.body};
      },
      WitnessOptions{}, 1, system_clock());
  restart();
  const auto first = publish();
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_EQ(published().size, head().size);
  EXPECT_EQ(seen.size, head().size);
  EXPECT_EQ(publisher_->status().cosignatures, 0u);
  EXPECT_FALSE(publisher_->status().quorum_met);
  // It is on offer again, and then there is room.
  blocks = false;
  std::filesystem::remove(blocked);
  ASSERT_TRUE(publish());
  EXPECT_EQ(publisher_->status().cosignatures, 1u);
  EXPECT_TRUE(publisher_->status().quorum_met);
  end();
}

TEST_F(PublisherTest, TwoPublishersOnOneStoreTakeTurns) {
  ASSERT_TRUE(publish());
  auto permit = std::make_shared<GrowthPermit>();
  Sequencer sequencer(keys_, permit, {}, system_clock());
  Publisher other(*database_, sequencer, permit, *CheckpointStore::open(folder_.path() / "checkpoint"),
                  *tlog::NoteSigner::parse(signing_key_), {},
                  PublisherOptions{.origin = "test/log", .journal = {Uuid{{8}}, 1}}, system_clock());
  for (int i = 0; i < 3; ++i) {
    add(3);
    ASSERT_TRUE(run(other.publish(soon())));
    add(2);
    ASSERT_TRUE(publish());
  }
  EXPECT_EQ(published().size, head().size);
  EXPECT_TRUE(run(other.close(soon())));
}

}  // namespace
}  // namespace citadel::audit
