// Migrations of a trail that has events already.
#include "audit/audit_pg_testing.hpp"
#include "audit/search.hpp"
#include "store/migrations.hpp"

namespace citadel::audit {
namespace {

constexpr std::size_t before_leftovers = 6;

class MigrationTest : public AuditTest {
 protected:
  void migrate_to(std::size_t version, int applied) {
    const auto owner = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
    ASSERT_TRUE(owner) << owner.error().to_string();
    const auto done = run(store::migrate(**owner, store::embedded_migrations().first(version), soon(), {}));
    ASSERT_TRUE(done) << done.error().to_string();
    EXPECT_EQ(*done, applied);
  }
};

// What version 6 wrote is kept, found by its words, and, where its class is not known, kept as long as any.
TEST_F(MigrationTest, EventsAndConflictsOfVersionSixArePutIntoTheNewForms) {
  const Event event = minimal_event();
  const std::string envelope = encode_envelope(event);
  ASSERT_TRUE(run(database_->close(soon())));
  database_.reset();
  name_ = servers_.new_database();
  migrate_to(before_leftovers, before_leftovers);
  sql("select audit.ensure_event_partitions(array[1]::int2[], array['2026-03-01']::date[])");
  sql(
      fmt::format("insert into audit.event select i, timestamptz '2026-03-02' + i * interval '1 s', now(), "
                  "audit.new_id(), 1, 3, 1, 1, null, 'acme', 'user', 'ada', 'inference.complete', 'model', "
                  "'m/' || i % 7, null, '', 'rare' || i, decode(repeat('00', 32), 'hex'), '\\x{}' "
                  "from generate_series(1, 1000) i",
                  to_hex(as_bytes(envelope))));
  sql("insert into audit.conflict values (7, now(), audit.new_id(), 'acme', 'ada', '\\x00')");
  migrate_to(store::embedded_migrations().size(),
             static_cast<int>(store::embedded_migrations().size() - before_leftovers));
  EXPECT_EQ(sql("select kept_in, retention, events from audit.leftover_months(array[86400, 86400, 86400])"),
            "audit.conflict|3|1");
  EXPECT_EQ(sql("select count(*) from audit.event"), "1000");
  EXPECT_EQ(sql(fmt::format("set enable_seqscan = off; select idx from audit.event where {} @@ "
                            "plainto_tsquery('simple'::regconfig, 'rare500')",
                            words_sql)),
            "500");
}

}  // namespace
}  // namespace citadel::audit
