#include "audit/queries.hpp"

#include "audit/audit_pg_testing.hpp"
#include "audit/months.hpp"
#include "audit/search.hpp"
#include "base/time_text.hpp"

namespace citadel::audit {
namespace {

class QueriesTest : public AuditTest {
 protected:
  SearchPage search(SearchFilter filter) {
    const auto page = run(search_events(*database_, std::move(filter), soon()));
    EXPECT_TRUE(page) << page.error().to_string();
    return page.value_or(SearchPage{});
  }
  std::vector<std::string> reasons(SearchFilter filter) {
    std::vector<std::string> out;
    for (const auto& found : search(std::move(filter)).events) out.push_back(found.event.reason);
    return out;
  }
  Event reasoned(std::string reason, std::chrono::microseconds ago = 0s) {
    Event event = event_of();
    event.time -= ago;
    event.id = new_uuid7(event.time, random_);
    event.reason = std::move(reason);
    return event;
  }
  // 6,000, of which each has happened `apart` after the next.
  void append_many(std::chrono::milliseconds apart) {
    std::vector<journal::Frame> frames;
    for (int i = 0; i < 6'000; ++i) frames.push_back(frame_of(reasoned(std::to_string(i), apart * i)));
    append(frames);
  }
  tlog::Checkpoint checkpoint() {
    const LogHead found = head();
    return {.origin = "test", .size = found.size, .root = found.root, .extensions = {}};
  }
};

TEST_F(QueriesTest, AnEntryIsGivenBackWhole) {
  Event event = full_event();
  event.time = event.received_at = system_clock().wall();
  event.id = new_uuid7(event.time, random_);
  append({frame_of(event)});
  const auto closed = run(find_entry(*database_, event.id, OpenGroups::no, *keys_, soon()));
  ASSERT_TRUE(closed) << closed.error().to_string();
  ASSERT_TRUE(closed->envelope);
  EXPECT_EQ(closed->groups.size(), 4u);
  EXPECT_FALSE(closed->groups[0].opened);
  const auto open = run(get_entry(*database_, 0, OpenGroups::yes, *keys_, soon()));
  ASSERT_TRUE(open) << open.error().to_string();
  Event found = open->envelope->event;
  for (const auto& group : open->groups) {
    ASSERT_TRUE(group.opened);
    found.group(group.group) = group.opened->bytes;
    const auto committed = std::ranges::find(open->leaf.commitments, group.group, &Commitment::group);
    EXPECT_EQ(commit(group.group, group.opened->salt, as_bytes(group.opened->bytes)), committed->digest);
  }
  EXPECT_EQ(found, event);
  EXPECT_EQ(encode_leaf(open->leaf), open->leaf_bytes);
  EXPECT_EQ(code_of(run(get_entry(*database_, 1'000'000, OpenGroups::no, *keys_, soon()))), Code::not_found);
  EXPECT_EQ(code_of(run(find_entry(*database_, Uuid{}, OpenGroups::no, *keys_, soon()))), Code::not_found);
}

// A prepared plan that was made for an empty table is kept until the table is analyzed: it must be the right
// one then.
TEST_F(QueriesTest, RowsAreFoundByTheirKeyWhateverIsKnownOfTheTable) {
  append({frame_of(full_event())});
  const auto entry = run(get_entry(*database_, 0, OpenGroups::no, *keys_, soon()));
  ASSERT_TRUE(entry) << entry.error().to_string();
  const auto month = content_month(entry->leaf.retention, entry->leaf.time);
  for (const std::string_view table : {"audit.event", "audit.sealed"}) {
    const auto plan =
        sql(fmt::format("set plan_cache_mode = force_generic_plan; prepare wanted (timestamptz[], int8[]) as "
                        "select c.* from {}; explain execute wanted ('{{}}', '{{}}')",
                        rows_by_key_sql(table, month)));
    EXPECT_THAT(plan, ::testing::ContainsRegex("Index Cond: .*idx = k.idx")) << plan;
  }
}

TEST_F(QueriesTest, ProofsHoldForEveryIndexAndSize) {
  std::vector<tlog::Checkpoint> checkpoints;
  for (const int count : {1, 6, 250, 30}) {
    std::vector<journal::Frame> frames;
    for (int i = 0; i < count; ++i) frames.push_back(frame_of(event_of()));
    append(frames);
    checkpoints.push_back(checkpoint());
  }
  tlog::TileCache cache(1 << 20);
  for (const auto& head : checkpoints) {
    for (const std::uint64_t index : {std::uint64_t{0}, head.size / 2, head.size - 1}) {
      const auto proof = run(prove_inclusion(*database_, index, head, soon()));
      ASSERT_TRUE(proof) << index << " of " << head.size << proof.error().to_string();
      const auto again = run(prove_inclusion(*database_, index, head, soon(), &cache));
      ASSERT_TRUE(again) << index << " of " << head.size << again.error().to_string();
      EXPECT_EQ(again->hashes, proof->hashes);
    }
    EXPECT_EQ(code_of(run(prove_inclusion(*database_, head.size, head, soon()))), Code::invalid_argument);
    for (const auto& old : checkpoints) {
      const auto proof = run(prove_consistency(*database_, old.size, head, soon()));
      if (old.size > head.size) {
        EXPECT_EQ(code_of(proof), Code::invalid_argument);
        continue;
      }
      ASSERT_TRUE(proof) << old.size << " to " << head.size << proof.error().to_string();
      EXPECT_TRUE(tlog::verify_consistency(old.size, old.root, head.size, head.root, *proof));
    }
  }
}

TEST_F(QueriesTest, TilesAndBundlesAreWhatTheSpecificationServes) {
  append_pending();
  std::vector<journal::Frame> frames;
  for (int i = 0; i < 300; ++i) frames.push_back(frame_of(event_of()));
  append(frames);
  const auto size = head().size;
  const auto read = [&](std::string_view path) {
    return run(read_tile(*database_, *tlog::TilePath::parse(path), soon()));
  };
  const auto full = read("tile/0/000");
  ASSERT_TRUE(full && full->size() == 256 * 32);
  EXPECT_EQ(read("tile/0/000.p/7")->size(), 7u * 32);
  EXPECT_EQ(read(fmt::format("tile/0/001.p/{}", size - 256))->size(), (size - 256) * 32);
  EXPECT_EQ(*read("tile/1/000.p/1"), as_text(tlog::hash_of_row(as_bytes(*full))));
  EXPECT_EQ(code_of(read(fmt::format("tile/0/001.p/{}", size - 255))), Code::not_found);
  EXPECT_EQ(code_of(read("tile/0/001")), Code::not_found);
  EXPECT_EQ(code_of(read("tile/5/000.p/1")), Code::not_found);
  const auto bundle = read("tile/entries/000");
  ASSERT_TRUE(bundle);
  const auto leaves = tlog::decode_bundle(*bundle, 256);
  ASSERT_TRUE(leaves);
  for (std::size_t i = 0; i < 256; ++i)
    EXPECT_EQ(as_text(tlog::leaf_hash((*leaves)[i])), std::string_view(*full).substr(i * 32, 32));
  EXPECT_TRUE(read("tile/entries/001.p/3"));
  EXPECT_EQ(code_of(read("tile/entries/002.p/3")), Code::not_found);
}

TEST_F(QueriesTest, PagesOfTheLogAreWholeAndInOrder) {
  append_pending();
  std::vector<journal::Frame> frames;
  for (int i = 0; i < 500; ++i) {
    frames.push_back(frame_of(i % 3 ? event_of() : sealed_event_of("acme", fmt::format("s{}", i % 5))));
  }
  append(frames);
  std::uint64_t next = 0;
  for (;;) {
    const auto page = run(read_entries(*database_, next, 97, OpenGroups::yes, *keys_, soon()));
    ASSERT_TRUE(page) << page.error().to_string();
    if (page->empty()) break;
    for (const auto& entry : *page) {
      EXPECT_EQ(entry.index, next++);
      EXPECT_EQ(entry.tree_hash, tlog::leaf_hash(as_bytes(entry.leaf_bytes)));
      ASSERT_TRUE(entry.envelope);
      EXPECT_EQ(commit(Group::envelope, entry.envelope->salt, as_bytes(entry.envelope->bytes)),
                entry.leaf.commitments[0].digest);
      for (const auto& group : entry.groups) EXPECT_TRUE(group.opened);
    }
  }
  EXPECT_EQ(next, head().size);
  EXPECT_EQ(code_of(run(read_entries(*database_, 0, 0, OpenGroups::no, *keys_, soon()))),
            Code::invalid_argument);
  EXPECT_EQ(code_of(run(read_entries(*database_, 0, 1001, OpenGroups::no, *keys_, soon()))),
            Code::invalid_argument);
}

TEST_F(QueriesTest, SearchesByEveryField) {
  append_pending();
  Event one = reasoned("one", 3s), two = reasoned("two", 2s), three = reasoned("three", 1s);
  one.tenant = "acme";
  one.actor = {"key", "gateway", "", "", ""};
  two.action = "key.denied";
  two.outcome = Outcome::denied;
  two.trace_id = "0af7651916cd43dd8448eb211c80319c";
  two.request_id = "req-2";
  three.object = {"api_key", "k-77"};
  three.reason = "three: rotated by night-job/7";
  one.subject = three.subject = "customer-9";
  append({frame_of(one), frame_of(two), frame_of(three)});
  EXPECT_THAT(reasons({.tenant = "acme"}), ElementsAre("one"));
  EXPECT_THAT(reasons({.actor = "gateway"}), ElementsAre("one"));
  EXPECT_THAT(reasons({.actor_type = "key"}), ElementsAre("one"));
  EXPECT_THAT(reasons({.action = "key.denied"}), ElementsAre("two"));
  EXPECT_THAT(reasons({.outcome = Outcome::denied}), ElementsAre("two"));
  EXPECT_THAT(reasons({.trace_id = two.trace_id}), ElementsAre("two"));
  EXPECT_THAT(reasons({.request_id = "req-2"}), ElementsAre("two"));
  EXPECT_THAT(reasons({.object_type = "api_key"}), ElementsAre(three.reason));
  EXPECT_THAT(reasons({.object = "k-77"}), ElementsAre(three.reason));
  EXPECT_EQ(reasons({.subject = "customer-9"}), (std::vector<std::string>{three.reason, "one"}));
  EXPECT_THAT(reasons({.tenant = "acme", .subject = "customer-9"}), ElementsAre("one"));
  EXPECT_THAT(reasons({.subject = "customer"}), ElementsAre());
  for (const std::string text : {"NIGHT", "night-job/7", "rotated k-77", "api_key"})
    EXPECT_THAT(reasons({.text = text}), ElementsAre(three.reason)) << text;
  EXPECT_THAT(reasons({.text = "rotated elsewhere"}), ElementsAre());
  EXPECT_THAT(reasons({.text = "'; drop table audit.entry"}), ElementsAre());
  EXPECT_THAT(reasons({.tenant = "acme", .outcome = Outcome::denied}), ElementsAre());
  EXPECT_THAT(reasons({.from = two.time, .to = three.time}), ElementsAre("two"));
  EXPECT_EQ(reasons({.actor = "ada"}), (std::vector<std::string>{three.reason, "two"}));
}

// By an index in the order of time, and by the one of words and types.
TEST_F(QueriesTest, PagesOfASearchNeitherRepeatNorSkip) {
  append_pending();
  std::vector<journal::Frame> frames;
  const WallTime now = system_clock().wall();
  const WallTime this_month{month_start(now)};
  for (int i = 0; i < 60; ++i) {
    // Over several months, and some at the same moment.
    Event event = reasoned(std::to_string(i));
    event.time = now - 24h * (i / 2);
    // Seconds, minutes and hours ago; at a month's first moment, and right before it.
    if (i < 20) event.time = now - std::chrono::seconds(1 << i);
    if (i >= 20 && i < 24) event.time = this_month - std::chrono::microseconds(i / 2 - 10);
    frames.push_back(frame_of(event));
  }
  append(frames);
  const Event like = event_of();
  for (SearchFilter filter : {SearchFilter{.actor = "ada"}, SearchFilter{.text = "ada"},
                              SearchFilter{.actor_type = like.actor.type, .text = "ADA"},
                              SearchFilter{.object_type = like.object.type, .text = "ada"}}) {
    filter.to = now + 1us;
    filter.limit = 7;
    std::vector<std::string> found;
    std::optional<WallTime> before;
    for (int pages = 0; pages < 20; ++pages) {
      const auto page = search(filter);
      for (const auto& event : page.events) {
        if (before) EXPECT_LE(event.event.time, *before);
        before = event.event.time;
        found.push_back(event.event.reason);
      }
      if (!page.next_cursor) break;
      filter.cursor = *page.next_cursor;
      append({frame_of(reasoned("new", -1s))});
    }
    EXPECT_EQ(found.size(), 60u) << filter.text.value_or("without words");
    std::ranges::sort(found);
    EXPECT_EQ(std::ranges::unique(found).begin(), found.end());
  }
}

TEST_F(QueriesTest, WordsAreSearchedInTheirTimeAlone) {
  const Event old = reasoned("old", 24h * 70), week = reasoned("week", 24h * 7),
              fresh = reasoned("fresh", 1s);
  append({frame_of(old), frame_of(week), frame_of(fresh)});
  EXPECT_THAT(reasons({.text = "ada"}), ElementsAre("fresh", "week", "old"));
  EXPECT_THAT(reasons({.to = fresh.time, .text = "ada"}), ElementsAre("week", "old"));
  EXPECT_THAT(reasons({.to = week.time, .text = "ada"}), ElementsAre("old"));
  EXPECT_THAT(reasons({.from = week.time, .text = "ada"}), ElementsAre("fresh", "week"));
  EXPECT_THAT(reasons({.from = old.time, .to = week.time, .text = "ada"}), ElementsAre("old"));
  EXPECT_THAT(reasons({.to = old.time, .text = "ada"}), ElementsAre());
  EXPECT_THAT(reasons({.object_type = "nothing"}), ElementsAre());
}

// More in the first window than a statement sorts: it is cut down, and nothing is skipped.
TEST_F(QueriesTest, AWindowWithTooManyEventsIsCutDown) {
  append_many(90ms);
  const auto by_actor = reasons({.actor = "ada", .limit = 1'000});
  ASSERT_EQ(by_actor.size(), 1'000u);
  EXPECT_EQ(reasons({.text = "ada", .limit = 1'000}), by_actor);
}

// So many in a minute that no window can be cut to what a statement sorts: they are walked through.
TEST_F(QueriesTest, ABusyMinuteIsWalkedThrough) {
  append_many(9ms);
  const auto by_actor = reasons({.actor = "ada", .limit = 1'000});
  ASSERT_EQ(by_actor.size(), 1'000u);
  EXPECT_EQ(reasons({.text = "ada", .limit = 1'000}), by_actor);
  EXPECT_EQ(reasons({.actor_type = "user", .limit = 1'000}), by_actor);
}

TEST_F(QueriesTest, WordsTypesAndPeriodsAreFoundByTheirIndex) {
  append({frame_of(event_of())});
  const auto plan = sql(
      fmt::format("set enable_seqscan = off; explain select idx from audit.event where {} @@ plainto_tsquery("
                  "'simple'::regconfig, 'ada') and {} @> array['actor user'] and {} && '{{1}}'::int8[]",
                  words_sql, types_sql, periods_sql));
  EXPECT_THAT(plan, ::testing::ContainsRegex("Index Cond: .*&&.*@>.*@@")) << plan;
}

// Of a month that was filled a moment ago the planner knows nothing yet.
TEST_F(QueriesTest, WordsAreFoundByTheirIndexWithoutStatistics) {
  append_many(0ms);
  const WallTime at = search({.actor = "ada", .limit = 1}).events.at(0).event.time;
  const auto plan = sql(fmt::format(
      "explain select idx from audit.event where {} @@ plainto_tsquery('simple'::regconfig, 'nobody'){}",
      words_sql, bounds_sql(window_months(at - 1min, at, at))));
  const auto month = format_time(at).substr(0, 7);
  EXPECT_THAT(plan, ::testing::ContainsRegex(fmt::format("Index Scan on event_[a-z]+_{}{}_array",
                                                         month.substr(0, 4), month.substr(5))));
}

TEST_F(QueriesTest, WhatIsOldIsBoundedOnBothSides) {
  const WallTime now = testing_now;
  EXPECT_EQ(window_months(now - 24h, now, now), (MonthRange{month_start(now - 24h)}));
  const WallTime old = now - 24h * 63;
  EXPECT_EQ(window_months(old - 24h, old, now),
            (MonthRange{month_start(old - 24h), next_month(month_start(old))}));
}

TEST_F(QueriesTest, ACacheOfAnotherLogsTilesIsNotBelieved) {
  std::vector<journal::Frame> frames;
  for (int i = 0; i < 600; ++i) frames.push_back(frame_of(event_of()));
  append(frames);
  tlog::TileCache cache(1 << 20);
  ASSERT_TRUE(run(prove_inclusion(*database_, 3, checkpoint(), soon(), &cache)));
  EXPECT_TRUE(cache.find({0, 0, 256}));
  EXPECT_TRUE(run(prove_inclusion(*database_, 4, checkpoint(), soon(), &cache)));
  tlog::TileCache other(1 << 20);
  other.put({{0, 0, 256}, std::string(256 * tlog::hash_bytes, 'x')});
  EXPECT_TRUE(run(prove_inclusion(*database_, 3, checkpoint(), soon(), &other)));
  EXPECT_EQ(other.bytes(), 0u);
}

TEST_F(QueriesTest, ATraceIsGivenInOrder) {
  std::vector<journal::Frame> frames;
  for (int i = 0; i < 5; ++i) {
    Event event = reasoned(std::to_string(i), 24h * 20 * (4 - i));
    event.trace_id = "0af7651916cd43dd8448eb211c80319c";
    frames.insert(frames.begin(), frame_of(event));
  }
  frames.push_back(frame_of(reasoned("not of it")));
  append(frames);
  std::vector<std::string> found;
  std::string cursor;
  for (;;) {
    const auto page = run(trace_events(*database_, "0af7651916cd43dd8448eb211c80319c", cursor, 2, soon()));
    ASSERT_TRUE(page) << page.error().to_string();
    for (const auto& event : page->events) found.push_back(event.event.reason);
    if (!page->next_cursor) break;
    cursor = *page->next_cursor;
  }
  EXPECT_THAT(found, ElementsAre("0", "1", "2", "3", "4"));
}

TEST_F(QueriesTest, ASearchThatIsNoneIsRefused) {
  const WallTime now = system_clock().wall();
  const SearchFilter bad[] = {{.limit = 0},
                              {.limit = search_limit_max + 1},
                              {.cursor = "x"},
                              {.cursor = std::string(32, 'f')},
                              {.from = now, .to = now},
                              {.trace_id = "7"}};
  for (const auto& filter : bad) {
    const auto refused = run(search_events(*database_, filter, soon()));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(code_of(refused), Code::invalid_argument);
  }
  EXPECT_EQ(code_of(run(trace_events(*database_, "7", "", 1, soon()))), Code::invalid_argument);
}

TEST_F(QueriesTest, TheStatusSaysWhatWaitsAndWhatWasSetAside) {
  auto status = run(log_status(*database_, soon()));
  ASSERT_TRUE(status) << status.error().to_string();
  EXPECT_EQ(status->head.size, 0u);
  EXPECT_GT(status->pending, 0u);
  EXPECT_TRUE(status->pending_since);
  const Event event = event_of();
  Event other = event;
  other.reason = "other";
  auto bad = frame_of(event_of());
  bad.payload = "?";
  sequences_.clear();
  append({frame_of(event), frame_of(other)});
  bad.position.sequence = 3;
  append({bad});
  status = run(log_status(*database_, soon()));
  EXPECT_EQ(status->pending, 0u);
  EXPECT_EQ(status->conflicts, 1u);
  EXPECT_EQ(status->dead_letters, 1u);
}

}  // namespace
}  // namespace citadel::audit
