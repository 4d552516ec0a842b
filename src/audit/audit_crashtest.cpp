// kill -9 at each step from an acknowledgement to a signed checkpoint, with real PostgreSQL: at the named
// points of drain, publisher and checkpoint store, and before and after each statement that goes to
// the database, each BEGIN, COPY and COMMIT of the sequencer's transactions among them. Afterwards each
// acknowledged event, and each change that a trigger saw, is in the log once, and the log verifies.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <set>

#include "audit/audit_pg_testing.hpp"
#include "audit/publisher.hpp"
#include "audit/queries.hpp"
#include "base/crash_point.hpp"
#include "drain/drain.hpp"
#include "support/process.hpp"

namespace citadel::audit {
namespace {

constexpr int producers = 3, groups_each = 2, events_a_group = 3;
constexpr std::string_view log_name = "test/log";

// The child must have the parent's keys, and it has no other way to them.
std::shared_ptr<const AuditKeys> test_keys() {
  std::array<std::byte, crypto::AesGcmKey::size_bytes> bytes{};
  bytes.fill(std::byte{7});
  std::vector<crypto::AesGcmKey> masters;
  masters.emplace_back(bytes);
  return AuditKeys::derive(masters);
}

struct Places {
  std::string folder, signing_key, host, port, route, database, password;

  static constexpr const char* variable = "CITADEL_TEST_AUDIT_CRASH";
  std::string encode() const {
    return fmt::format("{}|{}|{}|{}|{}|{}|{}", folder, signing_key, host, port, route, database, password);
  }
  static Places decode(std::string_view text) {
    Places places;
    for (std::string* field : {&places.folder, &places.signing_key, &places.host, &places.port, &places.route,
                               &places.database, &places.password}) {
      const auto end = text.find('|');
      *field = text.substr(0, end);
      text.remove_prefix(end == text.npos ? text.size() : end + 1);
    }
    return places;
  }
};

// One write(2) of less than PIPE_BUF bytes: the parent sees a whole line or none.
void say(const std::string& line) {
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::_Exit(3);
}

Event event_to_log(Random& random, bool sealed) {
  Event event = minimal_event();
  event.time = event.received_at = system_clock().wall();
  event.id = new_uuid7(event.time, random);
  if (sealed) event.group(Group::prompt) = R"("a secret")";
  return event;
}

// A producer: groups of events, each told when it is acknowledged.
void produce(journal::Journal& journal, const AuditKeys& keys) {
  SeededRandom random(random_seed());
  for (int group = 0; group < groups_each; ++group) {
    std::vector<journal::Record> records;
    std::string told;
    for (int i = 0; i < events_a_group; ++i) {
      const Event event = event_to_log(random, i == 0);
      const auto sealed = seal_event(event, find_action(event.action).value(), keys.journal.front());
      records.push_back({.kind = journal::Kind::audit_event,
                         .shed = journal::Class::critical,
                         .id = event.id,
                         .payload = encode_record(sealed)});
      told += fmt::format("event {}\n", event.id.to_string());
    }
    std::promise<Result<journal::Position>> done;
    journal.append(std::move(records),
                   [&](Result<journal::Position> result) { done.set_value(std::move(result)); });
    if (!done.get_future().get()) std::_Exit(4);
    say(told);
  }
}

journal::Options journal_options(const std::string& folder) {
  journal::Options options;
  options.folder = folder + "/journal";
  options.segment_bytes = 8'192;
  options.payload_bytes_max = 2'048;
  options.size_bytes_max = 64 << 20;
  return options;
}

// A change that a function and a trigger write into audit.pending.
Task<Result<void>> place_hold(store::Database& database) {
  constexpr pg::Statement place{"test hold",
                                "select audit.place_hold('acme', null, null, null, null, null, 'r', 'test')"};
  CITADEL_CO_ASSIGN(const auto id, co_await database.transact<Uuid>(
                                       soon(), store::Intent::write, {.name = "test hold"},
                                       [&](pg::Transaction& transaction) -> Task<Result<Uuid>> {
                                         CITADEL_CO_ASSIGN(const pg::Rows rows,
                                                           co_await transaction.execute(place, {}, soon()));
                                         co_return rows[0].get<Uuid>(0);
                                       }));
  say(fmt::format("hold {}\n", id.to_string()));
  co_return Result<void>();
}

// What a daemon does, in small: takes the journal, logs what is in it and what comes, signs.
Task<Result<void>> live(store::Database& database, journal::Journal& journal, const Places& places) {
  CITADEL_CO_TRY(co_await database.start(soon()));
  const auto keys = test_keys();
  const auto permit = std::make_shared<GrowthPermit>();
  Sequencer sequencer(keys, permit, {}, system_clock());
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  sinks.push_back(make_audit_sink(sequencer));
  drain::Drain drain(database, journal, std::move(sinks), {.batch_rows = 8, .interval = 1ms}, system_clock(),
                     1);
  CITADEL_CO_ASSIGN(auto store, CheckpointStore::open(places.folder + "/checkpoint", 0s));
  const auto epoch = journal.status().epoch;
  Publisher publisher(
      database, sequencer, permit, std::move(store), *tlog::NoteSigner::parse(Secret(places.signing_key)), {},
      {.origin = std::string(log_name), .journal = {journal.status().producer, epoch}, .interval = 5ms},
      system_clock());
  drain.on_drained([&](journal::Position position) { publisher.drained(position); });
  publisher.start();
  drain.start();
  std::vector<std::jthread> threads;
  for (int i = 0; i < producers; ++i) threads.emplace_back([&] { produce(journal, *keys); });
  auto placed = co_await place_hold(database);
  // Within the journal's own epoch all events of the producers.
  const journal::Position last{epoch, producers * groups_each * events_a_group};
  auto drained = co_await publisher.wait_drained(last, soon());
  CITADEL_CO_TRY(co_await drain.close(soon()));
  CITADEL_CO_TRY(co_await publisher.close(soon()));
  CITADEL_CO_TRY(placed);
  co_return drained;
}

// This program again as the one that dies.
TEST(AuditCrashChild, DISABLED_Life) {
  const char* const text = std::getenv(Places::variable);
  ASSERT_NE(text, nullptr);
  const Places places = Places::decode(text);
  auto journal = journal::Journal::open(journal_options(places.folder), system_clock());
  ASSERT_TRUE(journal) << journal.error().to_string();
  ASSERT_TRUE((*journal)->damage().empty()) << (*journal)->damage()[0].reason;
  asio::io_context context{1};
  store::Options options;
  local::Endpoint endpoint;
  endpoint.host = places.host;
  endpoint.port = static_cast<std::uint16_t>(std::stoi(places.port));
  options.pool.connect =
      as_role(endpoint, local::app_role, Secret(places.password),
              places.route == "direct" ? pg::Route::direct : pg::Route::pgpool, places.database);
  options.pool.size_min = 1;
  options.pool.size_max = 2;  // a session takes longer to open than all else in a life
  store::Database database(context.get_executor(), options, system_clock(), 1);
  const auto lived = aio::run(context, live(database, **journal, places));
  ASSERT_TRUE(lived) << lived.error().to_string();
  ASSERT_TRUE(aio::run(context, database.close(soon())));
  journal->reset();
  say("done\n");
}

// Of CITADEL_CRASH_POINTS; a life takes a hundred times as long as one of the journal alone.
constexpr std::uint64_t share = 5;
std::uint64_t crashes_wanted() {
  const char* const text = std::getenv("CITADEL_CRASH_POINTS");
  return text == nullptr ? 1'000 : std::strtoull(text, nullptr, 10);
}

class AuditCrash : public AuditTest {
 protected:
  struct Life {
    bool killed = false, done = false;
    std::string said;
  };

  Life live(const std::string& crash_point) {
    // Every fourth through Pgpool-II, by which a session takes twice the CPU time; each of the
    // lives of system.audit_crash_points goes through it.
    const bool pooled = ++lives_ % 4 == 0;
    const auto endpoint = pooled ? servers_->pooled() : servers_->direct();
    const Places places{.folder = folder_.path(),
                        .signing_key = std::string(signing_key_.reveal()),
                        .host = endpoint.host,
                        .port = std::to_string(endpoint.port),
                        .route = pooled ? "pgpool" : "direct",
                        .database = name_,
                        .password = std::string(servers_->app_password().reveal())};
    support::ProcessOptions options{.environment = {{Places::variable, places.encode()}}};
    if (!crash_point.empty()) options.environment.emplace_back("CITADEL_CRASH_POINT", crash_point);
    const auto ended = support::run_process(
        {"/proc/self/exe", "--gtest_also_run_disabled_tests", "--gtest_filter=AuditCrashChild.DISABLED_Life"},
        "", Deadline::after(60s), options);
    std::istringstream words(ended.out);
    bool done = false;
    for (std::string word, id; words >> word;) {
      if (word == "done") done = true;
      if (word == "event" && words >> id) events_.push_back(id);
      if (word == "hold" && words >> id) holds_.push_back(id);
    }
    return {ended.status == -SIGKILL, done && ended.status == 0, ended.out + ended.err};
  }

  // A last life to the end; then the log has all that was ever acknowledged, and verifies.
  void verify(const std::string& story) {
    const Life last = live("");
    ASSERT_TRUE(last.done) << story << last.said;
    EXPECT_EQ(sql("select count(*) from audit.pending"), "0") << story;
    // Nothing came twice, so nothing stands in the place of a repeat or of what cannot be read.
    EXPECT_EQ(sql("select count(*) from audit.event where action like 'audit.%' and action <> "
                  "'audit.hold_placed'"),
              "0")
        << story;
    std::map<std::string, int> logged, changes;
    count_words(sql("select id from audit.entry"), logged);
    count_words(sql("select object from audit.event where action = 'database.insert' and object_type = "
                    "'audit.hold'"),
                changes);
    for (const auto& id : events_) ASSERT_EQ(logged[id], 1) << story << ": event " << id;
    for (const auto& id : holds_) ASSERT_EQ(changes[id], 1) << story << ": hold " << id;
    verify_log(story);
  }

  void verify_log(const std::string& story) {
    const auto signer = tlog::NoteSigner::parse(signing_key_);
    auto store = CheckpointStore::open(folder_.path() / "checkpoint");
    ASSERT_TRUE(store) << story << store.error().to_string();
    const auto stored = store->load();
    ASSERT_TRUE(stored && *stored) << story;
    auto verifier = Verifier::make(
        {.policy = {.origin = std::string(log_name), .log_keys = {signer->verifier()}, .witnesses = {}},
         .older_checkpoint = older_});
    ASSERT_TRUE(verifier) << story << verifier.error().to_string();
    const auto size = (*stored)->checkpoint.size;
    while (verifier->next_index() < size) {
      const auto count = std::min<std::uint64_t>(entries_page_max, size - verifier->next_index());
      const auto page =
          run(read_entries(*database_, verifier->next_index(), count, OpenGroups::yes, *test_keys(), soon()));
      ASSERT_TRUE(page) << story << page.error().to_string();
      ASSERT_FALSE(page->empty()) << story;
      for (const EntryView& view : *page) {
        const auto groups = exported_groups(view);
        const auto fed = verifier->feed(exported_entry(view, groups));
        ASSERT_TRUE(fed) << story << fed.error().to_string();
      }
    }
    const auto finished = verifier->finish((*stored)->note);
    ASSERT_TRUE(finished) << story << finished.error().to_string();
    EXPECT_EQ(verifier->counts().envelopes_missing + verifier->counts().groups_missing, 0u) << story;
    EXPECT_EQ(verifier->counts().sequences_excused, 0u) << story;
    EXPECT_EQ(head().size, size) << story << ": what is in the log is signed";
    older_ = (*stored)->note;
  }

  static void count_words(const std::string& text, std::map<std::string, int>& counts) {
    std::istringstream words(text);
    for (std::string word; words >> word;) ++counts[word];
  }

  // Dies at the point, if it is reached; verifies now and then, so that recovery meets what crashes of
  // recovery left. Whether it was reached.
  bool die_at(const std::string& point) {
    const Life life = live(point);
    EXPECT_TRUE(life.killed || life.done) << story_ << point << ": " << life.said;
    story_ += point + " ";
    if (!life.killed) return false;
    if (++crashes_ % 7 == 0) verify(std::exchange(story_, {}));
    return true;
  }

  const support::TempFolder folder_;
  Secret signing_key_ = tlog::NoteSigner::generate(log_name)->encode();
  std::vector<std::string> events_, holds_;
  std::optional<std::string> older_;
  std::string story_;
  std::uint64_t crashes_ = 0, lives_ = 0;
};

// In a round every second passing of each point, from a life's first to its last; in the next round the
// others. A message that a round's even passings leave at large is one before which its odd ones do not die.
TEST_F(AuditCrash, AtEachStepAgainAndAgain) {
  std::set<std::string_view> fired;
  std::vector<std::string_view> steps;
  for (const std::string_view name : crash_point_names) {
    // Those of the journal: src/journal/journal_crashtest.cpp.
    if (!name.starts_with("journal.")) steps.push_back(name);
  }
  for (std::uint64_t round = 0; crashes_ < crashes_wanted() / share; ++round) {
    ASSERT_LT(round, 1'000u) << "no point is passed often enough";
    for (std::size_t i = 0; i < steps.size(); ++i) {
      for (auto passing = 1 + (round + i) % 2; die_at(fmt::format("{}:{}", steps[i], passing)); passing += 2)
        fired.insert(steps[i]);
      if (HasFailure()) return;
    }
  }
  verify(story_);
  for (const std::string_view name : steps) EXPECT_TRUE(fired.contains(name)) << name << " was never reached";
  std::printf("%llu crashes\n", static_cast<unsigned long long>(crashes_));
}

}  // namespace
}  // namespace citadel::audit
