// Every parser of the room on any bytes: it ends, stays inside them, and what it takes is written back as the
// same bytes, so that no two texts stand for one thing. Then a witness, and both proof checks, on what
// parsed.
#include <cstddef>
#include <cstdint>

#include "base/check.hpp"
#include "tlog/proof.hpp"
#include "tlog/tiles.hpp"
#include "tlog/witness.hpp"

using namespace citadel;
using namespace citadel::tlog;

namespace {

const NoteVerifier& known_key() {
  static const auto key =
      NoteVerifier::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").value();
  return key;
}

const Witness& known_witness() {
  static const Witness witness = [] {
    const std::string seed(crypto::PrivateKey::seed_bytes, 'w');
    auto signer =
        NoteSigner::make("w", KeyType::cosignature_v1, crypto::PrivateKey(as_bytes(seed).first<32>()));
    return Witness(*std::move(signer), {{"example.com/foo", {known_key()}}});
  }();
  return witness;
}

void check_notes(std::string_view text) {
  const std::span keys(&known_key(), 1);
  if (const auto note = parse_note(text)) {
    CITADEL_CHECK(encode_note(*note) == text, "a note of two forms");
    const auto opened = open_note(text, keys);
    CITADEL_CHECK(!opened || opened->note == *note, "an opened note is another");
  }
  if (const auto signatures = parse_signatures(text)) {
    std::string lines;
    for (const auto& signature : *signatures) lines += encode_signature(signature);
    CITADEL_CHECK(lines == text, "signatures of two forms");
  }
  if (const auto checkpoint = Checkpoint::parse(text)) {
    CITADEL_CHECK(checkpoint->encode() == text, "a checkpoint of two forms");
  }
  if (const auto verifier = NoteVerifier::parse(text)) {
    CITADEL_CHECK(verifier->encode() == text, "a verifier key of two forms");
  }
  if (const auto signer = NoteSigner::parse(Secret(std::string(text)))) {
    CITADEL_CHECK(signer->encode().reveal() == text, "a private key of two forms");
  }
}

void check_proofs(std::string_view text) {
  if (const auto proof = LogProof::parse(text)) {
    CITADEL_CHECK(proof->encode() == text, "a proof of two forms");
    const LogPolicy policy{
        .origin = "example.com/foo", .log_keys = {known_key()}, .witnesses = {}, .witnesses_min = 0};
    CITADEL_CHECK(!verify_proof(*proof, leaf_hash({}), policy), "nobody has proven this");
    // A proof of any hashes leads to some root, but not to the root of nothing.
    (void)verify_inclusion(leaf_hash({}), proof->index, proof->index + 1, proof->inclusion, empty_root());
    CITADEL_CHECK(!verify_consistency(1 + proof->index / 2, empty_root(), 2 + proof->index, empty_root(),
                                      proof->inclusion),
                  "nothing is consistent with this");
  }
  if (const auto request = parse_add_checkpoint(text)) {
    CITADEL_CHECK(encode_add_checkpoint(*request) == text, "a request of two forms");
  }
  const auto answer = known_witness().add_checkpoint(
      text, [](std::string_view) { return WitnessedHead{}; }, std::chrono::sys_seconds());
  CITADEL_CHECK(answer.status >= 400 && !answer.store, "a checkpoint that nobody signed is cosigned");
  for (const int status : {200, 409}) {
    CITADEL_CHECK(
        status == 409 || !read_add_checkpoint_answer(status, witness_size_content_type, text, "a\n0\nb\n",
                                                     std::span(&known_witness().verifier(), 1)),
        "a cosignature that nobody made");
    (void)read_add_checkpoint_answer(status, witness_size_content_type, text, "", {});
  }
}

void check_tiles(std::string_view text) {
  if (const auto path = TilePath::parse(text)) CITADEL_CHECK(path->encode() == text, "a path of two forms");
  if (const auto range = CompactRange::decode(as_bytes(text))) {
    CITADEL_CHECK(range->encode() == text, "a compact range of two forms");
  }
  for (const std::uint32_t count : {0u, 1u, 2u, 3u, 256u}) {
    const auto entries = decode_bundle(text, count);
    if (!entries) continue;
    std::string bundle;
    for (const Bytes entry : *entries)
      CITADEL_CHECK(append_entry(bundle, entry).has_value(), "an entry is too long");
    CITADEL_CHECK(bundle == text && entries->size() == count, "a bundle of two forms");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_notes(text);
  check_proofs(text);
  check_tiles(text);
  return 0;
}
