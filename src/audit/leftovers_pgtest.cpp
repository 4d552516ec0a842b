#include "audit/leftovers.hpp"

#include "audit/audit_pg_testing.hpp"
#include "audit/column_check.hpp"
#include "audit/key_rotation.hpp"
#include "audit/queries.hpp"
#include "audit/retention.hpp"

namespace citadel::audit {
namespace {

using std::chrono::days;

class LeftoversTest : public AuditTest {
 protected:
  // Two events of one id, the second of which is a conflict.
  void append_conflict(const std::string& subject, std::string action = "inference.complete") {
    Event event = sealed_event_of("acme", subject);
    event.action = std::move(action);
    append({frame_of(event)});
    event.reason = "another";
    EXPECT_EQ(append({frame_of(event)}).conflicting, 1u);
  }
  // A dead letter that can be read, as where PostgreSQL refused its row; one that cannot where `subject` is
  // empty.
  void add_letter(const std::string& subject, std::size_t prompt_bytes = 20) {
    Event event = sealed_event_of("acme", subject.empty() ? "nobody" : subject);
    event.group(Group::prompt) = '"' + std::string(prompt_bytes, 'p') + '"';
    const auto frame = frame_of(event);
    sql(
        fmt::format("insert into citadel.dead_letter (producer, epoch, sequence, id, kind, reason, payload) "
                    "values ('{}', {}, {}, '{}', 2, 'refused', '\\x{}')",
                    origin_.producer.to_string(), frame.position.epoch + 100, frame.position.sequence,
                    frame.id.to_string(), subject.empty() ? "ff00" : to_hex(as_bytes(frame.payload))));
  }
  void age(const std::string& table, days time) {
    sql(fmt::format(
        "set citadel.audit_rewrapping = 'on'; update {} set received_at = received_at - interval '{} days'",
        table, time.count()));
  }
  std::string count(const std::string& table) { return sql("select count(*) from " + table); }
  // An event of some time ago, which arrived then.
  void append_old(days age, std::string action) {
    Event event = sealed_event_of("acme", "ada");
    event.action = std::move(action);
    event.time = event.received_at = system_clock().wall() - age;
    event.id = new_uuid7(event.time, random_);
    append({frame_of(event)});
  }
  // What is in both tables, as digests.
  std::string bytes() {
    return sql(
        "select sha256(record) from audit.conflict union all select sha256(payload) from "
        "citadel.dead_letter");
  }
  // What the daemon's role gets, or why it does not.
  std::string as_app(const std::string& statement) {
    const auto rows = sql_as_app(statement);
    return rows ? std::string((*rows)[0].get<std::string_view>(0)) : rows.error().to_string();
  }
  RetentionRun run_now(Deadline deadline = soon()) {
    const auto done =
        run(run_retention(*database_, keep, 1, RetentionDrops::due, legal, system_clock().wall(), deadline));
    EXPECT_TRUE(done) << done.error().to_string();
    return done.value_or(RetentionRun{});
  }
  std::string runs() {
    append_pending();
    return sql(
        "select object_type || ' ' || object || ' ' || reason from audit.event "
        "where action = 'audit.retention_run' order by idx");
  }
  std::string month_of(days age) {
    return sql(fmt::format("select to_char((now() - interval '{} days') at time zone 'UTC', 'YYYY-MM')",
                           age.count()));
  }
  Result<Erasure> erase(std::string subject) {
    return run(erase_subject(*database_, "acme", std::move(subject), "article 17", legal, soon()));
  }
  // Whether all that is sealed in both tables opens with the keys.
  bool all_open(const AuditKeys& keys) {
    const auto owner = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
    const auto rows = run((*owner)->execute(
        pg::Statement{"test leftovers",
                      "select id, record from audit.conflict union all "
                      "select id, payload from citadel.dead_letter where octet_length(payload) > 2"},
        {}, soon()));
    EXPECT_TRUE(rows) << rows.error().to_string();
    for (const pg::Row row : *rows) {
      const auto record = decode_record(row.get<Uuid>(0), as_text(row.get<Bytes>(1)));
      EXPECT_TRUE(record) << record.error().to_string();
      for (const auto& group : record->groups) {
        if (!open_group(record->id, group.group, group.ciphertext, record->wrapped_key, keys.journal.front()))
          return false;
      }
    }
    return true;
  }
};

TEST_F(LeftoversTest, AConflictIsKeptAsLongAsItsClassAndALetterAsLongAsAny) {
  append_conflict("ada");
  append_conflict("bob", "key.denied");
  add_letter("ada");
  add_letter("");
  EXPECT_EQ(sql("select subject, retention from audit.conflict order by idx"), "ada|1\nbob|2");
  EXPECT_TRUE(run_now().leftovers.empty());
  age("audit.conflict", days(300));
  const auto plan = run(plan_leftovers(*database_, keep, soon()));
  ASSERT_TRUE(plan) << plan.error().to_string();
  ASSERT_EQ(plan->size(), 3u);
  EXPECT_TRUE(plan->front().due);
  EXPECT_EQ(to_string(plan->front().month), "short/" + month_of(days(300)));
  EXPECT_FALSE(plan->at(1).due);
  auto done = run_now().leftovers;
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].name, fmt::format("audit.conflict short/{}", month_of(days(300))));
  EXPECT_EQ(done[0].rows, 1);
  EXPECT_EQ(sql("select subject from audit.conflict"), "bob");

  // From before migration 7: nobody knows the class.
  sql("set citadel.audit_rewrapping = 'on'; update audit.conflict set retention = null");
  age("audit.conflict", days(300));
  EXPECT_TRUE(run_now().leftovers.empty());
  age("audit.conflict", days(1'700));
  age("citadel.dead_letter", days(2'100));
  done = run_now().leftovers;
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(count("audit.conflict"), "0");
  EXPECT_EQ(count("citadel.dead_letter"), "2");
  age("citadel.dead_letter", days(200));
  done = run_now().leftovers;
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].rows, 2);
  EXPECT_EQ(count("citadel.dead_letter"), "0");
  EXPECT_EQ(runs(),
            fmt::format("audit_leftovers audit.conflict short/{} 1 rows were kept for 184 days\n"
                        "audit_leftovers audit.conflict extended/{} 1 rows were kept for 2192 days\n"
                        "audit_leftovers citadel.dead_letter extended/{} 2 rows were kept for 2192 days",
                        month_of(days(300)), month_of(days(2'300)), month_of(days(2'300))));
  EXPECT_EQ(fault(), "");
}

TEST_F(LeftoversTest, AHoldKeepsWhatItMayCoverAndIsNamedOnce) {
  append_conflict("ada");
  add_letter("bob");
  age("audit.conflict", days(400));
  age("citadel.dead_letter", days(3'000));
  const auto place = [&](HoldScope scope) {
    auto hold = run(place_hold(*database_, std::move(scope), "a case", legal, soon()));
    EXPECT_TRUE(hold) << hold.error().to_string();
    return hold.value_or(Hold{}).id;
  };
  const auto release = [&](Uuid id) {
    EXPECT_TRUE(run(release_hold(*database_, id, "over", legal, soon())));
  };
  // One of an object may be of it; a dead letter may be anybody's.
  const auto object = place({.tenant = "acme", .object_type = "model_version", .object = "other"});
  for (int i = 0; i < 2; ++i) {
    const auto held = run_now().leftovers;
    ASSERT_EQ(held.size(), 2u);
    EXPECT_EQ(held[0].held_by, object);
    EXPECT_EQ(held[1].held_by, object);
  }
  EXPECT_EQ(sql("select count(*) from audit.retention_run where held_by is not null"), "2");
  EXPECT_THAT(runs(),
              HasSubstr(fmt::format("audit_leftovers_held audit.conflict short/{} kept, because the hold {}",
                                    month_of(days(400)), object.to_string())));
  release(object);
  // Another subject's holds dead letters only.
  const auto other = place({.subject = "eve"});
  const auto done = run_now().leftovers;
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(count("audit.conflict"), "0");
  EXPECT_EQ(count("citadel.dead_letter"), "1");
  release(other);
  EXPECT_EQ(run_now().leftovers.size(), 1u);
  EXPECT_EQ(count("citadel.dead_letter"), "0");
}

TEST_F(LeftoversTest, WhereOneCannotGoTheOthersDoAndAllIsTold) {
  append_old(days(400), "inference.complete");
  append_conflict("ada");
  add_letter("ada");
  age("audit.conflict", days(400));
  age("citadel.dead_letter", days(2'500));
  const auto busy = session_with("lock table audit.conflict in share mode");
  const auto done = run_now();
  EXPECT_EQ(done.dropped.size(), 1u);
  ASSERT_EQ(done.failed.size(), 1u);
  EXPECT_EQ(done.failed[0].name, "audit.conflict short/" + month_of(days(400)));
  ASSERT_EQ(done.leftovers.size(), 1u);
  EXPECT_EQ(done.leftovers[0].name, "citadel.dead_letter extended/" + month_of(days(2'500)));
  ASSERT_TRUE(run(busy->execute_simple("commit", soon())));
  EXPECT_EQ(run_now().leftovers.size(), 1u);
}

TEST_F(LeftoversTest, WhatWasDroppedIsToldWhereTheTimeIsUsedUp) {
  append_old(days(400), "inference.complete");
  append_old(days(500), "key.denied");
  append_conflict("ada");
  age("audit.conflict", days(400));
  sql("alter function audit.drop_month(bigint[], smallint, timestamptz, text) set lock_timeout = 0");
  const auto busy = session_with("lock table audit.event_standard in access share mode");
  const auto done = run_now(Deadline::after(5s));
  EXPECT_EQ(done.dropped.size(), 1u);
  ASSERT_EQ(done.failed.size(), 1u);
  EXPECT_EQ(done.failed[0].name, "standard/" + month_of(days(500)));
  EXPECT_TRUE(done.leftovers.empty());
}

TEST_F(LeftoversTest, NoneComesBetweenTheLookAndTheDrop) {
  append_conflict("ada");
  age("audit.conflict", days(400));
  const auto busy = session_with("select pg_advisory_xact_lock(4850147, 2)");
  auto dropped = sql_meanwhile(fmt::format(
      "select outcome from audit.drop_leftovers(array[{}, {}, {}]::bigint[], 'audit.conflict', 1::smallint, "
      "'{}-01T00:00:00Z', 'test')",
      keep[0].count(), keep[1].count(), keep[2].count(), month_of(days(400))));
  wait_for_a_waiter();
  ASSERT_TRUE(run(busy->execute_simple("commit", soon())));
  EXPECT_EQ(dropped.get(), "dropped");
}

TEST_F(LeftoversTest, WhatWentOfThemExcusesNoEventThatIsMissing) {
  append_conflict("ada");
  age("audit.conflict", days(400));
  ASSERT_EQ(run_now().leftovers.size(), 1u);
  sql("set citadel.audit_erasing = 'on'; delete from audit.event where idx = 0");
  const auto entries = run(read_entries(*database_, 0, 1, OpenGroups::no, *keys_, soon()));
  ASSERT_TRUE(entries);
  EXPECT_EQ(code_of(run(check_columns(*database_, *entries, soon()))), Code::corrupt);
}

TEST_F(LeftoversTest, AnErasureReachesBoth) {
  append_conflict("ada");
  append_conflict("bob");
  add_letter("ada");
  add_letter("bob");
  add_letter("");
  const auto done = erase("ada");
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->conflicts, 1);
  EXPECT_EQ(done->dead_letters, 1);
  EXPECT_EQ(sql("select subject from audit.conflict"), "bob");
  EXPECT_EQ(count("citadel.dead_letter"), "2");
  append_pending();
  EXPECT_EQ(run(find_erasure(*database_, done->id, soon()))->dead_letters, 1);
  EXPECT_EQ(fault(), "");
}

TEST_F(LeftoversTest, OfLargeOnesAPageIsFullSooner) {
  for (int i = 0; i < 4; ++i) add_letter("ada", 3 << 20);
  const auto done = run(rotate_subject_keys(*database_, rotated().both, legal, soon()));
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->leftovers.dead_letters, 4u);
  append_pending();
  EXPECT_EQ(
      sql("select string_agg(reason, '|') from audit.event where action = 'audit.key_rotated'"),
      "2 keys in citadel.dead_letter were wrapped anew|2 keys in citadel.dead_letter were wrapped anew");
  EXPECT_EQ(erase("ada")->dead_letters, 4);
}

TEST_F(LeftoversTest, OfOneOfWhomOnlyALetterIsLeftThatGoesUnlessItIsHeld) {
  add_letter("ada");
  // Another's holds it too: whose it is, is the daemon's word alone.
  for (const HoldScope& scope :
       {HoldScope{.tenant = "acme"}, HoldScope{.from = system_clock().wall()},
        HoldScope{.object_type = "model_version", .object = "fraud/7"}, HoldScope{.subject = "eve"}}) {
    const auto hold = run(place_hold(*database_, scope, "a case", legal, soon()));
    ASSERT_TRUE(hold) << hold.error().to_string();
    const auto refused = erase("ada");
    ASSERT_EQ(code_of(refused), Code::conflict);
    EXPECT_THAT(refused.error().message, HasSubstr(hold->id.to_string()));
    ASSERT_TRUE(run(release_hold(*database_, hold->id, "over", legal, soon())));
  }
  EXPECT_EQ(code_of(erase("bob")), Code::not_found);
  const auto done = erase("ada");
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->dead_letters, 1);
  EXPECT_EQ(count("citadel.dead_letter"), "0");
}

TEST_F(LeftoversTest, RotationLeavesNothingUnderTheOldKey) {
  append_conflict("ada");
  append_conflict("bob");
  add_letter("ada");
  add_letter("");
  const auto [keys, newest] = rotated();
  EXPECT_TRUE(all_open(*keys_));
  EXPECT_FALSE(all_open(*newest));
  auto done = run(rotate_subject_keys(*database_, keys, legal, soon()));
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->leftovers.conflicts, 2u);
  EXPECT_EQ(done->leftovers.dead_letters, 1u);
  EXPECT_EQ(done->leftovers.unopened, 1u);
  EXPECT_TRUE(all_open(*newest));
  EXPECT_FALSE(all_open(*keys_));
  append_pending();
  EXPECT_THAT(sql("select reason from audit.event where action = 'audit.key_rotated' order by idx"),
              testing::AllOf(HasSubstr("2 keys in audit.conflict were wrapped anew"),
                             HasSubstr("1 keys in citadel.dead_letter were wrapped anew")));
  // Nothing is done twice, and the new key alone is enough to go on with.
  done = run(rotate_subject_keys(*database_, newest, legal, soon()));
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->leftovers.conflicts + done->leftovers.dead_letters, 0u);
  EXPECT_EQ(erase("ada")->conflicts, 1);
}

TEST_F(LeftoversTest, NothingButAWrappedKeyIsReplaced) {
  append_conflict("ada");
  add_letter("ada");
  const auto before = bytes();
  for (const std::string of : {"{0}", "substring({0} from 40 for 60)", "substring({0} from 2 for 8)"}) {
    const auto old = fmt::format(fmt::runtime(of), "record"),
               letter = fmt::format(fmt::runtime(of), "payload");
    EXPECT_EQ(as_app(fmt::format("select audit.rewrap_conflicts(array[idx], array[{0}], "
                                 "array[overlay({0} placing '\\x00' from 5)], '\\x00', 'test') "
                                 "from audit.conflict",
                                 old)),
              "0");
    EXPECT_EQ(as_app(fmt::format("select audit.rewrap_dead_letters(array[producer], array[epoch], "
                                 "array[sequence], array[{0}], array[overlay({0} placing '\\x00' from 5)], "
                                 "'\\x00', 'test') from citadel.dead_letter",
                                 letter)),
              "0");
  }
  EXPECT_EQ(bytes(), before);
}

TEST_F(LeftoversTest, WhatIsGivenInSeveralListsIsAsLongInEach) {
  add_letter("ada");
  EXPECT_THAT(as_app("select audit.rewrap_dead_letters(array[producer, producer], array[epoch], "
                     "array[sequence], array[payload], array[payload], '\\x00', 'test') "
                     "from citadel.dead_letter"),
              HasSubstr("each before and after"));
  EXPECT_THAT(as_app("select audit.erase_subject('acme', 'ada', 'why', 'test', array[producer, producer], "
                     "array[epoch], array[sequence]) from citadel.dead_letter"),
              HasSubstr("has a producer, an epoch and a sequence"));
  EXPECT_EQ(count("citadel.dead_letter"), "1");
}

TEST_F(LeftoversTest, NobodyElseChangesAConflict) {
  append_conflict("ada");
  EXPECT_THAT(sql_meanwhile("update audit.conflict set record = 'x'").get(), HasSubstr("42501"));
  EXPECT_THAT(sql_meanwhile("delete from audit.conflict").get(), HasSubstr("42501"));
  EXPECT_FALSE(sql_as_app("set citadel.audit_rewrapping = 'on'; update audit.conflict set record = 'x'"));
  EXPECT_FALSE(sql_as_app("delete from citadel.dead_letter"));
}

}  // namespace
}  // namespace citadel::audit
