#include "tlog/proof.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/base64.hpp"
#include "tlog/cosignature.hpp"
#include "tlog/test_tree.hpp"

namespace citadel::tlog {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr std::size_t size = 21;
constexpr std::uint64_t index = 17;

struct Proven {
  NoteSigner log = NoteSigner::generate("example.com/log").value();
  NoteSigner witness = NoteSigner::generate("witness.example", KeyType::cosignature_v1).value();
  std::vector<Hash> leaves = test_leaves(size);
  LogPolicy policy{.origin = "example.com/log",
                   .log_keys = {log.verifier()},
                   .witnesses = {witness.verifier()},
                   .witnesses_min = 1};

  std::string checkpoint() const {
    const Checkpoint head{
        .origin = "example.com/log", .size = size, .root = reference_root(leaves), .extensions = {}};
    Note note = sign_note(head.encode(), log).value();
    note.signatures.push_back(cosign(witness, head, std::chrono::sys_seconds(1'700'000'000s)));
    return encode_note(note);
  }
  LogProof proof(std::string extra = {}) const {
    LeavesReader reader(leaves);
    return {std::move(extra), index, prove_inclusion(reader, index, size).value(), checkpoint()};
  }
};

TEST(LogProof, IsWrittenAsTheSpecificationDoesAndVerifies) {
  const Proven given;
  const LogProof proof = given.proof("extra data");
  const std::string file = proof.encode();
  EXPECT_TRUE(file.starts_with("c2sp.org/tlog-proof@v1\nextra ZXh0cmEgZGF0YQ==\nindex 17\n" +
                               to_base64(proof.inclusion[0]) + "\n"));
  EXPECT_TRUE(file.ends_with("=\n\n" + proof.checkpoint));
  const LogProof parsed = LogProof::parse(file).value();
  EXPECT_EQ(parsed, proof);
  const auto opened = verify_proof(parsed, given.leaves[index], given.policy).value();
  EXPECT_EQ(opened.checkpoint.size, size);
  EXPECT_EQ(opened.witnesses.size(), 1u);
  EXPECT_TRUE(given.proof().encode().starts_with("c2sp.org/tlog-proof@v1\nindex 17\n"));
}

TEST(LogProof, TheOnlyLeafNeedsNoHashes) {
  const std::string file = "c2sp.org/tlog-proof@v1\nindex 0\n\ncheckpoint";
  EXPECT_EQ(LogProof::parse(file).value(), (LogProof{{}, 0, {}, "checkpoint"}));
  EXPECT_EQ(LogProof::parse(file).value().encode(), file);
}

// The extra data is not authenticated, as the specification says; every other byte is.
TEST(LogProof, EachFlippedBitIsRefused) {
  const Proven given;
  const std::string file = given.proof().encode();
  ASSERT_TRUE(verify_proof(LogProof::parse(file).value(), given.leaves[index], given.policy));
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (const unsigned bit : {0u, static_cast<unsigned>(1 + at % 7)}) {
      const auto parsed = LogProof::parse(flipped(file, at, bit));
      EXPECT_FALSE(parsed && verify_proof(*parsed, given.leaves[index], given.policy)) << at << " " << bit;
    }
    const auto cut = LogProof::parse(file.substr(0, at));
    EXPECT_FALSE(cut && verify_proof(*cut, given.leaves[index], given.policy)) << at;
  }
}

TEST(LogProof, BindsTheLeafTheIndexAndThePolicy) {
  Proven given;
  LogProof proof = given.proof();
  EXPECT_EQ(code_of(verify_proof(proof, given.leaves[index - 1], given.policy)), Code::corrupt);
  --proof.index;
  EXPECT_EQ(code_of(verify_proof(proof, given.leaves[index], given.policy)), Code::corrupt);
  proof.index = size;
  EXPECT_EQ(code_of(verify_proof(proof, given.leaves[index], given.policy)), Code::corrupt);
  proof.index = index;
  given.policy.witnesses_min = 2;
  EXPECT_EQ(code_of(verify_proof(proof, given.leaves[index], given.policy)), Code::permission_denied);
  given.policy.witnesses_min = 0;
  given.policy.log_keys = {NoteSigner::generate("example.com/log").value().verifier()};
  EXPECT_EQ(code_of(verify_proof(proof, given.leaves[index], given.policy)), Code::unauthenticated);
}

TEST(LogProof, RefusesOtherForms) {
  const std::string head = "c2sp.org/tlog-proof@v1\n";
  const std::string hash = to_base64(empty_root()) + "\n";
  ASSERT_TRUE(LogProof::parse(head + "index 0\n" + hash + "\n"));
  for (const std::string& file : std::vector<std::string>{"",
                                                          "\n",
                                                          "c2sp.org/tlog-proof@v1",
                                                          head,
                                                          "c2sp.org/tlog-proof@v2\nindex 0\n\n",
                                                          head + "\n",
                                                          head + "index\n\n",
                                                          head + "index \n\n",
                                                          head + "index 01\n\n",
                                                          head + "index -1\n\n",
                                                          head + "index 1 \n\n",
                                                          head + " index 1\n\n",
                                                          head + "Index 1\n\n",
                                                          head + "index 9223372036854775808\n\n",
                                                          head + "index 0\n",
                                                          head + "index 0\n" + hash,
                                                          head + "index 0\n" + hash + "AAAA\n\n",
                                                          head + "index 0\n" + hash + " \n\n",
                                                          head + "extra \nindex 0\n\n",
                                                          head + "extra AA\nindex 0\n\n",
                                                          head + "extra\nindex 0\n\n",
                                                          head + "index 0\nextra AAAA\n\n",
                                                          head + "extra AAAA\nextra AAAA\nindex 0\n\n",
                                                          head + "index 0\nindex 0\n\n",
                                                          head + "extra AAAA\n\n"}) {
    EXPECT_EQ(code_of(LogProof::parse(file)), Code::corrupt) << file;
  }
}

TEST(LogProof, LimitsAreExceededInVain) {
  const std::string head = "c2sp.org/tlog-proof@v1\nindex 0\n";
  const std::string hash = to_base64(empty_root()) + "\n";
  std::string hashes;
  for (std::size_t i = 0; i < proof_hashes_max; ++i) hashes += hash;
  EXPECT_TRUE(LogProof::parse(head + hashes + "\n"));
  EXPECT_THAT(LogProof::parse(head + hashes + hash + "\n").error().message, HasSubstr("more hashes"));
  EXPECT_TRUE(LogProof::parse(head + "\n" + std::string(note_bytes_max, 'x')));
  EXPECT_EQ(code_of(LogProof::parse(head + "\n" + std::string(note_bytes_max + 1, 'x'))), Code::corrupt);
  const auto with_extra = [](std::size_t bytes) {
    return LogProof::parse("c2sp.org/tlog-proof@v1\nextra " + to_base64(as_bytes(std::string(bytes, 'x'))) +
                           "\nindex 0\n\n");
  };
  EXPECT_TRUE(with_extra(proof_extra_bytes_max));
  EXPECT_EQ(code_of(with_extra(proof_extra_bytes_max + 1)), Code::corrupt);
  EXPECT_EQ(code_of(with_extra(proof_extra_bytes_max + 100)), Code::corrupt);
}

}  // namespace
}  // namespace citadel::tlog
