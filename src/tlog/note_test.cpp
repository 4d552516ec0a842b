#include "tlog/note.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/base64.hpp"
#include "tlog/test_tree.hpp"

namespace citadel::tlog {
namespace {

using testing::HasSubstr;

// The example of C2SP signed-note, section "Verifier keys".
constexpr std::string_view spec_key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
constexpr std::string_view spec_note =
    "This is an example message.\n"
    "\n"
    "— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

// Of the documentation of Go's golang.org/x/mod/sumdb/note.
constexpr std::string_view go_private =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
constexpr std::string_view go_key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
constexpr std::string_view go_second_key = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
constexpr std::string_view go_text =
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n";
constexpr std::string_view go_signatures =
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    "— EnochRoot "
    "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

NoteVerifier key(std::string_view text) {
  return NoteVerifier::parse(text).value();
}

NoteSigner signer(std::string_view name, char seed = 's', KeyType type = KeyType::ed25519) {
  const std::string bytes(crypto::PrivateKey::seed_bytes, seed);
  return NoteSigner::make(name, type, crypto::PrivateKey(as_bytes(bytes).first<32>())).value();
}

TEST(Note, TheSpecificationsExampleVerifies) {
  const std::vector<NoteVerifier> keys = {key(spec_key)};
  const auto opened = open_note(spec_note, keys).value();
  EXPECT_EQ(opened.note.text, "This is an example message.\n");
  EXPECT_EQ(opened.verified, (std::vector<VerifiedSignature>{{0, std::nullopt}}));
  EXPECT_EQ(encode_note(opened.note), spec_note);
  EXPECT_EQ(keys[0].encode(), spec_key);
  EXPECT_EQ(keys[0].id(), 0x530d903au);
}

TEST(Note, GosExampleVerifiesAndIsSignedAlike) {
  const std::string file = std::string(go_text) + "\n" + std::string(go_signatures);
  const std::vector<NoteVerifier> keys = {key(go_second_key), key(go_key)};
  EXPECT_EQ(open_note(file, keys).value().verified,
            (std::vector<VerifiedSignature>{{1, std::nullopt}, {0, std::nullopt}}));
  const auto peter = NoteSigner::parse(Secret(std::string(go_private))).value();
  EXPECT_EQ(peter.encode().reveal(), go_private);
  EXPECT_EQ(peter.verifier().encode(), go_key);
  const Note note = sign_note(go_text, peter).value();
  EXPECT_EQ(encode_note(note),
            std::string(go_text) + "\n" + std::string(go_signatures.substr(0, go_signatures.find('\n') + 1)));
}

// The first example has empty lines inside its text; the key of neither is published.
TEST(Note, TheOtherExamplesParse) {
  const std::string poem =
      "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
      "— quasimodo.example/salvatore "
      "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
  const Note note = parse_note(poem).value();
  EXPECT_EQ(note.text,
            "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n");
  ASSERT_EQ(note.signatures.size(), 1u);
  EXPECT_EQ(note.signatures[0].name, "quasimodo.example/salvatore");
  EXPECT_EQ(note.signatures[0].id, 0x367ba04bu);
  EXPECT_EQ(note.signatures[0].bytes.size(), 64u);
  EXPECT_EQ(encode_note(note), poem);
  EXPECT_EQ(code_of(open_note(poem, std::vector{key(spec_key)})), Code::unauthenticated);
}

TEST(Note, UnknownSignaturesAreIgnoredAlsoWithAKnownNameOrId) {
  const NoteSigner known = signer("example.com/log");
  Note note = sign_note("text\n", known).value();
  const NoteSignature good = note.signatures[0];
  NoteSignature same_name = good;
  same_name.id ^= 1;
  NoteSignature same_id = good;
  same_id.name = "example.com/other";
  same_name.bytes = same_id.bytes = "not sixty-four bytes";
  note.signatures = {same_name, good, same_id};
  const std::vector keys = {known.verifier()};
  EXPECT_EQ(open_note(encode_note(note), keys).value().verified.size(), 1u);
  note.signatures = {same_name, same_id};
  EXPECT_EQ(code_of(open_note(encode_note(note), keys)), Code::unauthenticated);
  EXPECT_EQ(code_of(open_note(encode_note(note), {})), Code::unauthenticated);
}

TEST(Note, AKnownKeyWhoseSignatureFailsSpoilsTheNote) {
  const NoteSigner first = signer("example.com/log");
  const NoteSigner second = signer("example.com/log", 't');
  Note note = sign_note("text\n", first).value();
  note.signatures.push_back(second.sign("text\n"));
  const std::vector keys = {first.verifier(), second.verifier()};
  ASSERT_EQ(open_note(encode_note(note), keys).value().verified.size(), 2u);
  note.signatures[1] = second.sign("another text\n");
  EXPECT_EQ(code_of(open_note(encode_note(note), keys)), Code::corrupt);
  EXPECT_TRUE(open_note(encode_note(note), std::span(keys).first(1))) << "its key is unknown";
  // A second signature by a key whose first one is good is verified too.
  note.signatures = {first.sign("text\n"), first.sign("another text\n")};
  EXPECT_EQ(code_of(open_note(encode_note(note), keys)), Code::corrupt);
  note.signatures = {first.sign("text\n"), first.sign("text\n")};
  EXPECT_EQ(open_note(encode_note(note), keys).value().verified.size(), 1u) << "a key counts once";
  note.signatures[0].bytes.pop_back();
  EXPECT_EQ(code_of(open_note(encode_note(note), keys)), Code::corrupt);
}

TEST(Note, TheSameVerifierTwiceIsRefused) {
  const std::vector keys = {key(spec_key), key(spec_key)};
  EXPECT_EQ(code_of(open_note(spec_note, keys)), Code::invalid_argument);
}

TEST(Note, EachFlippedBitIsRefused) {
  const std::vector keys = {key(spec_key)};
  for (std::size_t at = 0; at < spec_note.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      EXPECT_FALSE(open_note(flipped(std::string(spec_note), at, bit), keys)) << at << " " << bit;
    }
  }
  for (std::size_t size = 0; size < spec_note.size(); ++size) {
    EXPECT_FALSE(open_note(spec_note.substr(0, size), keys)) << size;
  }
}

TEST(Note, RefusesOtherForms) {
  const std::string line = "— name AAAAAAAA\n";
  ASSERT_TRUE(parse_note("text\n\n" + line));
  for (const std::string& file : std::vector<std::string>{"",
                                                          "\n",
                                                          "\n\n",
                                                          "text\n\n",
                                                          "text\n" + line,
                                                          line,
                                                          "\n" + line,
                                                          "text\n\n" + line + "\n",
                                                          "text\n\n\n",
                                                          "text\n\n— name AAAAAAAA",
                                                          "text\n\n- name AAAAAAAA\n",
                                                          "text\n\n—name AAAAAAAA\n",
                                                          "text\n\n—  AAAAAAAA\n",
                                                          "text\n\n—  name AAAAAAAA\n",
                                                          "text\n\n— name  AAAAAAAA\n",
                                                          "text\n\n— name AAAAAAAA \n",
                                                          "text\n\n— name\n",
                                                          "text\n\n— name \n",
                                                          "text\n\n— name AAAA\n",
                                                          "text\n\n— name AAAAAA==\n",
                                                          "text\n\n— name AAAAAAAAA\n",
                                                          "text\n\n— name AAAAAAB=\n",
                                                          "text\n\n— na+me AAAAAAAA\n",
                                                          "text\n\n— na\xC2\xA0me AAAAAAAA\n",
                                                          "text\r\n\n" + line,
                                                          "te\txt\n\n" + line,
                                                          std::string("te\0xt\n\n", 7) + line,
                                                          "te\xFFxt\n\n" + line,
                                                          "text\n\n" + line + "more\n",
                                                          "text\n\n" + line + "more"}) {
    EXPECT_EQ(code_of(parse_note(file)), Code::corrupt) << file;
  }
}

TEST(Note, LimitsAreExceededInVain) {
  const std::string line = "— name AAAAAAAA\n";
  std::string lines;
  for (std::size_t i = 0; i < note_signatures_max; ++i) lines += line;
  EXPECT_TRUE(parse_note("text\n\n" + lines)) << "16 must be accepted at least";
  EXPECT_THAT(parse_note("text\n\n" + lines + line).error().message, HasSubstr("signatures"));
  EXPECT_EQ(code_of(parse_signatures(lines + line)), Code::corrupt);
  EXPECT_EQ(code_of(parse_signatures("")), Code::corrupt);

  const std::string text(note_bytes_max - line.size() - 2, 'x');
  EXPECT_TRUE(parse_note(text + "\n\n" + line));
  EXPECT_EQ(code_of(parse_note(text + "x\n\n" + line)), Code::corrupt);
  EXPECT_EQ(code_of(sign_note(std::string(note_bytes_max, 'x') + "\n", signer("n"))), Code::invalid_argument);
  EXPECT_EQ(code_of(parse_signatures("— name " + std::string(note_bytes_max, 'A') + "\n")), Code::corrupt);
}

TEST(Note, OnlyTextsOfNotesAreSigned) {
  const NoteSigner known = signer("name");
  for (const std::string& text :
       std::vector<std::string>{"", "no end", "tab\t\n", "cr\r\n", std::string("nul\0\n", 5), "\xC3(\n"}) {
    EXPECT_EQ(code_of(sign_note(text, known)), Code::invalid_argument) << text;
  }
  // A text that looks like signatures stays the text.
  const std::string text = "text\n\n— name AAAAAAAA\n";
  const std::vector keys = {known.verifier()};
  EXPECT_EQ(open_note(encode_note(sign_note(text, known).value()), keys).value().note.text, text);
}

TEST(NoteKey, NamesAreChecked) {
  for (const auto* name : {"a", "example.com/log42", "oid/1.2.3", "è", "a-b_c:d"})
    EXPECT_TRUE(is_key_name(name)) << name;
  for (const auto* name :
       {"", " ", "a b", "a+b", "a\tb", "a\nb", "a\x7F+", "a\xC2\x85", "a\xC2\xA0", "\xE1\x9A\x80",
        "a\xE2\x80\x83z", "\xE2\x80\xA8", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_key_name(name)) << name;
    EXPECT_EQ(code_of(NoteVerifier::make(name, KeyType::ed25519, {})), Code::invalid_argument);
    EXPECT_EQ(code_of(NoteSigner::generate(name)), Code::invalid_argument);
  }
  EXPECT_TRUE(is_key_name(std::string(key_name_bytes_max, 'n')));
  EXPECT_FALSE(is_key_name(std::string(key_name_bytes_max + 1, 'n')));
}

TEST(NoteKey, VerifierKeysAreStrict) {
  EXPECT_EQ(code_of(NoteVerifier::parse(
                "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")),
            Code::invalid_argument);
  EXPECT_EQ(
      code_of(NoteVerifier::parse("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")),
      Code::unsupported);
  for (std::size_t size = 0; size < go_key.size(); ++size)
    EXPECT_FALSE(NoteVerifier::parse(go_key.substr(0, size)));
  for (std::size_t at = 0; at < go_key.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit)
      EXPECT_FALSE(NoteVerifier::parse(flipped(std::string(go_key), at, bit)));
  }
  EXPECT_FALSE(NoteVerifier::parse("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"));
  EXPECT_FALSE(NoteVerifier::parse(std::string(go_key) + "\n"));
}

TEST(NoteKey, PrivateKeysAreStrict) {
  for (std::size_t size = 0; size < go_private.size(); ++size) {
    EXPECT_FALSE(NoteSigner::parse(Secret(std::string(go_private.substr(0, size)))));
  }
  for (std::size_t at = 0; at < go_private.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      EXPECT_FALSE(NoteSigner::parse(Secret(flipped(std::string(go_private), at, bit)))) << at;
    }
  }
}

TEST(NoteKey, GeneratedKeysSignAndComeBack) {
  for (const KeyType type : {KeyType::ed25519, KeyType::cosignature_v1}) {
    const NoteSigner made = NoteSigner::generate("example.com/w", type).value();
    const NoteSigner again = NoteSigner::parse(made.encode()).value();
    EXPECT_EQ(again.verifier(), made.verifier());
    EXPECT_EQ(NoteVerifier::parse(made.verifier().encode()).value(), made.verifier());
    EXPECT_NE(NoteSigner::generate("example.com/w", type).value().verifier().id(), made.verifier().id());
  }
  // One key, two types: two ids.
  EXPECT_NE(signer("n").verifier().id(), signer("n", 's', KeyType::cosignature_v1).verifier().id());
}

}  // namespace
}  // namespace citadel::tlog
