#include "tlog/witness.hpp"

#include <gtest/gtest.h>

#include "base/base64.hpp"
#include "tlog/cosignature.hpp"
#include "tlog/test_tree.hpp"

namespace citadel::tlog {
namespace {

using std::chrono::sys_seconds;
using namespace std::chrono_literals;

constexpr std::string_view origin = "example.com/log";
constexpr sys_seconds now{1'700'000'000s};

// A log and a witness that know each other, with the witness's store in memory.
struct Pair {
  NoteSigner log = NoteSigner::generate(origin).value();
  NoteSigner key = NoteSigner::generate("witness.example/w1", KeyType::cosignature_v1).value();
  std::vector<NoteVerifier> witness_keys = {key.verifier()};
  Witness witness =
      Witness(NoteSigner::parse(key.encode()).value(),
              {{std::string(origin), {log.verifier()}}, {"example.com/second", {log.verifier()}}});
  std::vector<Hash> leaves = test_leaves(100);
  WitnessedHead head;

  Checkpoint checkpoint(std::uint64_t size) const {
    return {.origin = std::string(origin), .size = size, .root = root(size), .extensions = {}};
  }
  Hash root(std::uint64_t size) const { return reference_root(std::span(leaves).first(size)); }
  AddCheckpointRequest request(std::uint64_t old_size, std::uint64_t size) const {
    LeavesReader reader(leaves);
    return {old_size, prove_consistency(reader, old_size, size).value(),
            encode_note(sign_note(checkpoint(size).encode(), log).value())};
  }
  WitnessAnswer ask(std::string_view body) {
    auto answer = witness.add_checkpoint(body, [&](std::string_view) { return head; }, now);
    EXPECT_EQ(answer.store.has_value(), answer.status == 200);
    if (answer.store) head = answer.store->head;
    return answer;
  }
  WitnessAnswer ask(const AddCheckpointRequest& asked) { return ask(encode_add_checkpoint(asked)); }
};

TEST(Witness, CosignsAGrowingLogAndTheLogVerifiesIt) {
  Pair pair;
  std::uint64_t old_size = 0;
  for (const std::uint64_t size : {1u, 1u, 2u, 7u, 64u, 65u, 100u, 100u}) {
    const auto answer = pair.ask(pair.request(old_size, size));
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.store->origin, origin);
    EXPECT_EQ(answer.store->head, (WitnessedHead{size, pair.root(size)}));
    const auto read = read_add_checkpoint_answer(answer.status, answer.content_type, answer.body,
                                                 pair.checkpoint(size).encode(), pair.witness_keys)
                          .value();
    ASSERT_EQ(std::get<Cosigned>(read).signatures.size(), 1u);
    // What monitors are given has both signatures.
    const LogPolicy policy{.origin = std::string(origin),
                           .log_keys = {pair.log.verifier()},
                           .witnesses = pair.witness_keys,
                           .witnesses_min = 1};
    const auto opened = open_checkpoint(answer.store->file, policy).value();
    EXPECT_EQ(opened.witnesses, (std::vector<WitnessedAt>{{"witness.example/w1", now}}));
    old_size = size;
  }
}

TEST(Witness, AnswersWithItsSizeWhereTheOldSizeIsAnother) {
  Pair pair;
  pair.head = {40, pair.root(40)};
  for (const std::uint64_t old_size : {0u, 39u, 41u}) {
    const auto answer = pair.ask(pair.request(old_size, 50));
    EXPECT_EQ(answer.status, 409);
    EXPECT_EQ(answer.content_type, "text/x.tlog.size");
    EXPECT_EQ(answer.body, "40\n");
    const auto read =
        read_add_checkpoint_answer(answer.status, answer.content_type, answer.body, "", pair.witness_keys);
    EXPECT_EQ(std::get<WitnessIsAt>(read.value()).size, 40u);
  }
  EXPECT_EQ(pair.ask(pair.request(40, 50)).status, 200);
}

TEST(Witness, RefusesWhatIsMalformedWith400) {
  Pair pair;
  const auto good = pair.request(0, 10);
  for (const std::string& body : std::vector<std::string>{
           "", "\n", "old\n\n" + good.checkpoint, "old 00\n\n" + good.checkpoint,
           "old -1\n\n" + good.checkpoint, "old 0 \n\n" + good.checkpoint, "Old 0\n\n" + good.checkpoint,
           "old 0\n" + good.checkpoint, "old 0\nAAAA\n\n" + good.checkpoint, "old 0\n", "old 0\n\n",
           "old 0\n\n\n" + good.checkpoint, "old 0\n\n" + good.checkpoint + "x",
           encode_add_checkpoint({0, {}, "text\n"}),
           encode_add_checkpoint({0, {}, encode_note(sign_note("no checkpoint\n", pair.log).value())})}) {
    EXPECT_EQ(pair.ask(body).status, 400) << body;
  }
  auto larger = pair.request(0, 10);
  larger.old_size = 11;
  EXPECT_EQ(pair.ask(larger).status, 400) << "the old size is above the checkpoint's";
}

TEST(Witness, AProofOfMoreThan63HashesIs400) {
  Pair pair;
  auto request = pair.request(0, 10);
  request.proof.assign(witness_proof_hashes_max, empty_root());
  EXPECT_EQ(pair.ask(request).status, 422) << "63 are read, and are wrong";
  std::string body = encode_add_checkpoint(request);
  body.insert(body.find("\n\n") + 1, to_base64(empty_root()) + "\n");
  EXPECT_EQ(pair.ask(body).status, 400);
  EXPECT_EQ(pair.ask(std::string(add_checkpoint_bytes_max + 1, 'x')).status, 400);
}

TEST(Witness, RefusesUnknownLogsWith404AndKeysWith403) {
  Pair pair;
  auto request = pair.request(0, 10);
  Checkpoint other = pair.checkpoint(10);
  other.origin = "example.com/unknown";
  request.checkpoint = encode_note(sign_note(other.encode(), pair.log).value());
  EXPECT_EQ(pair.ask(request).status, 404);

  const NoteSigner stranger = NoteSigner::generate(origin).value();
  const std::string text = pair.checkpoint(10).encode();
  request.checkpoint = encode_note(sign_note(text, stranger).value());
  EXPECT_EQ(pair.ask(request).status, 403) << "no key that it trusts";
  Note note = sign_note(text, pair.log).value();
  note.signatures[0].bytes = pair.log.sign("another text\n").bytes;
  request.checkpoint = encode_note(note);
  EXPECT_EQ(pair.ask(request).status, 403) << "a trusted key whose signature fails";
  // A stranger's signature beside the log's is ignored, and is not kept for monitors.
  note = sign_note(text, stranger).value();
  note.signatures.push_back(pair.log.sign(text));
  request.checkpoint = encode_note(note);
  const auto answer = pair.ask(request);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(parse_note(answer.store->file).value().signatures.size(), 2u);
}

TEST(Witness, RefusesWhatIsInconsistentWith422) {
  Pair pair;
  // A tree without leaves has one root.
  Checkpoint empty{.origin = std::string(origin), .size = 0, .root = pair.root(1), .extensions = {}};
  EXPECT_EQ(pair.ask({0, {}, encode_note(sign_note(empty.encode(), pair.log).value())}).status, 422);
  empty.root = empty_root();
  EXPECT_EQ(pair.ask({0, {}, encode_note(sign_note(empty.encode(), pair.log).value())}).status, 200);
  // From nothing there is no proof.
  auto request = pair.request(0, 10);
  request.proof = {empty_root()};
  EXPECT_EQ(pair.ask(request).status, 422);
  ASSERT_EQ(pair.ask(pair.request(0, 10)).status, 200);
  // The same size with another root.
  Checkpoint fork = pair.checkpoint(10);
  fork.root = pair.root(11);
  EXPECT_EQ(pair.ask({10, {}, encode_note(sign_note(fork.encode(), pair.log).value())}).status, 422);
  // Each hash of a proof.
  const auto good = pair.request(10, 77);
  for (std::size_t at = 0; at < good.proof.size(); ++at) {
    auto changed = good;
    flip_bit(changed.proof[at], at);
    EXPECT_EQ(pair.ask(changed).status, 422);
  }
  auto cut = good;
  cut.proof.pop_back();
  EXPECT_EQ(pair.ask(cut).status, 422);
  // Another history: the log signs a tree that did not grow from the one it showed.
  Pair forked;
  forked.leaves[3] = empty_root();
  const auto proof = forked.request(10, 77).proof;
  Checkpoint second = pair.checkpoint(77);
  second.root = forked.root(77);
  EXPECT_EQ(pair.ask({10, proof, encode_note(sign_note(second.encode(), pair.log).value())}).status, 422);
  EXPECT_EQ(pair.head.size, 10u) << "nothing of it was stored";
  EXPECT_EQ(pair.ask(good).status, 200);
}

TEST(AddCheckpoint, RequestsComeBackAsTheSpecificationWritesThem) {
  const std::string body =
      "old 20852014\n"
      "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
      "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
      "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n"
      "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n"
      "\n"
      "example.com/behind-the-sofa\n"
      "20852163\n"
      "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
      "\n"
      "— example.com/behind-the-sofa "
      "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
      "— example.com/behind-the-sofa "
      "opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
  const auto request = parse_add_checkpoint(body).value();
  EXPECT_EQ(request.old_size, 20'852'014u);
  EXPECT_EQ(request.proof.size(), 4u);
  EXPECT_EQ(encode_add_checkpoint(request), body);
  EXPECT_EQ(Checkpoint::parse(parse_note(request.checkpoint).value().text).value().size, 20'852'163u);
}

TEST(AddCheckpoint, TheLogReadsEachStatus) {
  const Pair pair;
  const auto read = [&](int status, std::string_view content_type = "", std::string_view body = "") {
    return read_add_checkpoint_answer(status, content_type, body, pair.checkpoint(3).encode(),
                                      pair.witness_keys);
  };
  EXPECT_EQ(code_of(read(400)), Code::invalid_argument);
  EXPECT_EQ(code_of(read(403)), Code::permission_denied);
  EXPECT_EQ(code_of(read(404)), Code::not_found);
  EXPECT_EQ(code_of(read(422)), Code::conflict);
  for (const int status : {429, 500, 502, 503, 599}) {
    EXPECT_EQ(code_of(read(status)), Code::unavailable) << status;
    EXPECT_EQ(read(status).error().retry, Retry::safe);
  }
  for (const int status : {0, 100, 201, 204, 301, 401, 600})
    EXPECT_EQ(code_of(read(status)), Code::corrupt) << status;
  EXPECT_TRUE(read(409, "text/x.tlog.size", "7\n"));
  EXPECT_TRUE(read(409, "text/x.tlog.size; charset=utf-8", "7\n"));
  for (const auto& [type, body] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
           {"text/plain", "7\n"},
           {"text/x.tlog.sizes", "7\n"},
           {"text/x.tlog.size", "7"},
           {"text/x.tlog.size", "07\n"},
           {"text/x.tlog.size", "7\n\n"},
           {"text/x.tlog.size", ""},
           {"text/x.tlog.size", "9223372036854775808\n"}}) {
    EXPECT_EQ(code_of(read(409, type, body)), Code::corrupt) << type << " " << body;
  }
}

TEST(AddCheckpoint, OnlyVerifiedCosignaturesOfKnownKeysAreTaken) {
  const Pair pair;
  const Checkpoint head = pair.checkpoint(3);
  const auto read = [&](const std::vector<NoteSignature>& signatures) {
    std::string body;
    for (const auto& signature : signatures) body += encode_signature(signature);
    return read_add_checkpoint_answer(200, "", body, head.encode(), pair.witness_keys);
  };
  const NoteSigner stranger = NoteSigner::generate("witness.example/w1", KeyType::cosignature_v1).value();
  const NoteSignature good = cosign(pair.key, head, now);
  const auto taken = read({cosign(stranger, head, now), good}).value();
  EXPECT_EQ(std::get<Cosigned>(taken).signatures, std::vector{good});
  EXPECT_EQ(code_of(read({})), Code::corrupt);
  EXPECT_EQ(code_of(read({cosign(stranger, head, now)})), Code::unauthenticated);
  EXPECT_EQ(code_of(read({cosign(pair.key, pair.checkpoint(4), now)})), Code::corrupt)
      << "of another checkpoint";
  EXPECT_EQ(code_of(read({good, cosign(pair.key, pair.checkpoint(4), now)})), Code::corrupt);
  EXPECT_EQ(code_of(read({cosign(pair.key, head, sys_seconds(0s))})), Code::corrupt) << "without a time";
}

}  // namespace
}  // namespace citadel::tlog
