// What the tests against real servers share: a migrated database for each test, reached as the daemon reaches
// it, frames to append, and the log read back and verified.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>

#include "aio/run.hpp"
#include "aio/wait.hpp"
#include "audit/audit_testing.hpp"
#include "audit/catalogue.hpp"
#include "audit/lifecycle.hpp"
#include "audit/retention.hpp"
#include "audit/sequencer.hpp"
#include "audit/sink.hpp"
#include "journal/journal.hpp"
#include "store/migrated_testing.hpp"
#include "support/servers.hpp"
#include "support/temp_folder.hpp"

namespace citadel::audit {

using namespace std::chrono_literals;
using drain::Origin;
using drain::SinkOutcome;
using testing::ElementsAre;
using testing::HasSubstr;

// As retention keeps the three classes where nothing else is said, and who asks for what is asked for.
inline constexpr KeepTimes keep{std::chrono::days(184), std::chrono::days(366), std::chrono::days(2192)};
inline const Caller legal{.actor = "user:legal", .from = "10.0.0.7", .request_id = "req-9"};

inline Deadline soon() {
  return Deadline::after(60s);
}

inline pg::ConnectOptions as_role(const local::Endpoint& endpoint, std::string_view role,
                                  const Secret& password, pg::Route route, const std::string& database) {
  pg::ConnectOptions out;
  out.host = endpoint.host;
  out.port = endpoint.port;
  out.database = database;
  out.user = role;
  out.password = password;
  out.route = route;
  return out;
}

// A migrated database of its own for each test, through Pgpool-II, as citadel_app.
class AuditTest : public testing::Test {
 protected:
  void SetUp() override {
    store::Options options;
    options.pool.connect =
        as_role(servers_->pooled(), local::app_role, servers_->app_password(), pg::Route::pgpool, name_);
    options.pool.size_min = 1;
    database_.emplace(context_.get_executor(), options, system_clock(), 1);
    ASSERT_TRUE(run(database_->start(soon())));
    permit_->grant(0, tlog::empty_root());
  }
  void TearDown() override {
    if (database_) EXPECT_TRUE(run(database_->close(soon())));
  }

  template <class T>
  T run(Task<T> task) {
    return aio::run(context_, std::move(task));
  }
  pg::ConnectOptions owner_options() {
    return as_role(servers_->direct(), local::owner_role, servers_->owner_password(), pg::Route::direct,
                   name_);
  }
  // What the schema's owner sees: rows as text, fields by '|', rows by '\n'; or the error.
  std::string sql(std::string_view statement) {
    const auto owner = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
    if (!owner) return owner.error().to_string();
    const auto rows = run((*owner)->execute_simple(statement, soon()));
    if (!rows) return rows.error().to_string();
    std::string out;
    for (const pg::Row row : *rows) {
      if (!out.empty()) out += '\n';
      for (int i = 0; i < rows->columns(); ++i)
        out += (i ? "|" : "") +
               (row.is_null(i) ? std::string("null") : std::string(row.get<std::string_view>(i)));
    }
    return out;
  }
  // The first field, from a session and a thread of its own.
  std::future<std::string> sql_meanwhile(std::string statement) {
    return std::async(std::launch::async, [options = owner_options(), statement = std::move(statement)] {
      asio::io_context context{1};
      const auto owner = aio::run(context, pg::Connection::connect(context.get_executor(), options, soon()));
      if (!owner) return owner.error().to_string();
      const auto rows = aio::run(context, (*owner)->execute_simple(statement, soon()));
      if (!rows) return rows.error().to_string();
      return std::string((*rows)[0].get<std::string_view>(0));
    });
  }
  // A session that keeps what it locks until it is told to commit.
  std::unique_ptr<pg::Connection> session_with(std::string_view statements) {
    auto owner = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
    EXPECT_TRUE(owner) << owner.error().to_string();
    const auto done = run((*owner)->execute_simple(fmt::format("begin; {}", statements), soon()));
    EXPECT_TRUE(done) << done.error().to_string();
    return *std::move(owner);
  }
  // Until somebody waits for a lock in this database.
  void wait_for_a_waiter() {
    const auto deadline = soon();
    while (sql("select count(*) from pg_locks l join pg_database d on d.oid = l.database where not l.granted "
               "and d.datname = current_database()") == "0") {
      ASSERT_FALSE(deadline.expired());
      run(aio::sleep_for(5ms));  // sleep: the server tells nobody that somebody waits
    }
  }
  // The same as the daemon's role; "" where it succeeds without rows.
  Result<pg::Rows> sql_as_app(std::string_view statement) {
    return run(database_->transact<pg::Rows>(
        soon(), store::Intent::write, {.name = "test"},
        [&](pg::Transaction& tx) { return tx.execute_simple(statement, soon()); }));
  }

  journal::Frame frame_of(const Event& event, const Origin& origin) {
    const auto action = find_action(event.action);
    EXPECT_TRUE(action) << event.action;
    const Record record = seal_event(event, *action, keys_->journal.front());
    return {{origin.epoch, ++sequences_[origin.producer]},
            journal::Kind::audit_event,
            event.id,
            encode_record(record)};
  }
  journal::Frame frame_of(const Event& event) { return frame_of(event, origin_); }
  // A fresh event of now.
  Event event_of(std::string tenant = "default", std::string action = "model_version.create") {
    Event event = minimal_event();
    event.time = event.received_at = system_clock().wall();
    event.id = new_uuid7(event.time, random_);
    event.tenant = std::move(tenant);
    event.action = std::move(action);
    return event;
  }
  Event sealed_event_of(std::string tenant, std::string subject) {
    Event event = event_of(std::move(tenant));
    event.subject = std::move(subject);
    event.group(Group::prompt) = R"("a secret prompt")";
    event.group(Group::details) = R"({"a":1})";
    return event;
  }

  Task<Result<SinkOutcome>> append_with(drain::Sink& sink, Origin origin, std::vector<journal::Frame> frames,
                                        std::optional<Error> then_fail = {}) {
    CITADEL_CO_TRY(co_await sink.prepare(*database_, frames, soon()));
    co_return co_await database_->transact<SinkOutcome>(
        soon(), store::Intent::write, {.name = "test drain", .attempts_max = 1},
        [&](pg::Transaction& tx) -> Task<Result<SinkOutcome>> {
          auto outcome = co_await sink.write(tx, origin, frames, soon());
          if (outcome && then_fail) co_return std::unexpected(*then_fail);
          co_return outcome;
        });
  }
  Result<SinkOutcome> try_append(const std::vector<journal::Frame>& frames) {
    return run(append_with(*sink_, origin_, frames));
  }
  SinkOutcome append(const std::vector<journal::Frame>& frames) {
    const auto outcome = try_append(frames);
    EXPECT_TRUE(outcome) << outcome.error().to_string();
    return outcome.value_or(SinkOutcome{});
  }
  std::uint64_t append_pending() {
    const auto taken = run(sequencer_.append_pending(*database_, origin_, soon()));
    EXPECT_TRUE(taken) << taken.error().to_string();
    return taken.value_or(0);
  }

  LogHead head() {
    const auto found = run(read_head(*database_, soon()));
    EXPECT_TRUE(found) << found.error().to_string();
    return found.value_or(LogHead{});
  }

  // What is wrong with the log as the owner sees it; "" where nothing is. Counts indexes and sequences,
  // hashes every leaf, compares the root and every tile.
  std::string fault() {
    const auto owner = run(pg::Connection::connect(context_.get_executor(), owner_options(), soon()));
    if (!owner) return owner.error().to_string();
    constexpr pg::Statement all{
        "test entries",
        "select e.idx, e.leaf, e.producer, e.epoch, e.sequence, e.id, v.salt, v.envelope "
        "from audit.entry e left join audit.event v on v.time = e.time and v.idx = e.idx and "
        "v.retention = e.retention order by e.idx"};
    const auto rows = run((*owner)->execute(all, {}, soon()));
    if (!rows) return rows.error().to_string();
    tlog::CompactRange range;
    std::vector<tlog::Hash> hashes;
    std::map<std::pair<Uuid, std::uint64_t>, std::uint64_t> last;
    for (const pg::Row row : *rows) {
      const auto place = fmt::format("entry {}: ", range.size());
      if (row.get<std::int64_t>(0) != static_cast<std::int64_t>(range.size())) return place + "index";
      const auto leaf = decode_leaf(row.get<Bytes>(1));
      if (!leaf) return place + leaf.error().to_string();
      if (leaf->producer != row.get<Uuid>(2) || leaf->id != row.get<Uuid>(5)) return place + "columns";
      auto& before = last[{leaf->producer, leaf->epoch}];
      if (leaf->sequence != before + 1)
        return place + fmt::format("sequence {} after {}", leaf->sequence, before);
      before = leaf->sequence;
      if (!row.is_null(6)) {
        Salt salt;
        const auto stored = row.get<Bytes>(6);
        std::copy(stored.begin(), stored.end(), salt.begin());
        if (commit(Group::envelope, salt, row.get<Bytes>(7)) != leaf->commitments.front().digest)
          return place + "envelope";
      }
      hashes.push_back(tlog::leaf_hash(row.get<Bytes>(1)));
      range.append(hashes.back());
    }
    const LogHead found = head();
    if (found.size != range.size()) return fmt::format("the head has {} of {}", found.size, range.size());
    if (found.root != range.root()) return "the head's root";
    std::vector<tlog::TileId> ids;
    for (std::uint8_t level = 0; tlog::tile_width(level, 0, range.size()) > 0; ++level) {
      for (std::uint64_t i = 0; const auto width = tlog::tile_width(level, i, range.size()); ++i)
        ids.push_back({level, i, width});
    }
    const auto tiles = run(read_tiles(*database_, ids, soon()));
    if (!tiles) return tiles.error().to_string();
    tlog::TileHashReader reader(range.size(), tile_source(*tiles));
    const auto root = tlog::read_root(reader, range.size());
    return root && *root == range.root() ? "" : "the tiles";
  }

  // The keys once a master key was added before those that are there, and once those are gone.
  struct Rotated {
    std::shared_ptr<const AuditKeys> both, newest;
  };
  Rotated rotated() {
    masters_.insert(masters_.begin(), crypto::AesGcmKey::generate());
    return {AuditKeys::derive(masters_), AuditKeys::derive(std::span(masters_).first(1))};
  }

  support::Servers& servers_ = support::shared_servers();
  std::string name_ = store::migrated_database(servers_);
  asio::io_context context_{1};
  std::optional<store::Database> database_;
  std::vector<crypto::AesGcmKey> masters_ = [] {
    std::vector<crypto::AesGcmKey> masters;
    masters.push_back(crypto::AesGcmKey::generate());
    return masters;
  }();
  std::shared_ptr<const AuditKeys> keys_ = AuditKeys::derive(masters_);
  std::shared_ptr<GrowthPermit> permit_ = std::make_shared<GrowthPermit>();
  Sequencer sequencer_{keys_, permit_, {}, system_clock()};
  std::unique_ptr<drain::Sink> sink_ = make_audit_sink(sequencer_);
  const Origin origin_{Uuid{{1, 2, 3}}, 1};
  std::map<Uuid, std::uint64_t> sequences_;
  SeededRandom random_{42};
};

}  // namespace citadel::audit
