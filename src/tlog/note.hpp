// Signed notes: a text and signature lines (C2SP signed-note), with Ed25519 keys. Pure.
//
//   const NoteSigner signer = NoteSigner::generate("example.com/log");
//   CITADEL_ASSIGN(const Note note, sign_note("one line\n", signer));
//   const std::string file = encode_note(note);
//
//   CITADEL_ASSIGN(const NoteVerifier key, NoteVerifier::parse("example.com/log+530d903a+Aekye…"));
//   CITADEL_ASSIGN(const VerifiedNote opened, open_note(file, {&key, 1}));
//
// A text says nothing until open_note() has given it back. Keys have two types: ed25519 signs the text
// itself, cosignature_v1 signs it with a time (tlog/cosignature.hpp). The texts of keys are those of Go's
// golang.org/x/mod/sumdb/note, so keys interchange.
//
// Errors: invalid_argument for a name, key or text to sign that is not allowed; corrupt for a note that is
// malformed or whose signature by a known key does not verify; unauthenticated for a note that no known key
// signed. Functions and const members may be called from any thread.
#pragma once
#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/secret.hpp"
#include "crypto/ed25519.hpp"

namespace citadel::tlog {

// Above the specification's floor of 16 signatures; one may be of a large post-quantum key that is not ours.
inline constexpr std::size_t note_bytes_max = 512 * 1'024;
inline constexpr std::size_t note_signatures_max = 64;
inline constexpr std::size_t key_name_bytes_max = 1'024;

// The signature type identifier bytes of signed-note that we verify.
enum class KeyType : std::uint8_t { ed25519 = 0x01, cosignature_v1 = 0x04 };

// Not empty, valid UTF-8, no Unicode space, no control character, no plus; at most key_name_bytes_max.
bool is_key_name(std::string_view name);
// SHA-256(name || 0x0A || type || key), its first four bytes.
std::uint32_t key_id(std::string_view name, KeyType type, const crypto::PublicKey& key);

struct NoteSignature {
  std::string name;
  std::uint32_t id = 0;
  std::string bytes;  // behind the key id: 64 for ed25519, 72 for cosignature_v1, others for strangers
  friend bool operator==(const NoteSignature&, const NoteSignature&) = default;
};

struct Note {
  std::string text;  // with the final newline
  std::vector<NoteSignature> signatures;
  friend bool operator==(const Note&, const Note&) = default;
};

class NoteVerifier {
 public:
  static Result<NoteVerifier> make(std::string_view name, KeyType type, const crypto::PublicKey& key);
  // A verifier key: NAME+HEX8+BASE64, whose key id must be the recommended one.
  static Result<NoteVerifier> parse(std::string_view text);
  std::string encode() const;

  const std::string& name() const { return name_; }
  std::uint32_t id() const { return id_; }
  KeyType type() const { return type_; }
  const crypto::PublicKey& key() const { return key_; }

  // Whether this is the key that the signature line names.
  bool matches(const NoteSignature& signature) const {
    return signature.id == id_ && signature.name == name_;
  }
  // corrupt where the bytes are not this key's signature of the text. The time is a cosignature's; an ed25519
  // signature has none.
  Result<std::optional<std::chrono::sys_seconds>> verify(std::string_view text, std::string_view bytes) const;

  friend bool operator==(const NoteVerifier&, const NoteVerifier&) = default;

 private:
  NoteVerifier(std::string_view name, KeyType type, const crypto::PublicKey& key);

  std::string name_;
  KeyType type_;
  crypto::PublicKey key_;
  std::uint32_t id_;
};

class NoteSigner {
 public:
  static Result<NoteSigner> make(std::string_view name, KeyType type, crypto::PrivateKey key);
  static Result<NoteSigner> generate(std::string_view name, KeyType type = KeyType::ed25519);
  // PRIVATE+KEY+NAME+HEX8+BASE64, the base64 of the type byte and the seed.
  static Result<NoteSigner> parse(const Secret& text);
  Secret encode() const;

  const NoteVerifier& verifier() const { return verifier_; }
  const std::string& name() const { return verifier_.name(); }
  KeyType type() const { return verifier_.type(); }

  // An ed25519 signature of a text that sign_note() would take. CHECK: the type is ed25519; a cosignature is
  // made by cosign().
  NoteSignature sign(std::string_view text) const;
  // The raw signature, for other messages than a note's text.
  crypto::Signature sign_message(Bytes message) const { return key_.sign(message); }

 private:
  NoteSigner(NoteVerifier verifier, crypto::PrivateKey key)
      : verifier_(std::move(verifier)), key_(std::move(key)) {}

  NoteVerifier verifier_;
  crypto::PrivateKey key_;
};

// Whether a text may be that of a note: ends with a newline, valid UTF-8, no control character but newline.
bool is_note_text(std::string_view text);
Result<Note> sign_note(std::string_view text, const NoteSigner& signer);

// The file of a note. CHECK: is_note_text(text), and at least one signature with a name that is allowed.
std::string encode_note(const Note& note);
// One signature line, with its newline, and lines of them as a witness gives (at least one).
std::string encode_signature(const NoteSignature& signature);
Result<std::vector<NoteSignature>> parse_signatures(std::string_view lines);
// Checks the form only. What is accepted is what encode_note() writes, byte for byte.
Result<Note> parse_note(std::string_view file);

struct VerifiedSignature {
  std::size_t verifier = 0;                      // its place in the verifiers given
  std::optional<std::chrono::sys_seconds> time;  // of a cosignature
  friend bool operator==(const VerifiedSignature&, const VerifiedSignature&) = default;
};

struct VerifiedNote {
  Note note;
  std::vector<VerifiedSignature> verified;  // at least one; each key once, with its first signature
};

// Ignores signatures of unknown keys. A signature that names a known key and does not verify makes the whole
// note corrupt. Two verifiers with the same name and id are invalid_argument.
Result<VerifiedNote> open_note(std::string_view file, std::span<const NoteVerifier> verifiers);
Result<std::vector<VerifiedSignature>> verify_signatures(std::string_view text,
                                                         std::span<const NoteSignature> signatures,
                                                         std::span<const NoteVerifier> verifiers);

}  // namespace citadel::tlog
