// Forged logs: whatever somebody does to a log that was signed, the verifier finds it and names the first
// entry that shows it. Each forger has more rights than the one before: a copy of the export, the database,
// the database and the code that hashes, the signing key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/log_testing.hpp"

namespace citadel::audit {
namespace {

using testing::HasSubstr;

constexpr std::size_t size = 3'000;
constexpr std::size_t older_size = 1'000;
constexpr std::size_t at = 1'234;  // behind the older checkpoint, in the middle of a tile

const TestingLog& genuine() {
  static const TestingLog log = TestingLog::of(size);
  return log;
}
std::string older() {
  static const std::string note = genuine().note(older_size);
  return note;
}

class Forgery : public testing::Test {
 protected:
  std::string verify(VerifierOptions options, const std::string& note) {
    Verifier verifier = Verifier::make(std::move(options)).value();
    auto done = feed_all(verifier, log);
    if (done) {
      const auto finished = verifier.finish(note);
      if (!finished) done = std::unexpected(finished.error());
    }
    finding = verifier.finding().value_or(Finding{});
    EXPECT_EQ(done.has_value(), !verifier.finding());
    return done ? "" : done.error().message;
  }
  // Against the genuine checkpoint.
  std::string verify() { return verify({.policy = genuine().policy()}, genuine().note()); }
  std::string verify_with_older(const std::string& note) {
    return verify({.policy = genuine().policy(), .older_checkpoint = older()}, note);
  }
  // The log with the hashes that the genuine tree holds.
  void with_tree_hashes() {
    for (std::size_t i = 0; i < log.size() && i < size; ++i) {
      log[i].tree_hash = tlog::leaf_hash(as_bytes(genuine().entries[i].leaf));
    }
  }
  // A content of the forger's, committed to as it should be.
  void rewrite(std::size_t index) {
    Event event = decode_envelope(as_bytes(log[index].envelope)).value();
    event.actor.id = "somebody-else";
    log[index].envelope = encode_envelope(event);
    log[index].commit_again();
  }
  std::size_t next_of_same_producer(std::size_t index) const {
    for (std::size_t i = index + 1; i < log.size(); ++i) {
      if (log[i].place.producer == log[index].place.producer) return i;
    }
    return log.size();
  }
  void expect_at(std::size_t first, std::size_t end) {
    EXPECT_EQ(finding.first, first);
    EXPECT_EQ(finding.end, end);
  }

  Log log = genuine().entries;
  Finding finding;
};

TEST_F(Forgery, TheGenuineLogIsGood) {
  with_tree_hashes();
  EXPECT_EQ(verify_with_older(genuine().note()), "");
}

// What is edited is content alone.

TEST_F(Forgery, AnEnvelopeThatWasEditedIsFound) {
  Event event = decode_envelope(as_bytes(log[at].envelope)).value();
  event.actor.id = "somebody-else";
  log[at].envelope = encode_envelope(event);
  EXPECT_THAT(verify(), HasSubstr("entry 1234: its envelope or the salt"));
  expect_at(at, at + 1);
}

TEST_F(Forgery, ASaltThatWasEditedIsFound) {
  log[at].salt[31] ^= std::byte{1};
  EXPECT_THAT(verify(), HasSubstr("entry 1234: its envelope or the salt"));
}

TEST_F(Forgery, AGroupOrItsSaltThatWasEditedIsFound) {
  const std::size_t with_groups = 1'235;
  log[with_groups].groups[1].content.bytes = R"({"text":"hm"})";
  EXPECT_THAT(verify(), HasSubstr("entry 1235: its response or the salt"));
  log = genuine().entries;
  log[with_groups].groups[3].content.salt[0] ^= std::byte{1};
  EXPECT_THAT(verify(), HasSubstr("entry 1235: its details or the salt"));
}

// Leaves are changed, and the tree is not.

TEST_F(Forgery, AnEditOfAnEntryIsFound) {
  rewrite(at);
  EXPECT_THAT(verify(), HasSubstr("the root is not that of the checkpoint"));
  expect_at(0, size);
  // A trusted checkpoint narrows it, the tree's hashes name it.
  EXPECT_THAT(verify_with_older(genuine().note()), HasSubstr("the root is not that of the checkpoint"));
  expect_at(older_size, size);
  with_tree_hashes();
  EXPECT_THAT(verify(), HasSubstr("entry 1234: the leaf is not the one that the tree holds"));
  expect_at(at, at + 1);
}

TEST_F(Forgery, AnEditBeforeTheOlderCheckpointIsFoundThere) {
  rewrite(500);
  EXPECT_THAT(verify_with_older(genuine().note()),
              HasSubstr("entries 0 to 999: the first 1000 entries are not those"));
  expect_at(0, older_size);
}

TEST_F(Forgery, AnEntryThatWasDeletedIsFound) {
  const std::size_t shown_by = next_of_same_producer(at) - 1;
  log.erase(log.begin() + at);
  EXPECT_THAT(verify(), HasSubstr("before it, sequence"));
  expect_at(shown_by, shown_by + 1);
  // The checkpoint of another size changes nothing: the hole is what names it.
  EXPECT_THAT(verify({.policy = genuine().policy()}, TestingLog::note_of(log, log.size(), genuine().signer)),
              HasSubstr("before it, sequence"));
  with_tree_hashes();
  verify();
  expect_at(at, at + 1);
}

TEST_F(Forgery, AllOfAProducerFromAnEntryOnThatWasDeletedIsFound) {
  std::size_t index = 0;
  std::erase_if(log, [&](const LoggedEntry& entry) {
    return index++ >= at && entry.place.producer == TestingLog::producer_a;
  });
  EXPECT_THAT(verify(), HasSubstr("it was cut off: it ends after"));
  with_tree_hashes();
  verify();
  EXPECT_EQ(finding.end, finding.first + 1);
  EXPECT_GE(finding.first, at);
  EXPECT_LE(finding.first, at + 2);
}

TEST_F(Forgery, AnEntryThatWasPutInIsFound) {
  TestingLog forged;
  const Leaf& place = log[at].place;
  forged.append(minimal_event(900'000), place.producer, place.epoch, place.sequence);
  log.insert(log.begin() + at, forged.entries[0]);
  EXPECT_THAT(verify(), HasSubstr("entry 1235: sequence"));
  EXPECT_THAT(verify(), HasSubstr("is there already"));
  with_tree_hashes();
  verify();
  expect_at(at, at + 1);
}

TEST_F(Forgery, AnEntryOfANewProducerThatWasPutInIsFound) {
  TestingLog forged;
  forged.append(minimal_event(900'000), testing_id(0xC), 1, 1);
  log.insert(log.begin() + at, forged.entries[0]);
  EXPECT_THAT(verify(), HasSubstr("the checkpoint ends before, after 3000"));
  with_tree_hashes();
  verify();
  expect_at(at, at + 1);
}

TEST_F(Forgery, TwoOfOneProducerThatWereSwappedAreFoundAtTheFirst) {
  std::swap(log[at], log[next_of_same_producer(at)]);
  EXPECT_THAT(verify(), HasSubstr("the order was changed"));
  expect_at(at, at + 1);
}

TEST_F(Forgery, TwoOfDifferentProducersThatWereSwappedWithinATileAreFound) {
  std::size_t other = at;
  while (log[other].place.producer == log[at].place.producer) ++other;
  ASSERT_EQ(other / 256, at / 256);
  // Neighbours, so that each producer's own order stays.
  std::swap(log[other - 1], log[other]);
  EXPECT_THAT(verify(), HasSubstr("the root is not that of the checkpoint"));
  with_tree_hashes();
  verify();
  expect_at(other - 1, other);
}

TEST_F(Forgery, AReorderedStretchIsFoundAtItsFirst) {
  std::reverse(log.begin() + at, log.begin() + at + 100);
  EXPECT_THAT(verify(), HasSubstr("the order was changed"));
  expect_at(at, at + 1);
}

TEST_F(Forgery, ALogThatWasCutOffIsFound) {
  log.resize(size - 1);
  EXPECT_EQ(verify(), "the log: it was cut off: it ends after 2999 entries, and the checkpoint has 3000");
  log.clear();
  EXPECT_EQ(verify(), "the log: it was cut off: it ends after 0 entries, and the checkpoint has 3000");
}

TEST_F(Forgery, AProducersSequenceThatWasForgedIsFound) {
  const auto with_sequence = [&](std::uint64_t sequence) {
    log = genuine().entries;
    log[at].place.sequence = sequence;
    log[at].commit_again();
    const std::string found = verify();
    EXPECT_EQ(finding.end, finding.first + 1);
    return found;
  };
  const std::uint64_t sequence = log[at].place.sequence;
  EXPECT_THAT(with_sequence(sequence - 1), HasSubstr("is there already"));
  expect_at(at, at + 1);
  EXPECT_THAT(with_sequence(sequence + 1'000'000), HasSubstr("the order was changed, or a sequence"));
  expect_at(at, at + 1);
  EXPECT_THAT(with_sequence(sequence + 1), HasSubstr("the order was changed, or a sequence"));
  expect_at(at, at + 1);
}

TEST_F(Forgery, AnEpochThatWasForgedIsFound) {
  log[at].place.epoch = 9;
  log[at].commit_again();
  // The next one of this producer goes back.
  const std::size_t next = next_of_same_producer(at);
  EXPECT_THAT(verify(), HasSubstr("goes back from epoch 9 to 1"));
  expect_at(next, next + 1);
  with_tree_hashes();
  verify();
  expect_at(at, at + 1);
}

// Everything is hashed again, without the key.

TEST_F(Forgery, ARewrittenLogUnderTheOldSignatureIsFound) {
  rewrite(at);
  tlog::Checkpoint checkpoint;
  checkpoint.origin = TestingLog::origin;
  checkpoint.size = size;
  for (tlog::CompactRange tree; tree.size() < size;) {
    tree.append(tlog::leaf_hash(as_bytes(log[tree.size()].leaf)));
    checkpoint.root = tree.root();
  }
  // The genuine signature under a text of the forger's.
  auto note = tlog::parse_note(genuine().note()).value();
  note.text = checkpoint.encode();
  EXPECT_THAT(verify({.policy = genuine().policy()}, tlog::encode_note(note)),
              HasSubstr("the log: its checkpoint: "));
  // And with tree hashes that were made to fit.
  for (auto& entry : log) entry.tree_hash = tlog::leaf_hash(as_bytes(entry.leaf));
  EXPECT_THAT(verify(), HasSubstr("the root is not that of the checkpoint"));
}

TEST_F(Forgery, AForkSignedByAnotherKeyIsFound) {
  rewrite(at);
  const auto stranger = tlog::NoteSigner::generate(TestingLog::origin).value();
  EXPECT_THAT(verify({.policy = genuine().policy()}, TestingLog::note_of(log, size, stranger)),
              HasSubstr("the log: its checkpoint: "));
  expect_at(size, size);
}

TEST_F(Forgery, AForkSignedByNobodyIsFound) {
  rewrite(at);
  const auto stranger = tlog::NoteSigner::generate(TestingLog::origin).value();
  const auto note = tlog::parse_note(TestingLog::note_of(log, size, stranger)).value();
  for (const std::string& file : {note.text, note.text + "\n", std::string()}) {
    EXPECT_THAT(verify({.policy = genuine().policy()}, file), HasSubstr("the log: its checkpoint: "));
  }
}

TEST_F(Forgery, TheCheckpointOfAnotherLogIsFound) {
  const auto checkpoint = tlog::Checkpoint{.origin = "example.com/other", .size = size, .extensions = {}};
  EXPECT_THAT(verify({.policy = genuine().policy()}, TestingLog::note_of(checkpoint, genuine().signer)),
              HasSubstr("the log: its checkpoint: "));
}

// The forger has the signing key, or an old backup that it once signed.

TEST_F(Forgery, ALogRolledBackToAnOlderBackupIsFoundByTheOlderCheckpoint) {
  log.resize(500);
  const std::string note = genuine().note(500);
  EXPECT_EQ(verify({.policy = genuine().policy()}, note), "");
  EXPECT_EQ(verify_with_older(note),
            "the log: it was rolled back: the checkpoint has 500 entries, the older one 1000");
}

TEST_F(Forgery, EverythingHashedAgainWithTheKeyIsFoundByTheOlderCheckpoint) {
  rewrite(500);
  const std::string note = TestingLog::note_of(log, size, genuine().signer);
  EXPECT_EQ(verify({.policy = genuine().policy()}, note), "");  // nothing else can know
  EXPECT_THAT(verify_with_older(note), HasSubstr("the log was rewritten"));
  expect_at(0, older_size);
}

TEST_F(Forgery, EverythingHashedAgainWithTheKeyIsFoundByTheMissingWitness) {
  rewrite(at);
  auto policy = genuine().policy();
  policy.witnesses = {genuine().witness.verifier()};
  policy.witnesses_min = 1;
  const std::string note = TestingLog::note_of(log, size, genuine().signer);
  EXPECT_THAT(verify({.policy = policy}, note), HasSubstr("the log: its checkpoint: "));
  // Nor does the witness's cosignature of the genuine checkpoint fit the forged one.
  auto forged = tlog::parse_note(note).value();
  forged.signatures.push_back(tlog::parse_note(genuine().witnessed_note()).value().signatures.back());
  EXPECT_THAT(verify({.policy = policy}, tlog::encode_note(forged)), HasSubstr("the log: its checkpoint: "));
  log = genuine().entries;
  EXPECT_EQ(verify({.policy = policy}, genuine().witnessed_note()), "");
}

TEST_F(Forgery, AnEntryDeletedAndTheRestSignedAgainIsFoundByItsProducersSequence) {
  log.erase(log.begin() + at);
  EXPECT_THAT(verify({.policy = genuine().policy()}, TestingLog::note_of(log, log.size(), genuine().signer)),
              HasSubstr("before it, sequence"));
}

}  // namespace
}  // namespace citadel::audit
