#include "audit/lifecycle.hpp"

#include "audit/audit_pg_testing.hpp"
#include "audit/key_rotation.hpp"
#include "audit/queries.hpp"
#include "base/time_text.hpp"
#include "json/parse.hpp"

namespace citadel::audit {
namespace {

class LifecycleTest : public AuditTest {
 protected:
  Result<Hold> place(HoldScope scope) {
    return run(place_hold(*database_, std::move(scope), "a case", legal, soon()));
  }
  Result<Erasure> erase(std::string tenant = "acme", std::string subject = "ada") {
    return run(erase_subject(*database_, std::move(tenant), std::move(subject), "article 17", legal, soon()));
  }
  // Of the newest entries of the action: actor, object and reason, oldest first.
  std::string entries(const std::string& action) {
    return sql(
        "select actor_type || ':' || actor || ' ' || object_type || ' ' || reason from audit.event where "
        "action = '" +
        action + "' order by idx");
  }
  EntryView entry(std::uint64_t index, OpenGroups open = OpenGroups::yes) {
    auto view = run(get_entry(*database_, index, open, *keys_, soon()));
    EXPECT_TRUE(view) << view.error().to_string();
    return view.value_or(EntryView{});
  }
  // Whether the bytes are in any table of the schema, as text or as bytes.
  std::string tables_with(const std::string& what) {
    return sql(fmt::format(
        "select coalesce(string_agg(c.relname, ' ' order by c.relname), '') from pg_class c "
        "join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'audit' where c.relkind = 'r' and "
        "(xpath('//n/text()', query_to_xml(format($q$select count(*) as n from audit.%I t where t::text like "
        "'%%{}%%' or t::text like '%%{}%%'$q$, c.relname), false, true, '')))[1]::text <> '0'",
        what, to_hex(as_bytes(what))));
  }
};

TEST_F(LifecycleTest, AHoldIsPlacedListedAndReleasedWithItsEntries) {
  append_pending();
  const auto hold = place({.subject = "ada"});
  ASSERT_TRUE(hold) << hold.error().to_string();
  EXPECT_EQ(hold->scope.subject, "ada");
  EXPECT_EQ(hold->placed_by, "user:legal from 10.0.0.7");
  EXPECT_FALSE(hold->released_at);
  ASSERT_EQ(run(list_holds(*database_, WhichHolds::lasting, soon()))->size(), 1u);
  const auto released = run(release_hold(*database_, hold->id, "it is over", legal, soon()));
  ASSERT_TRUE(released) << released.error().to_string();
  EXPECT_EQ(released->release_reason, "it is over");
  EXPECT_EQ(code_of(run(release_hold(*database_, hold->id, "again", legal, soon()))), Code::conflict);
  EXPECT_EQ(code_of(run(release_hold(*database_, Uuid{}, "x", legal, soon()))), Code::not_found);
  EXPECT_EQ(run(list_holds(*database_, WhichHolds::lasting, soon()))->size(), 0u);
  EXPECT_EQ(run(list_holds(*database_, WhichHolds::all, soon()))->size(), 1u);
  append_pending();
  EXPECT_EQ(entries("audit.hold_placed"), "user:legal hold a case");
  EXPECT_EQ(entries("audit.hold_released"), "user:legal hold it is over");
  // The subject's name is in the hold alone, and not in the log.
  for (std::uint64_t i = 0; i < head().size; ++i) {
    for (const auto& group : entry(i).groups)
      EXPECT_THAT(group.opened->bytes, testing::Not(HasSubstr("\"ada\"")));
  }
  EXPECT_EQ(fault(), "");
}

TEST_F(LifecycleTest, AHoldNamesSomethingThatCanBe) {
  EXPECT_EQ(code_of(place({})), Code::invalid_argument);
  EXPECT_EQ(code_of(place({.object = "fraud/7"})), Code::invalid_argument);
  const WallTime now = system_clock().wall();
  EXPECT_EQ(code_of(place({.from = now, .to = now})), Code::invalid_argument);
  EXPECT_TRUE(place({.from = now, .to = now + 1h}));
}

TEST_F(LifecycleTest, EachKindOfHoldBlocksAnErasureAndIsNamed) {
  append({frame_of(sealed_event_of("acme", "ada"))});
  const WallTime now = system_clock().wall();
  for (const HoldScope& scope :
       {HoldScope{.subject = "ada"}, HoldScope{.tenant = "acme"},
        HoldScope{.object_type = "model_version", .object = "fraud/7"}, HoldScope{.from = now - 1h},
        HoldScope{.tenant = "acme", .subject = "ada", .to = now + 1h}}) {
    const auto hold = place(scope);
    ASSERT_TRUE(hold) << hold.error().to_string();
    const auto refused = erase();
    ASSERT_EQ(code_of(refused), Code::conflict);
    EXPECT_THAT(refused.error().message, HasSubstr(hold->id.to_string()));
    ASSERT_TRUE(run(release_hold(*database_, hold->id, "over", legal, soon())));
  }
  for (const HoldScope& other :
       {HoldScope{.subject = "bob"}, HoldScope{.tenant = "other"},
        HoldScope{.object_type = "model_version", .object = "fraud/8"}, HoldScope{.to = now - 1h}})
    ASSERT_TRUE(place(other));
  const auto done = erase();
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->events, 1);
}

TEST_F(LifecycleTest, AHoldKeepsWhatOnlyConflictsAreLeftOf) {
  sql("insert into audit.conflict values (0, now(), gen_random_uuid(), 'acme', 'ada', '\\x00')");
  for (const HoldScope& scope : {HoldScope{.tenant = "acme"}, HoldScope{.from = system_clock().wall()},
                                 HoldScope{.object_type = "model_version", .object = "fraud/7"}}) {
    const auto hold = place(scope);
    ASSERT_TRUE(hold) << hold.error().to_string();
    EXPECT_EQ(code_of(erase()), Code::conflict);
    ASSERT_TRUE(run(release_hold(*database_, hold->id, "over", legal, soon())));
  }
  const auto done = erase();
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->conflicts, 1);
}

TEST_F(LifecycleTest, AHoldThatIsBeingPlacedStopsAnErasureAndTheLogGoesOn) {
  append({frame_of(sealed_event_of("acme", "ada"))});
  const auto placing =
      session_with("select audit.place_hold(null, 'ada', null, null, null, null, 'a case', 'legal')");
  auto erased = sql_meanwhile("select audit.erase_subject('acme', 'ada', 'article 17', 'dpo')");
  wait_for_a_waiter();
  append({frame_of(event_of())});
  ASSERT_TRUE(run(placing->execute_simple("commit", soon())));
  EXPECT_THAT(erased.get(), HasSubstr("55006"));
}

TEST_F(LifecycleTest, AReleasedHoldKeepsNoNameOfWhomNothingIsLeft) {
  append({frame_of(sealed_event_of("acme", "ada-17"))});
  ASSERT_TRUE(erase("acme", "ada-17"));
  const auto hold = place({.subject = "ada-17"});
  EXPECT_EQ(hold->scope.subject, "ada-17");
  const auto released = run(release_hold(*database_, hold->id, "over", legal, soon()));
  ASSERT_TRUE(released) << released.error().to_string();
  EXPECT_THAT(released->scope.subject.value_or(""), HasSubstr("sha256:"));
  append_pending();
  EXPECT_EQ(tables_with("ada-17"), "subject_key");

  // As where retention takes the events after the release.
  Event event = event_of("acme");
  event.subject = "bob-17";
  append({frame_of(event)});
  const auto second = place({.subject = "bob-17"});
  ASSERT_TRUE(second);
  EXPECT_EQ(run(release_hold(*database_, second->id, "over", legal, soon()))->scope.subject, "bob-17");
  sql("set citadel.audit_erasing = 'on'; delete from audit.event where subject = 'bob-17'");
  EXPECT_EQ(tables_with("bob-17"), "hold");
  EXPECT_TRUE(erase("acme", "bob-17"));
  EXPECT_EQ(tables_with("bob-17"), "");
}

TEST_F(LifecycleTest, AnErasureLeavesNothingToReadAndEveryProof) {
  append({frame_of(sealed_event_of("acme", "ada-17")), frame_of(sealed_event_of("acme", "bob")),
          frame_of(sealed_event_of("acme", "ada-17")), frame_of(sealed_event_of("acme", "ada-17"))});
  ASSERT_EQ(entry(0).groups.front().opened->bytes, R"("a secret prompt")");
  const auto released = place({.subject = "ada-17"});
  ASSERT_TRUE(run(release_hold(*database_, released->id, "over", legal, soon())));
  EXPECT_THAT(tables_with("ada-17"), testing::AllOf(HasSubstr("event_extended"), HasSubstr("subject_key")));
  const auto done = erase("acme", "ada-17");
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->events, 3);
  EXPECT_EQ(done->groups, 6);
  EXPECT_EQ(done->keys, 1);
  EXPECT_EQ(run(find_erasure(*database_, done->id, soon()))->subject_digest, done->subject_digest);
  append_pending();

  // The name stays in the list of keys alone, whose key is gone; so that a key once destroyed is known.
  EXPECT_EQ(tables_with("ada-17"), "subject_key");
  EXPECT_EQ(sql("select octet_length(wrapped_key) from audit.subject_key where subject = 'ada-17'"), "0");
  EXPECT_EQ(sql("select count(*) from audit.sealed s join audit.subject_key k on k.id = s.key_id where "
                "k.subject = 'ada-17'"),
            "0");
  for (const std::uint64_t index : {0u, 2u, 3u}) {
    const auto view = entry(index);
    EXPECT_FALSE(view.envelope);
    for (const auto& group : view.groups) EXPECT_TRUE(group.erased && !group.opened);
  }
  EXPECT_EQ(entry(1).groups.front().opened->bytes, R"("a secret prompt")");
  EXPECT_EQ(fault(), "");
  // Its entry has its id, and names what went.
  const auto indexes = run(find_indexes(*database_, {done->id}, soon()));
  ASSERT_EQ(indexes->size(), 1u);
  const auto own = entry(indexes->front().second);
  EXPECT_EQ(own.envelope->event.reason, "article 17");
  EXPECT_EQ(own.envelope->event.actor.id, "legal");
  EXPECT_EQ(own.envelope->event.object.id, done->subject_digest);
  const auto details =
      json::parse(own.groups.front().opened->bytes, {.depth_max = 8, .size_bytes_max = 4'096});
  ASSERT_TRUE(details) << details.error().to_string();
  EXPECT_EQ(parse_time(details->at("at").as_string()), done->at);
  EXPECT_EQ(details->at("erased_by").as_string(), done->erased_by);
  const auto month = sql("select to_char(now() at time zone 'UTC', 'YYYY-MM')");
  EXPECT_THAT(own.groups.front().opened->bytes, HasSubstr(fmt::format("[3, \"{}\", \"0 2-3\"]", month)));
  const LogHead at = head();
  EXPECT_TRUE(run(prove_inclusion(
      *database_, 2, {.origin = "t", .size = at.size, .root = at.root, .extensions = {}}, soon())));

  // What comes afterwards is under a new key; and what is not there cannot be erased again.
  EXPECT_EQ(code_of(run(erase_subject(*database_, "acme", "nobody", "x", legal, soon()))), Code::not_found);
  const std::vector after{frame_of(sealed_event_of("acme", "ada-17"))};
  // The sequencer still remembers the old one, finds it destroyed, and is asked again by the drain.
  EXPECT_EQ(code_of(try_append(after)), Code::unavailable);
  append(after);
  EXPECT_EQ(entry(head().size - 1).groups.front().opened->bytes, R"("a secret prompt")");
  EXPECT_EQ(sql("select count(*), count(destroyed_at) from audit.subject_key where subject = 'ada-17'"),
            "2|1");
  EXPECT_EQ(erase("acme", "ada-17")->events, 1);
}

TEST_F(LifecycleTest, AnErasureOfMoreThanOneEntryNamesIsTwo) {
  std::vector<journal::Frame> frames;
  for (int i = 0; i < 1'502; ++i) {
    frames.push_back(frame_of(sealed_event_of("acme", "ada")));
    frames.push_back(frame_of(event_of()));
  }
  append(frames);
  const auto done = erase();
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(done->events, 1'502);
  append_pending();
  EXPECT_EQ(sql("select count(*) from audit.event where action = 'audit.erasure'"), "2");
  const auto last = entry(head().size - 1);
  ASSERT_TRUE(last.groups.front().opened);
  EXPECT_THAT(last.groups.front().opened->bytes, HasSubstr("\"3000 3002\""));
}

TEST_F(LifecycleTest, RotationWrapsEachKeyAnewAndCanGoOn) {
  append_pending();
  const auto first = head().size;
  for (const std::string subject : {"a", "b", "c", "d", "e"})
    append({frame_of(sealed_event_of("acme", subject))});
  ASSERT_TRUE(run(erase_subject(*database_, "acme", "e", "x", legal, soon())));
  append_pending();
  const auto [keys, newest] = rotated();
  EXPECT_EQ(code_of(run(get_entry(*database_, first, OpenGroups::yes, *newest, soon()))), Code::corrupt);
  EXPECT_EQ(code_of(run(rotate_subject_keys(*database_, newest, legal, soon()))), Code::corrupt);
  // The second batch fails, and the first stays.
  const auto broken = sql("select wrapped_key from audit.subject_key where subject = 'c'");
  sql("update audit.subject_key set wrapped_key = 'x' where subject = 'c'");
  EXPECT_EQ(code_of(run(rotate_subject_keys(*database_, keys, legal, soon(), 2))), Code::corrupt);
  EXPECT_EQ(sql("select count(*) from audit.subject_key where wrapped_by = decode('" +
                to_hex(as_bytes(keys->newest_id)) + "', 'hex')"),
            "2");
  sql("update audit.subject_key set wrapped_key = '" + broken + "' where subject = 'c'");
  const auto done = run(rotate_subject_keys(*database_, keys, legal, soon(), 2));
  ASSERT_TRUE(done) << done.error().to_string();
  // Those of the tenant default and of a were done; b, c, d, and the tenant's own of the erasure's entry were
  // not.
  EXPECT_EQ(done->keys, 4u);
  EXPECT_EQ(done->alive, 6u);
  EXPECT_EQ(run(rotate_subject_keys(*database_, keys, legal, soon()))->keys, 0u);
  append_pending();
  EXPECT_EQ(entries("audit.key_rotated"),
            "user:legal master_key 2 keys of subjects were wrapped anew\n"
            "user:legal master_key 2 keys of subjects were wrapped anew\n"
            "user:legal master_key 2 keys of subjects were wrapped anew");
  // The erasure of e's key and the two changes by hand; a key that is wrapped anew has none of its own.
  EXPECT_EQ(sql("select count(*) from audit.event where action = 'database.update' and object_type = "
                "'audit.subject_key'"),
            "3");
  // The new master key alone opens everything.
  for (std::uint64_t index = first; index < first + 4; ++index) {
    const auto view = run(get_entry(*database_, index, OpenGroups::yes, *newest, soon()));
    ASSERT_TRUE(view) << view.error().to_string();
    EXPECT_EQ(view->groups.front().opened->bytes, R"("a secret prompt")");
  }
  EXPECT_EQ(fault(), "");
}

}  // namespace
}  // namespace citadel::audit
