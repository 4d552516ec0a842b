#include "audit/verifier.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/log_testing.hpp"

namespace citadel::audit {
namespace {

using testing::HasSubstr;

constexpr std::string_view daemon_journal_type = "service";

// An entry of the trail itself, whose object is a range or a position.
Event trail_event(std::uint64_t number, std::string_view action, std::string_view type, std::string object) {
  Event event = minimal_event(number);
  event.actor.type = daemon_journal_type;
  event.action = action;
  event.object = {std::string(type), std::move(object)};
  return event;
}

class VerifierTest : public testing::Test {
 protected:
  // "" where the log is good, else what is wrong.
  std::string verify(VerifierOptions options, const std::string& note) {
    auto verifier = Verifier::make(std::move(options));
    if (!verifier) return verifier.error().message;
    auto done = feed_all(*verifier, log.entries);
    if (done) {
      const auto finished = verifier->finish(note);
      if (!finished) done = std::unexpected(finished.error());
    }
    counts = verifier->counts();
    finding = verifier->finding();
    return done ? "" : done.error().message;
  }
  std::string verify() { return verify({.policy = log.policy()}, log.note()); }

  TestingLog log;
  VerifierCounts counts;
  std::optional<Finding> finding;
};

TEST_F(VerifierTest, AGoodLogIsGoodAndCounted) {
  log = TestingLog::of(300);
  EXPECT_EQ(verify(), "");
  EXPECT_EQ(counts.entries, 300u);
  EXPECT_EQ(counts.envelopes, 300u);
  EXPECT_EQ(counts.envelopes_missing, 0u);
  EXPECT_EQ(counts.groups, 240u);
  EXPECT_EQ(counts.groups_missing, 0u);
  EXPECT_EQ(counts.by_producer.at(TestingLog::producer_a), 100u);
  EXPECT_EQ(counts.by_producer.at(TestingLog::producer_b), 200u);
  EXPECT_EQ(counts.last_time, testing_now);
  EXPECT_EQ(finding, std::nullopt);
}

TEST_F(VerifierTest, AnEmptyLogIsGood) {
  EXPECT_EQ(verify(), "");
  EXPECT_EQ(counts.first_time, std::nullopt);
}

TEST_F(VerifierTest, ContentThatIsErasedIsCountedAndTheRestHolds) {
  log = TestingLog::of(50);
  auto verifier = Verifier::make({.policy = log.policy()});
  for (std::size_t i = 0; i < log.entries.size(); ++i) {
    EXPECT_TRUE(verifier->feed(
        {.index = i, .leaf = log.entries[i].leaf, .tree_hash = {}, .envelope = {}, .groups = {}}));
  }
  EXPECT_TRUE(verifier->finish(log.note()).has_value());
  EXPECT_EQ(verifier->counts().envelopes_missing, 50u);
  EXPECT_EQ(verifier->counts().groups_missing, 40u);
}

TEST_F(VerifierTest, WhatTheLogSaysOfContentsThatAreGoneIsBelieved) {
  log = TestingLog::of(6);
  Event erasure = minimal_event(7), run = minimal_event(8), claim = minimal_event(9);
  erasure.action = "audit.erasure";
  erasure.group(Group::details) = R"({"entries":[[3,"2026-11","1-2"]]})";
  run.action = "audit.retention_run";
  run.object = {"audit_content", "short/2026-11"};
  claim.action = "x.retention_run";
  claim.object = {"audit_content", "extended/2026-11"};
  log.append(erasure, testing_id(0xC), 1, 1);
  log.append(run, testing_id(0xC), 1, 2);
  log.append(claim, testing_id(0xC), 1, 3);
  auto verifier = Verifier::make({.policy = log.policy()});
  std::vector<ExportedGroup> groups;
  for (std::size_t i = 0; i < log.entries.size(); ++i) {
    ExportedEntry entry = exported(log.entries[i], i, groups);
    // 0 and 5 are of the class short, 1 to 4 of extended; nobody says what became of 3.
    if (i < 4 || i == 5) {
      entry.envelope.reset();
      entry.groups = {};
    }
    EXPECT_TRUE(verifier->feed(entry));
  }
  EXPECT_TRUE(verifier->finish(log.note()).has_value());
  const auto contents = verifier->counts().contents;
  EXPECT_EQ(contents.erased, 2u);
  EXPECT_EQ(contents.pruned, 2u);
  EXPECT_EQ(contents.missing, 1u);
  EXPECT_EQ(contents.last, 3u);
}

TEST_F(VerifierTest, AnErasureThatNamesWhatCannotBeIsAFault) {
  log = TestingLog::of(2);
  Event erasure = minimal_event(7);
  erasure.action = "audit.erasure";
  erasure.group(Group::details) = R"({"entries":[[3,"2026-11","1-2"]]})";  // 2 is its own
  log.append(erasure, testing_id(0xC), 1, 1);
  EXPECT_THAT(verify(), HasSubstr("entry 2: it is an erasure, and does not say of which entries"));
}

TEST_F(VerifierTest, AnOlderCheckpointThatAgreesIsMet) {
  log = TestingLog::of(300);
  for (const std::size_t size : {0, 1, 100, 299, 300}) {
    EXPECT_EQ(verify({.policy = log.policy(), .older_checkpoint = log.note(size)}, log.note()), "") << size;
  }
}

TEST_F(VerifierTest, AnOlderCheckpointThatIsNotThisLogsIsRefused) {
  log = TestingLog::of(10);
  const auto stranger = tlog::NoteSigner::generate(TestingLog::origin).value();
  EXPECT_NE(
      verify({.policy = log.policy(), .older_checkpoint = TestingLog::note_of(log.entries, 5, stranger)},
             log.note()),
      "");
  EXPECT_NE(verify({.policy = log.policy(), .older_checkpoint = "nonsense"}, log.note()), "");
}

TEST_F(VerifierTest, ALogWhosePrefixWasPrunedIsVerifiedFromThere) {
  log = TestingLog::of(300);
  const std::string note = log.note();
  VerifierOptions options{.policy = log.policy()};
  for (int i = 0; i < 100; ++i)
    options.before.append(tlog::leaf_hash(as_bytes(log.entries[static_cast<std::size_t>(i)].leaf)));
  options.older_checkpoint = log.note(200);
  const std::string too_old = log.note(99), at_start = log.note(100);
  log.entries.erase(log.entries.begin(), log.entries.begin() + 100);
  EXPECT_EQ(verify(options, note), "");
  EXPECT_EQ(counts.entries, 200u);
  options.older_checkpoint = at_start;
  EXPECT_EQ(verify(options, note), "");
  options.older_checkpoint = too_old;
  EXPECT_EQ(verify(options, note), "the older checkpoint has 99 entries, but the first 100 were pruned");
  options.older_checkpoint = TestingLog::note_of(
      {.origin = std::string(TestingLog::origin), .size = 100, .extensions = {}}, log.signer);
  EXPECT_THAT(verify(options, note), HasSubstr("not those of the older checkpoint"));
}

TEST_F(VerifierTest, AGapEntryExcusesAHoleThatIsBehindIt) {
  const Uuid a = TestingLog::producer_a;
  log.append(minimal_event(1), a, 1, 1);
  log.append(minimal_event(2), a, 1, 4);
  EXPECT_THAT(verify(), HasSubstr("entry 1: before it, sequences 2 to 3 of producer"));
  EXPECT_EQ(finding->first, 1u);
  log.append(trail_event(3, gap_action, journal_range_type, to_string(JournalRange{a, 1, 2, 2})), a, 2, 1);
  EXPECT_THAT(verify(), HasSubstr("entry 1: before it, sequence 3 of producer"));
  log.append(trail_event(4, gap_action, journal_range_type, to_string(JournalRange{a, 1, 3, 3})), a, 2, 2);
  EXPECT_EQ(verify(), "");
  EXPECT_EQ(counts.sequences_excused, 2u);
}

TEST_F(VerifierTest, AGapEntryThatCannotBeReadExcusesNothing) {
  const Uuid a = TestingLog::producer_a;
  log.append(minimal_event(1), a, 1, 2);
  log.append(trail_event(2, gap_action, journal_range_type, to_string(JournalRange{a, 1, 1, 1})), a, 2, 1);
  EXPECT_EQ(verify(), "");
  auto verifier = Verifier::make({.policy = log.policy()});
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(verifier->feed(
        {.index = i, .leaf = log.entries[i].leaf, .tree_hash = {}, .envelope = {}, .groups = {}}));
  }
  EXPECT_THAT(verifier->finish(log.note()).error().message, HasSubstr("entry 0: before it, sequence 1"));
}

// The leaf's class is what callers cannot choose.
TEST_F(VerifierTest, AGapEntryOfACallersClassExcusesNothing) {
  const Uuid a = TestingLog::producer_a;
  log.append(minimal_event(1), a, 1, 2);
  log.append(trail_event(2, gap_action, journal_range_type, to_string(JournalRange{a, 1, 1, 1})), a, 2, 1);
  log.entries[1].place.action_class = ActionClass::use;
  log.entries[1].commit_again();
  EXPECT_THAT(verify(), HasSubstr("entry 0: before it, sequence 1"));
}

TEST_F(VerifierTest, ATailThatWasCutOffAnEpochShowsInTheNextStart) {
  const Uuid a = TestingLog::producer_a;
  log.append(trail_event(1, started_action, journal_position_type, to_string(JournalPosition{a, 0, 0})), a, 1,
             1);
  log.append(minimal_event(2), a, 1, 2);
  log.append(trail_event(3, started_action, journal_position_type, to_string(JournalPosition{a, 1, 2})), a, 2,
             1);
  EXPECT_EQ(verify(), "");
  log.append(trail_event(4, started_action, journal_position_type, to_string(JournalPosition{a, 2, 3})), a, 3,
             1);
  EXPECT_THAT(verify(), HasSubstr("entry 3: before it, sequences 2 to 3"));
  log.entries.pop_back();
  log.append(
      trail_event(4, started_action, journal_position_type, to_string(JournalPosition{testing_id(9), 2, 3})),
      a, 3, 1);
  EXPECT_THAT(verify(), HasSubstr("entry 3: the start of producer"));
}

TEST_F(VerifierTest, EntriesOfTheTrailThatDoNotSayWhatTheyMustAreFaults) {
  const Uuid a = TestingLog::producer_a;
  log.append(trail_event(1, gap_action, "hole", to_string(JournalRange{a, 1, 1, 1})), a, 1, 1);
  EXPECT_EQ(verify(), "entry 0: it is a gap entry, and does not say of what");
  log.entries.clear();
  log.append(trail_event(1, started_action, journal_position_type, "somewhere"), a, 1, 1);
  EXPECT_EQ(verify(), "entry 0: it is a start, and does not say what was the last position before");
}

TEST_F(VerifierTest, WhatIsFedOutOfOrderOrIsNoLeafIsAFault) {
  log = TestingLog::of(5);
  auto verifier = Verifier::make({.policy = log.policy()});
  std::vector<ExportedGroup> groups;
  EXPECT_EQ(verifier->feed(exported(log.entries[0], 1, groups)).error().message,
            "entry 0: should be next, but the log goes on with 1");
  // The first fault stays.
  EXPECT_EQ(verifier->feed(exported(log.entries[0], 0, groups)).error().message,
            "entry 0: should be next, but the log goes on with 1");
  EXPECT_EQ(verifier->finish(log.note()).error().message,
            "entry 0: should be next, but the log goes on with 1");
  log.entries[3].leaf[0] = 'x';
  EXPECT_THAT(verify(), HasSubstr("entry 3: the leaf is not the CBOR"));
}

TEST_F(VerifierTest, GroupsThatTheLeafDoesNotHaveOrOutOfOrderAreFaults) {
  log = TestingLog::of(2);
  const LoggedEntry good = log.entries[0];
  std::swap(log.entries[0].groups[0], log.entries[0].groups[1]);
  EXPECT_EQ(verify(), "entry 0: its groups are not in their order");
  log.entries[0] = good;
  log.entries[0].groups[0].group = Group::envelope;
  EXPECT_EQ(verify(), "entry 0: its groups are not in their order");
  log.entries[0] = good;
  log.entries[1].groups.push_back(good.groups[2]);
  EXPECT_EQ(verify(), "entry 1: it has a tool that the leaf does not");
}

TEST_F(VerifierTest, AnEnvelopeOfAnotherEventIsAFaultThoughTheLeafCommitsToIt) {
  log = TestingLog::of(2);
  log.entries[1].envelope = log.entries[0].envelope;
  log.entries[1].commit_again();
  EXPECT_EQ(verify(), "entry 1: its envelope is of another event than its leaf");
  log.entries[1].envelope = "no envelope";
  log.entries[1].commit_again();
  EXPECT_THAT(verify(), HasSubstr("entry 1: the envelope is not the CBOR"));
}

TEST_F(VerifierTest, WitnessesAreAskedFor) {
  log = TestingLog::of(20);
  auto policy = log.policy();
  policy.witnesses = {log.witness.verifier()};
  policy.witnesses_min = 1;
  EXPECT_EQ(verify({.policy = policy}, log.witnessed_note()), "");
  EXPECT_THAT(verify({.policy = policy}, log.note()), HasSubstr("the log: its checkpoint: "));
  // An older checkpoint was trusted for other reasons.
  EXPECT_EQ(verify({.policy = policy, .older_checkpoint = log.note(10)}, log.witnessed_note()), "");
}

}  // namespace
}  // namespace citadel::audit
