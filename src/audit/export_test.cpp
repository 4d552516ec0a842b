#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/export_verifier.hpp"
#include "audit/log_testing.hpp"
#include "json/lines.hpp"
#include "tlog/proof.hpp"
#include "tlog/test_tree.hpp"

namespace citadel::audit {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string export_of(const TestingLog& log, std::size_t first = 0) {
  ExportHeader header{.origin = std::string(TestingLog::origin), .size = log.entries.size()};
  for (std::size_t i = 0; i < first; ++i)
    header.before.append(tlog::leaf_hash(as_bytes(log.entries[i].leaf)));
  std::string out;
  append_export_header(out, header);
  std::vector<ExportedGroup> groups;
  for (std::size_t i = first; i < log.entries.size(); ++i) {
    EXPECT_TRUE(append_export_entry(out, exported(log.entries[i], i, groups)).has_value());
  }
  append_export_checkpoint(out, log.note());
  return out;
}

class ExportTest : public testing::Test {
 protected:
  // "" where the export is good, else what is wrong.
  std::string verify(std::string_view bytes, std::uint64_t first_index_max = 0,
                     std::size_t piece_bytes = 1 << 16) {
    ExportVerifier verifier({.policy = log.policy()}, first_index_max);
    for (std::size_t at = 0; at < bytes.size(); at += piece_bytes) {
      if (const auto done = verifier.feed(bytes.substr(at, piece_bytes)); !done) {
        // The first error stays.
        EXPECT_EQ(verifier.feed("x").error().message, done.error().message);
        EXPECT_EQ(verifier.finish().error().message, done.error().message);
        return done.error().message;
      }
    }
    const auto finished = verifier.finish();
    if (verifier.verifier()) counts = verifier.verifier()->counts();
    return finished ? "" : finished.error().message;
  }
  std::string with(std::string_view from, std::string_view to) {
    std::string changed = text;
    const auto at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    return verify(changed);
  }

  TestingLog log = TestingLog::of(40);
  std::string text = export_of(log);
  VerifierCounts counts;
};

TEST_F(ExportTest, WhatWasWrittenIsVerifiedHoweverItIsCut) {
  for (const std::size_t piece_bytes : {1, 7, 1'000, 1 << 20}) {
    EXPECT_EQ(verify(text, 0, piece_bytes), "") << piece_bytes;
    EXPECT_EQ(counts.entries, 40u);
    EXPECT_EQ(counts.envelopes, 40u);
    EXPECT_EQ(counts.groups, 32u);
  }
}

TEST_F(ExportTest, EachLineIsJsonThatSaysWhatTheEventWas) {
  EXPECT_THAT(
      text, StartsWith("{\"format\":\"citadel-audit-export/1\",\"origin\":\"example.com/audit\",\"first\":0,"
                       "\"size\":40}\n{\"index\":0,\"leaf\":\"iQFQ"));
  std::size_t lines = 0;
  EXPECT_TRUE(json::for_each_line(text, {}, [&](std::size_t, const auto&) -> Result<void> {
                ++lines;
                return {};
              }).has_value());
  EXPECT_EQ(lines, 42u);
  EXPECT_THAT(text, HasSubstr(R"("prompt":[{"role":"user","content":"hi"}],"response":{"text":"ho"})"));
}

TEST_F(ExportTest, AnEmptyLogAndTreeHashesAndErasedContentGoThrough) {
  log.entries.clear();
  EXPECT_EQ(verify(export_of(log)), "");
  log = TestingLog::of(3);
  std::string out;
  append_export_header(out, {.origin = std::string(TestingLog::origin), .size = 3});
  for (std::size_t i = 0; i < 3; ++i) {
    const ExportedEntry entry{.index = i,
                              .leaf = log.entries[i].leaf,
                              .tree_hash = tlog::leaf_hash(as_bytes(log.entries[i].leaf)),
                              .envelope = {},
                              .groups = {}};
    EXPECT_TRUE(append_export_entry(out, entry).has_value());
  }
  append_export_checkpoint(out, log.note());
  EXPECT_EQ(verify(out), "");
  EXPECT_EQ(counts.envelopes_missing, 3u);
  const auto at = out.find(",\"hash\":\"") + 9;
  out[at] = out[at] == 'A' ? 'B' : 'A';
  EXPECT_THAT(verify(out), HasSubstr("entry 0: the leaf is not the one that the tree holds"));
}

// Each entry with its proof under `note`, which is of the first `size` entries.
std::string export_with_proofs(const TestingLog& log, std::size_t size, const std::string& note) {
  std::vector<tlog::Hash> leaves;
  for (const auto& entry : log.entries) leaves.push_back(tlog::leaf_hash(as_bytes(entry.leaf)));
  tlog::LeavesReader reader(std::span(leaves).first(size));
  std::string out;
  append_export_header(out, {.origin = std::string(TestingLog::origin), .size = log.entries.size()});
  std::vector<ExportedGroup> groups;
  for (std::size_t i = 0; i < log.entries.size(); ++i) {
    auto entry = exported(log.entries[i], i, groups);
    std::string proof;
    if (i < size) {
      proof = tlog::LogProof{.extra = log.entries[i].leaf,
                             .index = i,
                             .inclusion = tlog::prove_inclusion(reader, i, size).value(),
                             .checkpoint = note}
                  .encode();
      entry.proof = proof;
    }
    EXPECT_TRUE(append_export_entry(out, entry));
  }
  append_export_checkpoint(out, log.note());
  return out;
}

TEST_F(ExportTest, ProofsThatAreCarriedAreCheckedToo) {
  text = export_with_proofs(log, 40, log.note());
  for (const std::size_t piece_bytes : {1, 1'000}) EXPECT_EQ(verify(text, 0, piece_bytes), "");
  // One bit, wherever it is in a proof: what is no JSON any more is not as an export writes it.
  const auto begin = text.find(R"("proof":")", text.find("{\"index\":7,")) + 9;
  const auto end = text.find('"', begin);
  for (auto at = begin; at < end; at += 7) {
    const std::string changed = verify(tlog::flipped(text, at));
    EXPECT_THAT(changed, HasSubstr("entry 7: ")) << at - begin;
  }
  const std::string proof = text.substr(begin, end - begin);
  EXPECT_EQ(with(proof, ""), "line 9, entry 7: is not as an export writes it");
  EXPECT_THAT(with(proof, "nothing"), HasSubstr("entry 7: its proof: a proof file begins with"));
  EXPECT_EQ(with("\\nindex 7\\n", "\\nindex 8\\n"), "entry 7: its proof: is of another entry");
  // A line without one is as good as ever, and all that are there are under the checkpoint at the end.
  EXPECT_EQ(with(R"("proof":")" + proof + "\",", ""), "");
  EXPECT_EQ(verify(export_with_proofs(log, 30, log.note(30))),
            "the entries' proofs name another checkpoint than the export ends with");
  EXPECT_THAT(verify(export_with_proofs(log, 30, log.note())), HasSubstr("entry 0: its proof: "));
}

TEST_F(ExportTest, APrunedPrefixIsTakenWhereTheOperatorSaysSo) {
  const std::string rest = export_of(log, 10);
  EXPECT_THAT(verify(rest), HasSubstr("the export begins with entry 10"));
  EXPECT_THAT(verify(rest, 9), HasSubstr("the export begins with entry 10"));
  EXPECT_EQ(verify(rest, 10), "");
  EXPECT_EQ(counts.entries, 30u);
}

TEST_F(ExportTest, WhatPeopleReadIsHeldAgainstWhatWasSigned) {
  EXPECT_THAT(with(R"("actor":{"type":"user","id":"ada")", R"("actor":{"type":"user","id":"eve")"),
              HasSubstr("entry 0: what people read does not say what the signed envelope says"));
  EXPECT_THAT(with(R"("text":"ho")", R"("text":"no")"), HasSubstr("entry 0: what people read"));
  EXPECT_THAT(with(R"("details":"plain"})", R"("details":"plain","more":1})"),
              HasSubstr("entry 0: what people read"));
}

TEST_F(ExportTest, ALineOfAnotherFormIsRefused) {
  const auto expect_form = [&](std::string_view from, std::string_view to) {
    EXPECT_THAT(with(from, to), HasSubstr("is not as an export writes it")) << from << " → " << to;
  };
  expect_form("{\"index\":0", "{\"index\":00");
  expect_form("{\"index\":0", "{\"index\":-0");
  expect_form("{\"index\":0", "{ \"index\":0");
  expect_form("{\"index\":0", "{\"index\":99999999999999999999");
  expect_form("\"leaf\":\"iQFQ", "\"leaf\":\"iQ.Q");
  expect_form("\"leaf\":\"iQFQ", "\"leaf\":\"iQF");
  expect_form(",\"salt\":\"", ",\"salt\":\"AAAA");
  expect_form("\"envelope\"", "\"Envelope\"");
  expect_form(",\"event\":{", ",\"Event\":{");
  expect_form("}}\n{\"index\":1,", "}x\n{\"index\":1,");
  EXPECT_THAT(with("\"group\":\"prompt\"", "\"group\":\"prompts\""),
              HasSubstr("has groups that are not known"));
  EXPECT_THAT(with("\"group\":\"response\"", "\"group\":\"prompt\""),
              HasSubstr("its groups are not in their order"));
}

TEST_F(ExportTest, LinesThatAreMissingOrTooManyAreFound) {
  const auto second = text.find("{\"index\":1,"), third = text.find("{\"index\":2,");
  EXPECT_EQ(verify(text.substr(0, second) + text.substr(third)),
            "entry 1: should be next, but the log goes on with 2");
  EXPECT_EQ(verify(text.substr(0, third) + text.substr(second)),
            "entry 2: should be next, but the log goes on with 1");
  EXPECT_EQ(verify(text + "{}\n"), "line 43: something follows the checkpoint");
  EXPECT_EQ(verify(text + "\n"), "line 43: something follows the checkpoint");
  EXPECT_EQ(verify(""), "the export was cut off after line 0, before entry 0 of 0");
  EXPECT_EQ(verify(text.substr(0, second)), "the export was cut off after line 2, before entry 1 of 40");
  EXPECT_EQ(verify(text.substr(0, text.size() - 1)), "line 42 has no end: the export was cut off");
  const auto checkpoint = text.find("{\"checkpoint\"");
  EXPECT_EQ(verify(text.substr(0, checkpoint)),
            "the export was cut off after line 41, before entry 40 of 40");
  EXPECT_EQ(verify(text.substr(0, checkpoint) + text.substr(second)),
            "line 42: not the checkpoint of an export");
}

TEST_F(ExportTest, AHeaderThatIsWrongIsRefused) {
  EXPECT_EQ(verify("[]\n"), "line 1: not the header of an export");
  EXPECT_EQ(verify("nonsense\n"), "line 1: not the header of an export");
  EXPECT_EQ(verify("{}\n"), "line 1: not an export of format citadel-audit-export/1");
  EXPECT_THAT(with("export/1", "export/2"), HasSubstr("not an export of format"));
  EXPECT_EQ(with("\"size\":40", "\"siez\":40"), "line 1: /size: is missing");
  EXPECT_EQ(with("\"size\":40}", "\"size\":40,\"note\":1}").substr(0, 14), "line 1: /note:");
  EXPECT_EQ(with("\"first\":0", "\"first\":1"), "line 1: /before: is not the tree before /first");
  EXPECT_EQ(with("\"size\":40}", "\"size\":40,\"before\":\"*\"}"), "line 1: /before: must be base64");
  EXPECT_THAT(with("\"size\":40}", "\"size\":40,\"before\":\"AAAA\"}"), StartsWith("line 1: "));
  EXPECT_THAT(with("\"origin\":\"example.com/audit\"", "\"origin\":\"example.com/other\""),
              HasSubstr("the export is of the log example.com/other, not of example.com/audit"));
  std::string smaller = export_of(log, 10);
  smaller.replace(smaller.find("\"size\":40"), 9, "\"size\":4");
  EXPECT_EQ(verify(smaller, 10), "line 1: /size: is less than /first");
}

TEST_F(ExportTest, ASizeThatIsForgedIsFound) {
  EXPECT_EQ(with("\"size\":40", "\"size\":39"), "line 41: not the checkpoint of an export");
  EXPECT_THAT(with("\"size\":40", "\"size\":41"),
              HasSubstr("line 42, entry 40: is not as an export writes it"));
}

TEST_F(ExportTest, ALineHasALimit) {
  EXPECT_THAT(verify(std::string(export_line_bytes_max + 1, ' ')),
              HasSubstr("line 1 is longer than 1048576 bytes"));
  EXPECT_THAT(verify(std::string(export_line_bytes_max + 1, ' ') + "\n", 0, 100),
              HasSubstr("line 1 is longer than"));
}

TEST_F(ExportTest, WhatCannotBeShownIsNotWritten) {
  std::vector<ExportedGroup> groups;
  std::string out;
  ExportedEntry entry = exported(log.entries[0], 0, groups);
  entry.envelope->bytes = "nothing";
  EXPECT_THAT(append_export_entry(out, entry).error().message, HasSubstr("the envelope is"));
  entry = exported(log.entries[0], 0, groups);
  groups[0].content.bytes = "[\n]";
  EXPECT_EQ(append_export_entry(out, entry).error().message, "a group is not one line");
  groups[0].group = Group::details;
  EXPECT_EQ(append_export_entry(out, entry).error().message, "the groups are not in their order");
  entry = exported(log.entries[0], 0, groups);
  const std::string large = "\"" + std::string(700'000, 'x') + "\"";
  groups[0].content.bytes = large;
  EXPECT_THAT(append_export_entry(out, entry).error().message, HasSubstr("longer than a line"));
  EXPECT_EQ(out, "");
}

}  // namespace
}  // namespace citadel::audit
