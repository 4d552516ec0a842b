#include "tlog/checkpoint.hpp"

#include <gtest/gtest.h>

#include "base/base64.hpp"
#include "tlog/cosignature.hpp"
#include "tlog/test_tree.hpp"

namespace citadel::tlog {
namespace {

using std::chrono::sys_seconds;
using namespace std::chrono_literals;

// The example of tlog-checkpoint and tlog-cosignature; its keys are not published.
constexpr std::string_view spec_text =
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
constexpr std::string_view spec_signatures =
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/"
    "zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

NoteSigner signer(std::string_view name, KeyType type, char seed) {
  const std::string bytes(crypto::PrivateKey::seed_bytes, seed);
  return NoteSigner::make(name, type, crypto::PrivateKey(as_bytes(bytes).first<32>())).value();
}

struct Signed {
  NoteSigner log = signer("example.com/log", KeyType::ed25519, 'l');
  NoteSigner first = signer("witness.example/1", KeyType::cosignature_v1, '1');
  NoteSigner second = signer("witness.example/2", KeyType::cosignature_v1, '2');
  Checkpoint head{.origin = "example.com/log", .size = 7, .root = leaf_hash({}), .extensions = {}};
  Note note = sign_note(head.encode(), log).value();
  LogPolicy policy{
      .origin = "example.com/log", .log_keys = {log.verifier()}, .witnesses = {}, .witnesses_min = 0};
};

TEST(Checkpoint, TheSpecificationsExampleParses) {
  const auto head = Checkpoint::parse(spec_text).value();
  EXPECT_EQ(head.origin, "example.com/behind-the-sofa");
  EXPECT_EQ(head.size, 20'852'163u);
  EXPECT_EQ(to_base64(head.root), "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
  EXPECT_EQ(head.encode(), spec_text);
  const auto note = parse_note(std::string(spec_text) + "\n" + std::string(spec_signatures)).value();
  ASSERT_EQ(note.signatures.size(), 2u);
  EXPECT_EQ(note.text, spec_text);
  EXPECT_EQ(note.signatures[1].bytes.size(), cosignature_bytes);
  EXPECT_EQ(load_be<std::uint64_t>(note.signatures[1].bytes.data()), 1'679'315'147u)
      << "the time of the example";
}

TEST(Checkpoint, ExtensionsComeBack) {
  const Checkpoint head{.origin = "o", .size = 0, .root = empty_root(), .extensions = {"one", "two words"}};
  EXPECT_EQ(head.encode(), "o\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\none\ntwo words\n");
  EXPECT_EQ(Checkpoint::parse(head.encode()).value(), head);
  EXPECT_EQ(Checkpoint(), (Checkpoint{.origin = "", .size = 0, .root = empty_root(), .extensions = {}}));
}

TEST(Checkpoint, RefusesOtherForms) {
  const std::string root = to_base64(empty_root());
  ASSERT_TRUE(Checkpoint::parse("o\n9223372036854775807\n" + root + "\n"));
  for (const std::string& text :
       std::vector<std::string>{"",
                                "\n",
                                "o\n",
                                "o\n1\n",
                                "o\n1\n" + root,
                                "\n1\n" + root + "\n",
                                "o\n\n" + root + "\n",
                                "o\n1\n\n",
                                "o\n01\n" + root + "\n",
                                "o\n-1\n" + root + "\n",
                                "o\n+1\n" + root + "\n",
                                "o\n 1\n" + root + "\n",
                                "o\n1 \n" + root + "\n",
                                "o\n0x1\n" + root + "\n",
                                "o\n00\n" + root + "\n",
                                "o\n1\n" + root + " \n",
                                "o\n9223372036854775808\n" + root + "\n",
                                "o\n18446744073709551616\n" + root + "\n",
                                "o\n1\nAAAA\n",
                                "o\n1\n" + to_base64(as_bytes(std::string(33, 'x'))) + "\n",
                                "o\n1\n" + root + "\n\n",
                                "o\n1\n" + root + "\nline",
                                "o\n1\n" + root + "\n\nline\n",
                                "o\r\n1\n" + root + "\n",
                                "o\xFF\n1\n" + root + "\n"}) {
    EXPECT_EQ(code_of(Checkpoint::parse(text)), Code::corrupt) << text;
  }
}

TEST(OpenCheckpoint, NeedsTheLogsKeyAndItsOrigin) {
  Signed given;
  EXPECT_EQ(open_checkpoint(encode_note(given.note), given.policy).value().checkpoint, given.head);
  given.policy.origin = "example.com/other";
  EXPECT_EQ(code_of(open_checkpoint(encode_note(given.note), given.policy)), Code::permission_denied);
  given.policy.origin = "example.com/log";
  given.policy.log_keys = {signer("example.com/log", KeyType::ed25519, 'x').verifier()};
  EXPECT_EQ(code_of(open_checkpoint(encode_note(given.note), given.policy)), Code::unauthenticated);
  // A witness alone is not the log.
  given.policy.witnesses = {given.first.verifier()};
  given.note.signatures.push_back(cosign(given.first, given.head, sys_seconds(5s)));
  EXPECT_EQ(code_of(open_checkpoint(encode_note(given.note), given.policy)), Code::unauthenticated);
  given.note = sign_note("no checkpoint\n", given.log).value();
  given.policy.log_keys = {given.log.verifier()};
  EXPECT_EQ(code_of(open_checkpoint(encode_note(given.note), given.policy)), Code::corrupt);
}

TEST(OpenCheckpoint, CountsDifferentWitnesses) {
  Signed given;
  given.policy.witnesses = {given.first.verifier(), given.second.verifier()};
  given.policy.witnesses_min = 2;
  given.note.signatures.push_back(cosign(given.first, given.head, sys_seconds(1'000s)));
  given.note.signatures.push_back(cosign(given.first, given.head, sys_seconds(2'000s)));
  EXPECT_EQ(code_of(open_checkpoint(encode_note(given.note), given.policy)), Code::permission_denied);
  given.note.signatures.push_back(cosign(given.second, given.head, sys_seconds(3'000s)));
  const auto opened = open_checkpoint(encode_note(given.note), given.policy).value();
  EXPECT_EQ(opened.witnesses, (std::vector<WitnessedAt>{{"witness.example/1", sys_seconds(1'000s)},
                                                        {"witness.example/2", sys_seconds(3'000s)}}));
  // Two keys of one witness are one witness.
  const NoteSigner rotated = signer("witness.example/1", KeyType::cosignature_v1, 'r');
  given.note.signatures[3] = cosign(rotated, given.head, sys_seconds(1s));
  given.policy.witnesses = {given.first.verifier(), rotated.verifier()};
  EXPECT_EQ(code_of(open_checkpoint(encode_note(given.note), given.policy)), Code::permission_denied);
}

// A cosignature does not name its witness: whoever lists one key under two names would count it twice.
TEST(OpenCheckpoint, APolicyWithOneKeyTwiceIsRefused) {
  Signed given;
  given.policy.witnesses = {
      given.first.verifier(),
      NoteVerifier::make("other", KeyType::cosignature_v1, given.first.verifier().key()).value()};
  EXPECT_EQ(code_of(open_checkpoint(encode_note(given.note), given.policy)), Code::invalid_argument);
  given.policy.witnesses = {signer("w", KeyType::ed25519, 'w').verifier()};
  EXPECT_EQ(code_of(open_checkpoint(encode_note(given.note), given.policy)), Code::invalid_argument);
}

TEST(OpenCheckpoint, EachFlippedBitIsRefused) {
  Signed given;
  given.policy.witnesses = {given.first.verifier()};
  given.policy.witnesses_min = 1;
  given.note.signatures.push_back(cosign(given.first, given.head, sys_seconds(1'700'000'000s)));
  const std::string file = encode_note(given.note);
  ASSERT_TRUE(open_checkpoint(file, given.policy));
  for (std::size_t at = 0; at < file.size(); ++at) {
    EXPECT_FALSE(open_checkpoint(flipped(file, at, at % 8), given.policy)) << at;
    EXPECT_FALSE(open_checkpoint(file.substr(0, at), given.policy)) << at;
  }
}

TEST(Cosignature, SignsTheMessageOfTheSpecification) {
  EXPECT_EQ(cosigned_message(spec_text, sys_seconds(1'679'315'147s)),
            "cosignature/v1\ntime 1679315147\n" + std::string(spec_text));
  const NoteSigner witness = signer("witness.example.com/w1", KeyType::cosignature_v1, 'w');
  const auto head = Checkpoint::parse(spec_text).value();
  const NoteSignature signature = cosign(witness, head, sys_seconds(1'679'315'147s));
  EXPECT_EQ(to_hex(as_bytes(signature.bytes).first(8)), "00000000641850cb");
  EXPECT_EQ(witness.verifier().verify(spec_text, signature.bytes).value(), sys_seconds(1'679'315'147s));
  crypto::Signature raw;
  std::ranges::copy(as_bytes(signature.bytes).subspan(8), raw.bytes.begin());
  EXPECT_TRUE(crypto::verify(witness.verifier().key(),
                             as_bytes("cosignature/v1\ntime 1679315147\n" + std::string(spec_text)), raw));
}

TEST(Cosignature, EachFlippedBitAndATimeAbove63BitsAreRefused) {
  const NoteSigner witness = signer("w", KeyType::cosignature_v1, 'w');
  const auto head = Checkpoint::parse(spec_text).value();
  const NoteSignature signature = cosign(witness, head, sys_seconds(0s));
  const auto& key = witness.verifier().key();
  ASSERT_TRUE(verify_cosignature(key, spec_text, signature.bytes));
  for (std::size_t at = 0; at < signature.bytes.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      EXPECT_EQ(code_of(verify_cosignature(key, spec_text, flipped(signature.bytes, at, bit))),
                Code::corrupt);
    }
  }
  EXPECT_EQ(code_of(verify_cosignature(key, spec_text, signature.bytes.substr(1))), Code::corrupt);
  EXPECT_EQ(code_of(verify_cosignature(key, "o\n" + std::string(spec_text), signature.bytes)), Code::corrupt);
  // A plain signature is no cosignature, and the other way round.
  EXPECT_EQ(code_of(witness.verifier().verify(spec_text, signature.bytes.substr(8))), Code::corrupt);
  EXPECT_EQ(code_of(signer("w", KeyType::ed25519, 'w').verifier().verify(spec_text, signature.bytes)),
            Code::corrupt);
}

}  // namespace
}  // namespace citadel::tlog
