#include "audit/retention.hpp"

#include "audit/audit_pg_testing.hpp"
#include "audit/column_check.hpp"
#include "audit/lifecycle.hpp"
#include "audit/queries.hpp"
#include "audit/verifier.hpp"
#include "tlog/note.hpp"

namespace citadel::audit {
namespace {

using std::chrono::days;

class RetentionTest : public AuditTest {
 protected:
  // An event of some time ago, which arrived then.
  Event old_event(days age, std::string action = "inference.complete") {
    Event event = sealed_event_of("acme", "ada");
    event.action = std::move(action);
    event.time = event.received_at = system_clock().wall() - age;
    event.id = new_uuid7(event.time, random_);
    return event;
  }
  RetentionRun run_now() {
    const auto done =
        run(run_retention(*database_, keep, 1, RetentionDrops::due, legal, system_clock().wall(), soon()));
    EXPECT_TRUE(done) << done.error().to_string();
    return done.value_or(RetentionRun{});
  }
  std::string month_of(days age) {
    return sql(fmt::format("select to_char((now() - interval '{} days') at time zone 'UTC', 'YYYY-MM')",
                           age.count()));
  }
  // What a verification of the whole log says of contents that are not there.
  ContentAccount::Sums contents() {
    const auto signer = tlog::NoteSigner::generate("test/log").value();
    const LogHead at = head();
    const tlog::Checkpoint checkpoint{
        .origin = "test/log", .size = at.size, .root = at.root, .extensions = {}};
    auto verifier =
        Verifier::make({.policy = {.origin = "test/log", .log_keys = {signer.verifier()}, .witnesses = {}}});
    const auto page = run(read_entries(*database_, 0, at.size, OpenGroups::yes, *keys_, soon()));
    EXPECT_TRUE(page) << page.error().to_string();
    for (const EntryView& view : *page) {
      const auto groups = exported_groups(view);
      const auto fed = verifier->feed(exported_entry(view, groups));
      EXPECT_TRUE(fed) << fed.error().to_string();
    }
    const auto note = tlog::encode_note(tlog::sign_note(checkpoint.encode(), signer).value());
    const auto finished = verifier->finish(note);
    EXPECT_TRUE(finished) << finished.error().to_string();
    return verifier->counts().contents;
  }
  void remove_by_force(std::uint64_t index) {
    sql(fmt::format("set citadel.audit_erasing = 'on'; delete from audit.event where idx = {}", index));
  }
  // As run_now() does, from another session: of the class short, the month of some time ago.
  std::future<std::string> drop_meanwhile(days age) {
    return sql_meanwhile(
        fmt::format("select outcome from audit.drop_month(array[{}, {}, {}]::bigint[], 1::smallint, "
                    "'{}-01T00:00:00Z', 'test')",
                    keep[0].count(), keep[1].count(), keep[2].count(), month_of(age)));
  }
  std::string entries() {
    append_pending();
    return sql(
        "select object_type || ' ' || object || ' ' || reason from audit.event "
        "where action = 'audit.retention_run' order by idx");
  }
};

TEST_F(RetentionTest, NamesOfMonthsAreReadBack) {
  for (const std::string name : {"short/2026-01", "standard/1999-12", "extended/2026-11"}) {
    const auto month = parse_content_month(name);
    ASSERT_TRUE(month) << name;
    EXPECT_EQ(to_string(*month), name);
  }
  for (const std::string name :
       {"", "short", "short/2026-13", "short/2026-1", "short/2026-01-01", "long/2026-01"})
    EXPECT_FALSE(parse_content_month(name)) << name;
}

TEST_F(RetentionTest, WhatIsDueGoesAndAllElseStays) {
  append({frame_of(old_event(days(400))), frame_of(old_event(days(300), "key.denied")),
          frame_of(old_event(days(20))), frame_of(old_event(days(400))),
          frame_of(old_event(days(500), "key.denied"))});
  const auto plan = run(plan_retention(*database_, keep, soon()));
  ASSERT_TRUE(plan) << plan.error().to_string();
  std::size_t due = 0;
  for (const auto& month : *plan) due += month.due;
  EXPECT_EQ(due, 2u);
  EXPECT_TRUE(std::ranges::is_sorted(*plan, {}, &PlannedMonth::due_at));

  const auto done = run_now();
  ASSERT_EQ(done.dropped.size(), 2u);
  EXPECT_EQ(to_string(done.dropped[0].month), "short/" + month_of(days(400)));
  EXPECT_EQ(done.dropped[0].events, 2);
  EXPECT_EQ(done.dropped[0].groups, 4);
  EXPECT_EQ(to_string(done.dropped[1].month), "standard/" + month_of(days(500)));
  EXPECT_EQ(done.dropped[1].events, 1);
  EXPECT_EQ(entries(), fmt::format("audit_content short/{} 2 events and 4 groups were kept for 184 days\n"
                                   "audit_content standard/{} 1 events and 2 groups were kept for 366 days",
                                   month_of(days(400)), month_of(days(500))));
  EXPECT_EQ(sql("select count(*), sum(events), sum(groups) from audit.retention_run"), "2|3|6");
  // Leaves and proofs stay, and the entries that were not due are whole.
  EXPECT_EQ(fault(), "");
  for (const std::uint64_t index : {0u, 3u, 4u})
    EXPECT_FALSE(run(get_entry(*database_, index, OpenGroups::yes, *keys_, soon()))->envelope);
  for (const std::uint64_t index : {1u, 2u}) {
    const auto view = run(get_entry(*database_, index, OpenGroups::yes, *keys_, soon()));
    ASSERT_TRUE(view && view->envelope && view->groups.front().opened);
  }
  EXPECT_EQ(contents().pruned, 3u);
  EXPECT_EQ(contents().missing, 0u);
  remove_by_force(2);
  EXPECT_EQ(contents().pruned, 3u);
  EXPECT_EQ(contents().missing, 1u);
  EXPECT_TRUE(run_now().dropped.empty());
  // The daemon that remembers the month makes it anew when it must.
  EXPECT_EQ(code_of(try_append({frame_of(old_event(days(400)))})), Code::unavailable);
}

TEST_F(RetentionTest, AnEventThatOnlyClaimsToBeOldIsKept) {
  Event event = old_event(days(400));
  event.received_at = system_clock().wall();
  append({frame_of(event)});
  EXPECT_TRUE(run_now().dropped.empty());
  const auto plan = run(plan_retention(*database_, keep, soon()));
  ASSERT_TRUE(plan);
  EXPECT_EQ(to_string(plan->front().month), "short/" + month_of(days(400)));
  EXPECT_NEAR((plan->front().due_at - event.received_at) / 1s, keep[0] / 1s, 1);
}

TEST_F(RetentionTest, WhatIsHeldStaysAndIsNamedOnce) {
  append({frame_of(old_event(days(400))), frame_of(old_event(days(500)))});
  const WallTime at = system_clock().wall() - days(400);
  const auto hold = run(
      place_hold(*database_, {.subject = "ada", .from = at - 1h, .to = at + 1h}, "a case", legal, soon()));
  ASSERT_TRUE(hold) << hold.error().to_string();
  for (int i = 0; i < 2; ++i) {
    const auto done = run_now();
    EXPECT_EQ(done.dropped.size(), i == 0 ? 1u : 0u);
    ASSERT_EQ(done.held.size(), 1u);
    EXPECT_EQ(done.held[0].hold, hold->id);
    EXPECT_EQ(to_string(done.held[0].month), "short/" + month_of(days(400)));
  }
  EXPECT_THAT(entries(),
              testing::AllOf(HasSubstr("audit_content short/" + month_of(days(500))),
                             HasSubstr(fmt::format("audit_content_held short/{} kept, because the hold {}",
                                                   month_of(days(400)), hold->id.to_string()))));
  EXPECT_EQ(sql("select count(*) from audit.event where object_type = 'audit_content_held'"), "1");
  ASSERT_TRUE(run(release_hold(*database_, hold->id, "over", legal, soon())));
  EXPECT_EQ(run_now().dropped.size(), 1u);
}

TEST_F(RetentionTest, WhatAHoldKeptExplainsNoHole) {
  append({frame_of(old_event(days(400)))});
  ASSERT_TRUE(run(place_hold(*database_, {.subject = "ada"}, "a case", legal, soon())));
  ASSERT_EQ(run_now().held.size(), 1u);
  append_pending();
  EXPECT_EQ(contents().missing, 0u);
  remove_by_force(0);
  EXPECT_EQ(contents().missing, 1u);
  const auto page = run(read_entries(*database_, 0, 1, OpenGroups::yes, *keys_, soon()));
  ASSERT_TRUE(page) << page.error().to_string();
  EXPECT_EQ(code_of(run(check_columns(*database_, *page, soon()))), Code::corrupt);
  // Of a leaf that is not the tree's, that is what is wrong, and the verification says it.
  auto edited = *page;
  edited.front().tree_hash = tlog::Hash{};
  EXPECT_TRUE(run(check_columns(*database_, edited, soon())));
}

TEST_F(RetentionTest, AnEventThatComesMeanwhileIsLookedAtByTheNextRun) {
  append({frame_of(old_event(days(400)))});
  const auto busy = session_with("select pg_advisory_xact_lock(4850147, 3)");
  auto dropped = drop_meanwhile(days(400));
  wait_for_a_waiter();
  append({frame_of(old_event(days(400)))});
  ASSERT_TRUE(run(busy->execute_simple("commit", soon())));
  EXPECT_EQ(dropped.get(), "not due");
  const auto done = run_now();
  ASSERT_EQ(done.dropped.size(), 1u);
  EXPECT_EQ(done.dropped[0].events, 2);
}

// The sequencer writes events and then their groups.
TEST_F(RetentionTest, WhoWritesIsNotCaughtBetweenTwoTables) {
  append({frame_of(old_event(days(400)))});
  const auto writer = session_with("lock table audit.event_short in row exclusive mode");
  auto dropped = drop_meanwhile(days(400));
  wait_for_a_waiter();
  const auto locked =
      run(writer->execute_simple("lock table audit.sealed_short in row exclusive mode", soon()));
  EXPECT_TRUE(locked) << locked.error().to_string();
  ASSERT_TRUE(run(writer->execute_simple("commit", soon())));
  EXPECT_EQ(dropped.get(), "dropped");
}

TEST_F(RetentionTest, MonthsAreMadeAhead) {
  run_now();
  EXPECT_EQ(sql("select count(*) from audit.event_months() where month >= date_trunc('month', now() at time "
                "zone 'UTC')"),
            "2");
  EXPECT_EQ(sql("select count(*) from pg_inherits where inhparent = 'audit.sealed_extended'::regclass"), "2");
}

TEST_F(RetentionTest, ABusyMonthIsLeftForTheNextRunAndTheOthersGo) {
  append({frame_of(old_event(days(400))), frame_of(old_event(days(500), "key.denied"))});
  const auto reader = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
  ASSERT_TRUE(reader);
  ASSERT_TRUE(
      run((*reader)->execute_simple("begin; lock table audit.event_short in access share mode", soon())));
  const auto done =
      run(run_retention(*database_, keep, 1, RetentionDrops::due, legal, system_clock().wall(), soon()));
  ASSERT_TRUE(done) << done.error().to_string();
  ASSERT_EQ(done->failed.size(), 1u);
  EXPECT_EQ(done->failed[0].name, "short/" + month_of(days(400)));
  EXPECT_NE(done->failed[0].error.code, Code::internal);
  ASSERT_EQ(done->dropped.size(), 1u);
  EXPECT_EQ(to_string(done->dropped[0].month), "standard/" + month_of(days(500)));
  EXPECT_EQ(sql("select count(*) from audit.retention_run"), "1");
  ASSERT_TRUE(run((*reader)->execute_simple("rollback", soon())));
  EXPECT_EQ(run_now().dropped.size(), 1u);
}

// Of a log whose partitions are of 256 entries, the last but of what follows.
class PruneTest : public RetentionTest {
 protected:
  void SetUp() override {
    RetentionTest::SetUp();
    std::vector<journal::Frame> frames;
    for (int i = 0; i < 1'100; ++i) frames.push_back(frame_of(event_of()));
    append(frames);
    std::string moved =
        "alter table audit.entry detach partition audit.entry_000000; "
        "alter table audit.entry_000000 rename to entry_large; ";
    for (int low = 0; low <= 1'024; low += 256) {
      moved += fmt::format(
          "create table audit.entry_small_{0} (like audit.entry including all); "
          "alter table audit.entry attach partition audit.entry_small_{0} for values from "
          "({0}) to ({1}); select audit.guard('audit.entry_small_{0}'); ",
          low, low < 1'024 ? low + 256 : 4'194'304);
    }
    ASSERT_EQ(
        sql(moved + "insert into audit.entry select * from audit.entry_large; drop table audit.entry_large"),
        "");
    sql("set citadel.audit_erasing = 'on'; delete from audit.event; delete from audit.sealed");
  }
  void remove_entry(int index) {
    const auto partition = fmt::format("audit.entry_small_{}", index / 256 * 256);
    sql(fmt::format("alter table {0} disable trigger append_only; delete from {0} where idx = {1}", partition,
                    index));
  }
  std::string prune(int below) {
    return sql(fmt::format("select audit.prune_entries({}, 'their time is over', 'ops')", below));
  }
};

TEST_F(PruneTest, TheNewestEntrySaysAllThatWent) {
  EXPECT_EQ(prune(300), "256");
  EXPECT_EQ(prune(300), "0");
  EXPECT_EQ(prune(800), "512");
  EXPECT_EQ(sql("select min(idx) from audit.entry"), "768");
  EXPECT_EQ(entries(), "audit_entries 0-255 their time is over\naudit_entries 0-767 their time is over");
  EXPECT_EQ(sql("select partition, events from audit.retention_run order by at"),
            "audit.entry 0-255|256\naudit.entry 0-767|512");
}

TEST_F(PruneTest, NobodySpeaksForEntriesThatWentWithoutAWord) {
  remove_entry(600);
  EXPECT_EQ(prune(300), "256");
  EXPECT_THAT(prune(800), HasSubstr("1 entries below 768 are not there"));
  sql("drop table audit.entry_small_512");
  EXPECT_THAT(prune(1'024), HasSubstr("entries 512 to 767 are not there, and were not pruned"));
  EXPECT_EQ(prune(512), "256");
  EXPECT_THAT(prune(1'024), HasSubstr("entries 0 to 767 are not there, and were not pruned"));
  EXPECT_EQ(sql("select count(*) from audit.retention_run"), "2");
}

TEST_F(PruneTest, NotBeforeADeadLetterOfOneOfThemIsGone) {
  sql("insert into citadel.dead_letter (producer, epoch, sequence, id, kind, reason, payload) "
      "select producer, epoch, sequence, id, 2, 'refused', 'x' from audit.entry where idx = 300");
  EXPECT_EQ(prune(300), "256");
  EXPECT_THAT(prune(512), HasSubstr("the content of entry 300 is still there"));
  sql("delete from citadel.dead_letter");
  EXPECT_EQ(prune(512), "256");
}

TEST_F(RetentionTest, NothingIsKeptForLessThanADay) {
  KeepTimes none = keep;
  none[0] = 1h;
  EXPECT_EQ(code_of(run(plan_retention(*database_, none, soon()))), Code::invalid_argument);
}

}  // namespace
}  // namespace citadel::audit
