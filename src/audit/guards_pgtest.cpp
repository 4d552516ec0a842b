#include "audit/audit_pg_testing.hpp"
#include "audit/queries.hpp"

namespace citadel::audit {
namespace {

class GuardsTest : public AuditTest {
 protected:
  void SetUp() override {
    AuditTest::SetUp();
    append({frame_of(sealed_event_of("acme", "ada")), frame_of(event_of())});
  }
  std::string error_as_app(std::string_view statement) {
    const auto done = sql_as_app(statement);
    return done ? "" : std::string(done.error().sqlstate);
  }
};

TEST_F(GuardsTest, TheDaemonsRoleCanChangeNothing) {
  for (const std::string table : {"entry", "event", "sealed", "tile", "conflict", "erasure", "retention_run",
                                  "head", "hold", "subject_key", "pending", "entry_partition"}) {
    EXPECT_EQ(error_as_app("truncate audit." + table), "42501") << table;
    if (table != "pending") EXPECT_EQ(error_as_app("delete from audit." + table), "42501") << table;
  }
  for (const std::string change :
       {"update audit.entry set leaf = ''",
        "update audit.event set reason = 'x'",
        "update audit.sealed set ciphertext = ''",
        "update audit.tile set idx = 7",
        "update audit.tile set hashes = decode(repeat('00', 32), 'hex')",
        "update audit.head set size = 0",
        "update audit.head set root = sha256('x')",
        "update audit.head set fence = 0",
        "update audit.head set pending_producer = gen_random_uuid()",
        "update audit.subject_key set wrapped_key = ''",
        "update audit.pending set reason = 'x'",
        "update audit.conflict set record = ''",
        "insert into audit.pending (action, object_type, object) values ('a.b', 'c', 'd')",
        "insert into audit.erasure (events) values (1)",
        "insert into audit.hold (tenant, reason, placed_by) values ('a', 'b', 'c')",
        "update audit.hold set released_at = now(), released_by = 'x'",
        "update audit.subject_key set wrapped_by = null",
        "select audit.subject_digest('x')",
        "select audit.prune_entries(4194304, 'x', 'y')",
        "drop table audit.event_short",
        "alter table audit.entry disable trigger all",
        "select audit.attach('citadel.watermark', '{}')",
        "drop table audit.entry"}) {
    EXPECT_EQ(error_as_app(change), "42501") << change;
  }
  EXPECT_EQ(fault(), "");
}

TEST_F(GuardsTest, TheOwnersAccidentsAreRefused) {
  const auto month = sql("select to_char(now() at time zone 'UTC', 'YYYYMM')");
  for (const std::string change : {"update audit.entry set epoch = 1",
                                   "delete from audit.entry",
                                   "truncate audit.entry",
                                   "update audit.entry_000000 set epoch = 1",
                                   "delete from audit.entry_000000",
                                   "truncate audit.entry_000000",
                                   "update audit.event set reason = ''",
                                   "delete from audit.event",
                                   "truncate audit.event cascade",
                                   "delete from audit.event_extended",
                                   "truncate audit.event_extended",
                                   "delete from audit.sealed",
                                   "truncate audit.sealed",
                                   "delete from audit.tile",
                                   "truncate audit.tile",
                                   "delete from audit.head",
                                   "truncate audit.head",
                                   "truncate audit.pending",
                                   "update audit.pending set reason = ''",
                                   "delete from audit.conflict",
                                   "delete from audit.hold",
                                   "truncate audit.hold",
                                   "delete from audit.erasure",
                                   "delete from audit.retention_run"}) {
    EXPECT_THAT(sql(change), HasSubstr("42501")) << change;
  }
  EXPECT_THAT(sql("delete from audit.event_extended_" + month), HasSubstr("append-only"));
  EXPECT_THAT(sql("truncate audit.event_extended_" + month), HasSubstr("append-only"));
  EXPECT_THAT(sql("truncate audit.sealed_extended_" + month), HasSubstr("append-only"));
  // Where triggers of replication only would fire, ours do all the same.
  const auto before = sql("select count(*) from audit.entry");
  servers_.sql_as_superuser(
      fmt::format("\\c {}\nset session_replication_role = replica; do $$ begin delete from audit.entry; "
                  "exception when insufficient_privilege then null; end $$;",
                  name_));
  EXPECT_EQ(sql("select count(*) from audit.entry"), before);
  EXPECT_EQ(fault(), "");
}

// A table that is new needs a decision: it is watched, or it stands here with those of which nobody decides
// anything.
TEST_F(GuardsTest, EachTableIsWatchedOrItsRowsAreNobodysDecision) {
  const std::vector<std::string> watched{
      "access.api_key",    "access.principal",          "access.tenant",
      "audit.hold",        "audit.subject_key",         "citadel.dead_letter",
      "citadel.migration", "citadel.schema_definition", "usage.request_conflict"};
  const std::string in_schemas =
      "from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname not in ('pg_catalog', "
      "'information_schema', 'pg_toast') and c.relkind in ('r', 'p') and not c.relispartition and {} exists "
      "(select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'audit_change' and t.tgenabled = "
      "'A')";
  const auto listed = [&](std::string_view negated) {
    return sql("select string_agg(n.nspname || '.' || c.relname, ' ' order by n.nspname, c.relname) " +
               fmt::format(fmt::runtime(in_schemas), negated));
  };
  EXPECT_EQ(listed(""), fmt::format("{}", fmt::join(watched, " ")));
  EXPECT_EQ(
      listed("not"),
      // How daemons notice a change that has its own entry.
      "access.state "
      // The trail itself, which is append-only and makes its own entries.
      "audit.conflict audit.entry audit.entry_partition audit.erasure audit.event audit.head audit.pending "
      "audit.retention_run audit.sealed audit.tile "
      // What the daemon writes as a matter of course.
      "citadel.commit_marker citadel.verify_probe citadel.watermark usage.model usage.request "
      "usage.rollup_day "
      "usage.rollup_hour usage.rollup_minute usage.rollup_pruned usage.tenant");
}

TEST_F(GuardsTest, ARowThatSomebodyChangesInPsqlIsAnEntry) {
  append_pending();
  servers_.sql_as_superuser(
      fmt::format("\\c {}\ncreate role mallory login superuser; set session authorization mallory; "
                  "insert into citadel.migration values (99, 'sneaky', 'x'); "
                  "update citadel.migration set name = 'sneakier' where version = 99; "
                  "update citadel.migration set name = name where version = 99; "
                  "delete from citadel.migration where version = 99; reset session authorization; "
                  "drop role mallory;",
                  name_));
  EXPECT_EQ(append_pending(), 3u);
  EXPECT_EQ(fault(), "");
  const auto last = head().size - 1;
  const auto changed = run(get_entry(*database_, last - 1, OpenGroups::yes, *keys_, soon()));
  ASSERT_TRUE(changed) << changed.error().to_string();
  ASSERT_TRUE(changed->envelope);
  const Event& event = changed->envelope->event;
  EXPECT_EQ(event.action, "database.update");
  EXPECT_EQ(event.actor.type, "database_role");
  EXPECT_EQ(event.actor.id, "mallory");
  EXPECT_EQ(event.object.type, "citadel.migration");
  EXPECT_EQ(event.object.id, "99");
  ASSERT_EQ(changed->groups.size(), 1u);
  ASSERT_TRUE(changed->groups[0].opened);
  EXPECT_THAT(changed->groups[0].opened->bytes, HasSubstr(R"("before" : {"name": "sneaky")"));
  EXPECT_THAT(changed->groups[0].opened->bytes, HasSubstr(R"("after" : {"name": "sneakier")"));
  EXPECT_EQ(changed->leaf.producer, head().pending_producer);
  EXPECT_EQ(changed->leaf.epoch, 1u);
}

TEST_F(GuardsTest, SecretColumnsStayOutAndLongRowsAreCut) {
  sql("create table public.thing (id int primary key, tenant text, secret text, note text); "
      "select audit.attach('public.thing', '{secret}')");
  append_pending();
  sql("insert into public.thing values (1, 'acme', 'hunter2', repeat('x', 30000)); truncate public.thing");
  EXPECT_EQ(append_pending(), 2u);
  const auto found = run(get_entry(*database_, head().size - 2, OpenGroups::yes, *keys_, soon()));
  ASSERT_TRUE(found && found->groups.size() == 1 && found->groups[0].opened);
  const std::string& details = found->groups[0].opened->bytes;
  EXPECT_THAT(details, testing::Not(HasSubstr("hunter2")));
  EXPECT_THAT(details, testing::Not(HasSubstr("xxxx")));
  EXPECT_THAT(details, HasSubstr(R"("bytes": 30002)"));
  EXPECT_EQ(found->envelope->event.tenant, "acme");
  EXPECT_EQ(sql("select action, object from audit.event order by time desc, idx desc limit 1"),
            "database.truncate|all rows");
  EXPECT_THAT(sql("select audit.attach('public.thing', '{nothing}')"), HasSubstr("42703"));
}

// Whatever becomes of a key in psql is in the log, and of whom it was is not.
TEST_F(GuardsTest, AKeyThatSomebodyChangesIsAnEntryWithoutItsSubject) {
  append({frame_of(sealed_event_of("acme", "ada-17"))});
  append_pending();
  const auto row =
      sql("select id, encode(wrapped_key, 'hex') from audit.subject_key where subject = 'ada-17'");
  const auto id = row.substr(0, row.find('|')), key = row.substr(row.find('|') + 1);
  sql("update audit.subject_key set wrapped_key = '\\x00' where subject = 'ada-17'");
  sql("update audit.subject_key set subject = 'eve-17' where subject = 'ada-17'");
  sql("delete from audit.subject_key where subject = 'eve-17'");
  sql("truncate audit.subject_key");
  EXPECT_EQ(sql("select action, object_type, object, tenant from audit.pending order by number"),
            fmt::format("database.update|audit.subject_key|{0}|acme\n"
                        "database.update|audit.subject_key|{0}|acme\n"
                        "database.delete|audit.subject_key|{0}|acme\n"
                        "database.truncate|audit.subject_key|all rows|default",
                        id));
  const auto waiting = sql("select string_agg(p::text, ' ') from audit.pending p");
  EXPECT_THAT(waiting, HasSubstr("destroyed_at"));
  for (const auto& secret : {std::string("ada-17"), std::string("eve-17"), key, std::string("wrapped_key")})
    EXPECT_THAT(waiting, testing::Not(HasSubstr(secret)));
  EXPECT_EQ(append_pending(), 4u);
}

TEST_F(GuardsTest, TheActorThatTheDaemonNamesIsBelievedFromTheDaemonAlone) {
  append_pending();
  ASSERT_TRUE(run(database_->transact<bool>(
      soon(), store::Intent::write, {.name = "test"}, [&](pg::Transaction& tx) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await tx.set_local("citadel.actor", "user:alice", soon()));
        CITADEL_CO_TRY(co_await tx.set_local("citadel.request_id", "req-7", soon()));
        CITADEL_CO_TRY(co_await tx.execute_simple(
            "select audit.place_hold('acme', null, null, null, null, null, 'a case', 'alice')", soon()));
        co_return true;
      })));
  sql("begin; set local citadel.actor = 'user:alice'; "
      "insert into audit.hold (tenant, reason, placed_by) values ('acme', 'another', 'bob'); commit");
  EXPECT_EQ(append_pending(), 3u);
  EXPECT_EQ(sql("select actor_type, actor, request_id from audit.event where object_type = 'audit.hold' "
                "order by idx"),
            "user|alice|req-7\ndatabase_role|citadel_owner|null");
  EXPECT_EQ(fault(), "");
}

TEST_F(GuardsTest, PendingRowsLeaveOnlyWhenTheyAreInTheLog) {
  append_pending();
  sql("insert into citadel.migration values (98, 'x', 'y')");
  EXPECT_EQ(error_as_app("delete from audit.pending"), "42501");
  EXPECT_THAT(sql("delete from audit.pending"), HasSubstr("not in the audit log yet"));
  EXPECT_EQ(append_pending(), 1u);
  EXPECT_EQ(sql("select count(*) from audit.pending"), "0");
}

TEST_F(GuardsTest, AChangeThatIsRolledBackLeavesNoEntry) {
  append_pending();
  sql("begin; insert into citadel.migration values (97, 'x', 'y'); rollback");
  EXPECT_EQ(append_pending(), 0u);
}

TEST_F(GuardsTest, ErasureTakesTheContentAndLeavesTheProof) {
  append_pending();
  // What a rotation says of itself does not help here.
  ASSERT_TRUE(
      sql_as_app("select set_config('citadel.audit_rewrapping', 'on', true); "
                 "select audit.erase_subject('acme', 'ada', 'article 17', 'dpo')"));
  EXPECT_EQ(append_pending(), 2u);  // its own, and that of the key
  EXPECT_EQ(fault(), "");
  const auto view = run(get_entry(*database_, 0, OpenGroups::yes, *keys_, soon()));
  ASSERT_TRUE(view) << view.error().to_string();
  EXPECT_FALSE(view->envelope);
  ASSERT_EQ(view->groups.size(), 2u);
  EXPECT_TRUE(view->groups[0].erased);
  EXPECT_EQ(sql("select octet_length(wrapped_key), destroyed_at is not null from audit.subject_key where "
                "subject = 'ada'"),
            "0|t");
  EXPECT_EQ(sql("select events, groups, keys, tenant, reason, erased_by from audit.erasure"),
            "1|2|1|acme|article 17|dpo");
  EXPECT_EQ(sql("select reason, object = encode(sha256('ada'), 'hex') from audit.event where action = "
                "'audit.erasure'"),
            "article 17|t");
  const LogHead found = head();
  EXPECT_TRUE(run(prove_inclusion(
      *database_, 0, {.origin = "t", .size = found.size, .root = found.root, .extensions = {}}, soon())));
}

TEST_F(GuardsTest, AHoldKeepsWhatItNames) {
  sql("insert into audit.hold (subject, reason, placed_by) values ('ada', 'a case', 'legal')");
  EXPECT_EQ(error_as_app("select audit.erase_subject('acme', 'ada', 'article 17', 'dpo')"), "55006");
  sql("update audit.hold set released_at = now(), released_by = 'legal'");
  for (const std::string hold :
       {"(object_type, object, reason, placed_by) values ('model_version', 'fraud/7', 'x', 'y')",
        "(time_from, reason, placed_by) values (now() - interval '1 day', 'x', 'y')",
        "(tenant, reason, placed_by) values ('acme', 'x', 'y')"}) {
    sql("insert into audit.hold " + hold);
    EXPECT_EQ(error_as_app("select audit.erase_subject('acme', 'ada', 'article 17', 'dpo')"), "55006")
        << hold;
    sql("update audit.hold set released_at = now(), released_by = 'legal' where released_at is null");
  }
  sql("insert into audit.hold (tenant, reason, placed_by) values ('other', 'x', 'y')");
  EXPECT_EQ(error_as_app("select audit.erase_subject('acme', 'ada', 'article 17', 'dpo')"), "");
}

TEST_F(GuardsTest, PartitionsAreMadeOnceAndOnlyForWhatMayBeRecorded) {
  EXPECT_EQ(sql("select audit.ensure_event_partitions('{1,2}', '{2026-03-31,2026-03-01}')"), "4");
  EXPECT_EQ(sql("select audit.ensure_event_partitions('{1,2}', '{2026-03-15,2026-03-02}')"), "0");
  EXPECT_THAT(sql("select audit.ensure_event_partitions('{4}', '{2026-03-15}')"), HasSubstr("22023"));
  EXPECT_THAT(sql("select audit.ensure_event_partitions('{1}', '1969-12-01'::date || '{}'::date[])"),
              HasSubstr("22023"));
  EXPECT_EQ(sql("select count(*) from audit.entry_partition"), "1");
  sql("alter table audit.head disable trigger only_grows; update audit.head set size = 4194304 - 100");
  EXPECT_EQ(sql("select audit.ensure_entry_partitions(1000)"), "8388608");
  EXPECT_EQ(sql("select audit.ensure_entry_partitions(1000)"), "8388608");
  EXPECT_THAT(sql("truncate audit.entry_000001"), HasSubstr("append-only"));
}

}  // namespace
}  // namespace citadel::audit
