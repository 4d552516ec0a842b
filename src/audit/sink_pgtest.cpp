#include "aio/gate.hpp"
#include "audit/audit_pg_testing.hpp"
#include "audit/queries.hpp"
#include "drain/drain.hpp"
#include "pg/connection.hpp"

namespace citadel::audit {
namespace {

TEST_F(AuditTest, ABatchLandsAndTheTreeIsOfItsLeaves) {
  const auto outcome =
      append({frame_of(event_of()), frame_of(sealed_event_of("acme", "ada")), frame_of(event_of())});
  EXPECT_EQ(outcome.stored, 3u);
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(sql("select tenant, subject from audit.event where idx < 3 order by idx"),
            "default|\nacme|ada\ndefault|");
  EXPECT_EQ(sql("select idx, grp from audit.sealed where idx < 3 order by 1, 2"), "1|1\n1|4");
}

// The migrations themselves leave entries in audit.pending: the first batch takes them too.
TEST_F(AuditTest, MigrationsAreInTheLog) {
  append({frame_of(event_of())});
  EXPECT_EQ(sql("select count(*) from audit.pending"), "0");
  EXPECT_EQ(sql("select action, object_type, object, actor_type, actor from audit.event where object_type = "
                "'citadel.migration' and object = '5'"),
            "database.insert|citadel.migration|5|database_role|citadel_owner");
  std::string applied;
  for (const auto& migration : store::embedded_migrations())
    applied += fmt::format("{}{:04}_{}|citadel_owner|1", applied.empty() ? "" : "\n", migration.version,
                           migration.name);
  EXPECT_EQ(
      sql("select e.object, e.actor, count(s.idx) from audit.event e left join audit.sealed s on s.idx = "
          "e.idx where action = 'migration.apply' group by 1, 2 order by 1"),
      applied);
}

TEST_F(AuditTest, ManyBatchesGrowOverTheEdgesOfTiles) {
  append_pending();
  const auto before = head().size;
  for (const std::size_t count : {1, 255, 256, 1, 600, 3}) {
    std::vector<journal::Frame> frames;
    for (std::size_t i = 0; i < count; ++i) frames.push_back(frame_of(event_of()));
    EXPECT_EQ(append(frames).stored, count);
  }
  EXPECT_EQ(head().size, before + 1116);
  EXPECT_EQ(fault(), "");
}

TEST_F(AuditTest, ARepeatIsAnEntryThatNamesTheFirst) {
  append_pending();
  const auto base = head().size;
  const Event event = sealed_event_of("acme", "ada");
  Event later = event;  // a client's retry: another time of arrival, other salts and keys
  later.received_at += 1s;
  EXPECT_EQ(append({frame_of(event), frame_of(later)}).repeated, 1u);
  const auto outcome = append({frame_of(later), frame_of(event_of())});
  EXPECT_EQ(outcome.repeated, 1u);
  EXPECT_EQ(outcome.stored, 1u);
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(sql("select object, reason from audit.event where action = 'audit.repeat' order by idx limit 1"),
            fmt::format("{}|the same event came again; it is entry {}", event.id.to_string(), base));
  EXPECT_EQ(sql("select count(*) from audit.event where action = 'audit.repeat'"), "2");
  EXPECT_EQ(sql("select count(*) from audit.sealed where grp = 1"), "1");
}

TEST_F(AuditTest, AnIdWithOtherContentIsKeptApart) {
  const Event event = sealed_event_of("acme", "ada");
  Event other = event, third = event;
  other.reason = "other";
  third.group(Group::prompt) = R"("another prompt")";
  EXPECT_EQ(append({frame_of(event), frame_of(other)}).conflicting, 1u);
  EXPECT_EQ(append({frame_of(third)}).conflicting, 1u);
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(sql("select c.tenant, c.subject, e.action, e.tenant from audit.conflict c join audit.event e on "
                "e.idx = c.idx"),
            "acme|ada|audit.id_conflict|acme\nacme|ada|audit.id_conflict|acme");
  EXPECT_EQ(sql(fmt::format("select count(*) from audit.conflict where id = '{}'", event.id.to_string())),
            "2");
}

TEST_F(AuditTest, WhatWasErasedIsNotTakenForARepeat) {
  const Event event = sealed_event_of("acme", "ada");
  append({frame_of(event)});
  ASSERT_TRUE(sql_as_app("select audit.erase_subject('acme', 'ada', 'asked for', 'dpo')"));
  EXPECT_EQ(append({frame_of(event)}).conflicting, 1u);
  EXPECT_EQ(fault(), "");
}

TEST_F(AuditTest, AFrameThatCannotBeReadLeavesNoHole) {
  std::vector<journal::Frame> frames{frame_of(event_of()), frame_of(event_of()), frame_of(event_of())};
  frames[0].payload.pop_back();
  frames[2].payload[0] = 9;
  const auto outcome = append(frames);
  EXPECT_EQ(outcome.stored, 1u);
  EXPECT_EQ(outcome.undecodable, 2u);
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(sql("select sequence, kind from citadel.dead_letter order by sequence"), "1|2\n3|2");
  EXPECT_EQ(sql("select object from audit.event where action = 'audit.undecodable' order by idx"),
            fmt::format("{0}/1/1-1\n{0}/1/3-3", origin_.producer.to_string()));
}

TEST_F(AuditTest, AWrongMasterKeyStopsTheLogAndMakesNothingUnreadable) {
  std::vector<crypto::AesGcmKey> others;
  others.push_back(crypto::AesGcmKey::generate());
  const auto other_keys = AuditKeys::derive(others);
  const Event event = sealed_event_of("acme", "ada");
  const auto frame = frame_of(event);
  Sequencer wrong(other_keys, permit_, {}, system_clock());
  const auto sink = make_audit_sink(wrong);
  const auto refused = run(append_with(*sink, origin_, {frame}));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(code_of(refused), Code::corrupt);
  EXPECT_THAT(refused.error().message, HasSubstr("master key"));
  EXPECT_EQ(head().size, 0u);
}

TEST_F(AuditTest, AMasterKeyThatWasRotatedStillOpensTheJournal) {
  const auto frame = frame_of(sealed_event_of("acme", "ada"));
  const auto keys = rotated().both;
  Sequencer sequencer(keys, permit_, {}, system_clock());
  const auto sink = make_audit_sink(sequencer);
  const auto outcome = run(append_with(*sink, origin_, {frame}));
  ASSERT_TRUE(outcome) << outcome.error().to_string();
  const auto view = run(get_entry(*database_, 0, OpenGroups::yes, *keys, soon()));
  ASSERT_TRUE(view) << view.error().to_string();
  EXPECT_EQ(view->groups[0].opened->bytes, R"("a secret prompt")");
}

TEST_F(AuditTest, ARollbackLeavesNothing) {
  append_pending();
  const LogHead before = head();
  const std::vector<journal::Frame> frames{frame_of(event_of()), frame_of(sealed_event_of("acme", "ada"))};
  const auto failed = run(append_with(*sink_, origin_, frames, Error(Code::internal, "after the write")));
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().message, "after the write");
  EXPECT_EQ(head().size, before.size);
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(append(frames).stored, 2u);
  EXPECT_EQ(fault(), "");
}

TEST_F(AuditTest, ATileThatSomebodyChangedStopsTheLog) {
  append({frame_of(event_of()), frame_of(event_of())});
  sql("alter table audit.tile disable trigger only_grows; "
      "update audit.tile set hashes = set_byte(hashes, 5, 255 - get_byte(hashes, 5))");
  const auto refused = try_append({frame_of(event_of())});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(code_of(refused), Code::corrupt);
  EXPECT_THAT(refused.error().message, HasSubstr("audit.tile"));
  EXPECT_EQ(fault(), "the tiles");
}

TEST_F(AuditTest, AHeadThatSomebodyChangedStopsTheLog) {
  append({frame_of(event_of()), frame_of(event_of())});
  sql("alter table audit.head disable trigger only_grows; update audit.head set root = sha256('mine')");
  const auto refused = try_append({frame_of(event_of())});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(code_of(refused), Code::corrupt);
}

TEST_F(AuditTest, AnEntryThatSomebodyChangedIsFoundByItsProof) {
  append({frame_of(event_of()), frame_of(event_of()), frame_of(event_of())});
  const LogHead found = head();
  const tlog::Checkpoint checkpoint{
      .origin = "test", .size = found.size, .root = found.root, .extensions = {}};
  ASSERT_TRUE(run(prove_inclusion(*database_, 1, checkpoint, soon())));
  sql("alter table audit.entry_000000 disable trigger append_only; "
      "update audit.entry_000000 set leaf = set_byte(leaf, 3, 255 - get_byte(leaf, 3)) where idx = 1");
  const auto forged = run(prove_inclusion(*database_, 1, checkpoint, soon()));
  ASSERT_FALSE(forged.has_value());
  EXPECT_EQ(code_of(forged), Code::corrupt);
}

TEST_F(AuditTest, NothingIsAppendedWithoutAPermitOrBehindACheckpoint) {
  append({frame_of(event_of())});
  const LogHead before = head();
  permit_->refuse(Error(Code::conflict, "a fork"));
  EXPECT_EQ(code_of(try_append({frame_of(event_of())})), Code::conflict);
  permit_->grant(before.size + 1, tlog::empty_root());  // as if the tail was lost
  EXPECT_EQ(code_of(try_append({frame_of(event_of())})), Code::conflict);
  GrowthPermit fresh;
  EXPECT_EQ(code_of(fresh.check(before)), Code::unavailable);
  permit_->grant(before.size, before.root);
  sequences_[origin_.producer] = 1;
  EXPECT_EQ(append({frame_of(event_of())}).stored, 1u);
  EXPECT_EQ(fault(), "");
}

TEST_F(AuditTest, TheFenceMovesWhenAnotherJournalTakesOver) {
  append({frame_of(event_of())});
  append({frame_of(event_of())});
  EXPECT_EQ(head().fence, 1u);
  const Origin next{origin_.producer, 2};
  sequences_.clear();
  ASSERT_TRUE(run(append_with(*sink_, next, {frame_of(event_of(), next)})));
  EXPECT_EQ(head().fence, 2u);
  EXPECT_EQ(fault(), "");
}

TEST_F(AuditTest, WhatTheDatabaseHasLostIsMadeAnew) {
  append({frame_of(event_of())});
  const auto month = std::string(sql("select to_char(now() at time zone 'UTC', 'YYYYMM')"));
  sql("drop table audit.event_extended_" + month);
  const std::vector<journal::Frame> frames{frame_of(event_of())};
  const auto lost = try_append(frames);
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(code_of(lost), Code::unavailable);
  EXPECT_EQ(std::string(lost.error().sqlstate), "");
  EXPECT_EQ(append(frames).stored, 1u);
}

TEST_F(AuditTest, ASubjectWhoWasErasedGetsANewKey) {
  append({frame_of(sealed_event_of("acme", "ada"))});
  ASSERT_TRUE(sql_as_app("select audit.erase_subject('acme', 'ada', 'asked for', 'dpo')"));
  // prepare() remembers the key that is gone; write() sees it, and the next attempt makes another.
  const std::vector<journal::Frame> frames{frame_of(sealed_event_of("acme", "ada"))};
  EXPECT_EQ(code_of(try_append(frames)), Code::unavailable);
  EXPECT_EQ(append(frames).stored, 1u);
  EXPECT_EQ(sql("select count(*), count(destroyed_at) from audit.subject_key where subject = 'ada'"), "2|1");
  EXPECT_EQ(fault(), "");
}

// Four journals, each with a sink of its own as another daemon would have.
TEST_F(AuditTest, SeveralJournalsInterleaveWithoutGapOrFork) {
  struct Daemon {
    Origin origin;
    std::unique_ptr<Sequencer> sequencer;
    std::unique_ptr<drain::Sink> sink;
    std::vector<std::vector<journal::Frame>> batches = {};
  };
  std::vector<Daemon> daemons;
  for (std::uint8_t i = 0; i < 4; ++i) {
    Daemon daemon{
        .origin = {Uuid{{9, i}}, 1},
        .sequencer = std::make_unique<Sequencer>(keys_, permit_, SequencerOptions{}, system_clock()),
        .sink = nullptr};
    daemon.sink = make_audit_sink(*daemon.sequencer);
    for (int batch = 0; batch < 8; ++batch) {
      auto& frames = daemon.batches.emplace_back();
      for (int j = 0; j < 37; ++j) frames.push_back(frame_of(event_of(), daemon.origin));
    }
    daemons.push_back(std::move(daemon));
  }
  std::vector<std::string> errors;
  aio::Gate gate(context_.get_executor());
  for (Daemon& daemon : daemons) {
    gate.spawn("daemon", [](auto* test, Daemon& self, std::vector<std::string>& failed) -> Task<> {
      for (const auto& frames : self.batches) {
        const auto outcome = co_await test->append_with(*self.sink, self.origin, frames);
        if (!outcome) failed.push_back(outcome.error().to_string());
      }
    }(this, daemon, errors));
  }
  EXPECT_TRUE(run(gate.drain(soon())));
  EXPECT_THAT(errors, testing::IsEmpty());
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(sql("select count(*) from audit.event where action = 'model_version.create'"), "1184");
  EXPECT_GT(head().fence, 4u);
}

// The session dies while it holds the log; the others go on, and what it wrote is nowhere.
TEST_F(AuditTest, ASessionThatIsKilledWithTheLogInItsHandsLeavesNothing) {
  append_pending();
  const auto before = head().size;
  const std::vector<journal::Frame> lost{frame_of(event_of()), frame_of(event_of())};
  const auto killed =
      run([](auto& self, const std::vector<journal::Frame>& frames) -> Task<Result<SinkOutcome>> {
        CITADEL_CO_TRY(co_await self.sink_->prepare(*self.database_, frames, soon()));
        co_return co_await self.database_->template transact<SinkOutcome>(
            soon(), store::Intent::write, {.name = "test kill", .attempts_max = 1},
            [&](pg::Transaction& tx) -> Task<Result<SinkOutcome>> {
              auto outcome = co_await self.sink_->write(tx, self.origin_, frames, soon());
              if (!outcome) co_return outcome;
              self.servers_.sql_as_superuser(
                  fmt::format("select pg_terminate_backend({});", tx.connection().backend_pid()));
              co_return outcome;
            });
      }(*this, lost));
  EXPECT_FALSE(killed.has_value());
  EXPECT_EQ(head().size, before);
  const Origin other{Uuid{{7}}, 1};
  const auto next = run(append_with(*sink_, other, {frame_of(event_of(), other)}));
  EXPECT_TRUE(next) << next.error().to_string();
  EXPECT_EQ(append(lost).stored, 2u);
  EXPECT_EQ(fault(), "");
}

// Through the drain: a frame that PostgreSQL refuses is found by halving, and its place is taken.
TEST_F(AuditTest, WhatPostgresRefusesLeavesNoHole) {
  // Nothing that decodes is refused in earnest, so a rule is made up.
  sql("create function audit.refuse_bad() returns trigger language plpgsql as $$ begin "
      "raise exception 'made up' using errcode = '22000'; end $$; "
      "create trigger refuse_bad before insert on audit.event for each row when (new.reason = 'bad') "
      "execute function audit.refuse_bad()");
  support::TempFolder folder;
  auto journal = journal::Journal::open({.folder = folder.path() / "journal"}, system_clock());
  ASSERT_TRUE(journal) << journal.error().to_string();
  std::vector<journal::Record> records;
  for (int i = 0; i < 20; ++i) {
    Event event = event_of();
    if (i == 7) event.reason = "bad";
    const auto frame = frame_of(event);
    records.push_back({.kind = journal::Kind::audit_event, .id = event.id, .payload = frame.payload});
  }
  ASSERT_TRUE(run((*journal)->append(records, soon())));
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  sinks.push_back(make_audit_sink(sequencer_));
  drain::Drain drain(*database_, **journal, std::move(sinks), {.interval = 1ms}, system_clock(), 1);
  journal::Position drained;
  drain.on_drained([&](journal::Position position) { drained = position; });
  drain.start();
  const auto closed = run(drain.close(soon()));
  EXPECT_TRUE(closed) << closed.error().to_string();
  EXPECT_EQ(drained.sequence, 20u);
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(sql("select sequence from citadel.dead_letter"), "8");
  EXPECT_EQ(sql("select reason like '%SQLSTATE 22000%' from audit.event where action = 'audit.undecodable'"),
            "t");
  EXPECT_EQ(
      sql("select count(*) from audit.entry where producer = (select producer from citadel.dead_letter)"),
      "20");
}

}  // namespace
}  // namespace citadel::audit
