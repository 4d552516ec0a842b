#include "tlog/note.hpp"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>

#include "base/base64.hpp"
#include "base/bytes.hpp"
#include "base/check.hpp"
#include "base/utf8.hpp"
#include "tlog/cosignature.hpp"
#include "tlog/text.hpp"

namespace citadel::tlog {
namespace {

constexpr std::string_view signature_mark = "\xE2\x80\x94 ";  // em dash, space
constexpr std::string_view private_mark = "PRIVATE+KEY+";
constexpr std::size_t key_id_bytes = 4;

// Unicode's White_Space above ASCII, as UTF-8. In valid UTF-8 none is found inside another character.
constexpr std::string_view wide_spaces[] = {"\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80",
                                            "\xE2\x80\x81", "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84",
                                            "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88",
                                            "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8", "\xE2\x80\xA9",
                                            "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

std::optional<KeyType> known_type(char byte) {
  const auto type = static_cast<KeyType>(byte);
  if (type == KeyType::ed25519 || type == KeyType::cosignature_v1) return type;
  return std::nullopt;
}

bool has_control_but_newline(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n'; });
}

std::string id_hex(std::uint32_t id) {
  return fmt::format("{:08x}", id);
}

// NAME+HEX8+BASE64, divided and decoded.
struct KeyText {
  std::string_view name;
  std::string_view id;
  std::string material;  // the type byte, and the key
};

std::optional<KeyText> divide_key(std::string_view text) {
  const auto first = text.find('+');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = text.find('+', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  auto material = from_base64(text.substr(second + 1));
  if (!material || material->empty()) return std::nullopt;
  return KeyText{text.substr(0, first), text.substr(first + 1, second - first - 1), *std::move(material)};
}

Result<void> check_name(std::string_view name) {
  if (!is_key_name(name)) {
    return fail(Code::invalid_argument,
                "a key's name is UTF-8 without spaces, control characters and plus, and is not empty");
  }
  return {};
}

Result<NoteSignature> parse_signature(std::string_view line) {
  if (!line.starts_with(signature_mark))
    return fail(Code::corrupt, "a signature line does not begin with a dash");
  line.remove_prefix(signature_mark.size());
  const auto space = line.find(' ');
  if (space == std::string_view::npos) return fail(Code::corrupt, "a signature line without a signature");
  const auto name = line.substr(0, space);
  if (!is_key_name(name))
    return fail(Code::corrupt, "a signature line names a key that no key may be called");
  const auto bytes = from_base64(line.substr(space + 1));
  if (!bytes || bytes->size() <= key_id_bytes) {
    return fail(Code::corrupt, "a signature is not the base64 of a key id and a signature");
  }
  return NoteSignature{std::string(name), load_be<std::uint32_t>(bytes->data()), bytes->substr(key_id_bytes)};
}

Result<void> check_distinct(std::span<const NoteVerifier> verifiers) {
  for (std::size_t i = 0; i < verifiers.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (verifiers[i].id() == verifiers[j].id() && verifiers[i].name() == verifiers[j].name()) {
        return fail(Code::invalid_argument, fmt::format("two verifiers are called {}+{}", verifiers[i].name(),
                                                        id_hex(verifiers[i].id())));
      }
    }
  }
  return {};
}

}  // namespace

bool is_key_name(std::string_view name) {
  return !name.empty() && name.size() <= key_name_bytes_max && is_utf8(name) &&
         std::ranges::none_of(name,
                              [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == '+'; }) &&
         std::ranges::none_of(wide_spaces, [&](std::string_view space) { return name.contains(space); });
}

std::uint32_t key_id(std::string_view name, KeyType type, const crypto::PublicKey& key) {
  const char separator[] = {'\n', static_cast<char>(type)};
  const auto digest =
      crypto::sha256_of_pieces({as_bytes(name), as_bytes({separator, sizeof separator}), key.bytes});
  return load_be<std::uint32_t>(digest.data());
}

NoteVerifier::NoteVerifier(std::string_view name, KeyType type, const crypto::PublicKey& key)
    : name_(name), type_(type), key_(key), id_(key_id(name, type, key)) {}

Result<NoteVerifier> NoteVerifier::make(std::string_view name, KeyType type, const crypto::PublicKey& key) {
  CITADEL_TRY(check_name(name));
  return NoteVerifier(name, type, key);
}

Result<NoteVerifier> NoteVerifier::parse(std::string_view text) {
  const auto parts = divide_key(text);
  if (!parts) return fail(Code::invalid_argument, "a verifier key has the form NAME+ID+KEY");
  CITADEL_TRY(check_name(parts->name));
  const auto type = known_type(parts->material[0]);
  if (!type) return fail(Code::unsupported, "the verifier key is of a type that is not Ed25519");
  if (parts->material.size() != 1 + crypto::PublicKey::size_bytes) {
    return fail(Code::invalid_argument, "the verifier key has another length than an Ed25519 key");
  }
  crypto::PublicKey key;
  std::ranges::copy(as_bytes(parts->material).subspan(1), key.bytes.begin());
  NoteVerifier verifier(parts->name, *type, key);
  if (id_hex(verifier.id_) != parts->id) {
    return fail(Code::invalid_argument, "the id in the verifier key is not that of its name and key");
  }
  return verifier;
}

std::string NoteVerifier::encode() const {
  std::string material(1, static_cast<char>(type_));
  material += as_text(key_.bytes);
  return fmt::format("{}+{}+{}", name_, id_hex(id_), to_base64(as_bytes(material)));
}

Result<std::optional<std::chrono::sys_seconds>> NoteVerifier::verify(std::string_view text,
                                                                     std::string_view bytes) const {
  if (type_ == KeyType::cosignature_v1) {
    CITADEL_ASSIGN(const auto time, verify_cosignature(key_, text, bytes));
    return std::optional(time);
  }
  crypto::Signature signature;
  if (bytes.size() != signature.bytes.size()) {
    return fail(Code::corrupt, fmt::format("the signature by {} has another length", name_));
  }
  std::ranges::copy(as_bytes(bytes), signature.bytes.begin());
  if (!crypto::verify(key_, as_bytes(text), signature)) {
    return fail(Code::corrupt, fmt::format("the signature by {} does not verify", name_));
  }
  return std::optional<std::chrono::sys_seconds>();
}

Result<NoteSigner> NoteSigner::make(std::string_view name, KeyType type, crypto::PrivateKey key) {
  CITADEL_ASSIGN(auto verifier, NoteVerifier::make(name, type, key.public_key()));
  return NoteSigner(std::move(verifier), std::move(key));
}

Result<NoteSigner> NoteSigner::generate(std::string_view name, KeyType type) {
  return make(name, type, crypto::PrivateKey::generate());
}

Result<NoteSigner> NoteSigner::parse(const Secret& secret) {
  std::string_view text = secret.reveal();
  if (!text.starts_with(private_mark)) {
    return fail(Code::invalid_argument, "a private key has the form PRIVATE+KEY+NAME+ID+KEY");
  }
  text.remove_prefix(private_mark.size());
  auto parts = divide_key(text);
  if (!parts) return fail(Code::invalid_argument, "a private key has the form PRIVATE+KEY+NAME+ID+KEY");
  const auto type = known_type(parts->material[0]);
  std::optional<crypto::PrivateKey> key;
  if (parts->material.size() == 1 + crypto::PrivateKey::seed_bytes) {
    key.emplace(as_bytes(parts->material).subspan<1, crypto::PrivateKey::seed_bytes>());
  }
  ::explicit_bzero(parts->material.data(), parts->material.size());
  if (!type) return fail(Code::unsupported, "the private key is of a type that is not Ed25519");
  if (!key) return fail(Code::invalid_argument, "the private key has another length than an Ed25519 key");
  CITADEL_ASSIGN(auto signer, make(parts->name, *type, *std::move(key)));
  if (id_hex(signer.verifier_.id()) != parts->id) {
    return fail(Code::invalid_argument, "the id in the private key is not that of its name and key");
  }
  return signer;
}

Secret NoteSigner::encode() const {
  std::string material(1, static_cast<char>(type()));
  material += as_text(key_.seed());
  std::string base64 = to_base64(as_bytes(material));
  Secret text(fmt::format("{}{}+{}+{}", private_mark, name(), id_hex(verifier_.id()), base64));
  ::explicit_bzero(material.data(), material.size());
  ::explicit_bzero(base64.data(), base64.size());
  return text;
}

NoteSignature NoteSigner::sign(std::string_view text) const {
  CITADEL_CHECK(type() == KeyType::ed25519, "a key for cosignatures signs checkpoints with a time");
  CITADEL_CHECK(is_note_text(text), "a text that is not a note's");
  return {name(), verifier_.id(), std::string(as_text(key_.sign(as_bytes(text)).bytes))};
}

bool is_note_text(std::string_view text) {
  return text.size() <= note_bytes_max && text.ends_with('\n') && is_utf8(text) &&
         !has_control_but_newline(text);
}

Result<Note> sign_note(std::string_view text, const NoteSigner& signer) {
  if (!is_note_text(text)) {
    return fail(Code::invalid_argument, "a note is UTF-8 lines without control characters, within the limit");
  }
  return Note{std::string(text), {signer.sign(text)}};
}

std::string encode_signature(const NoteSignature& signature) {
  CITADEL_CHECK(is_key_name(signature.name) && !signature.bytes.empty(),
                "a signature without a name or bytes");
  std::string raw;
  append_be(raw, signature.id);
  raw += signature.bytes;
  return fmt::format("{}{} {}\n", signature_mark, signature.name, to_base64(as_bytes(raw)));
}

std::string encode_note(const Note& note) {
  CITADEL_CHECK(is_note_text(note.text) && !note.signatures.empty(), "a note without a text or a signature");
  std::string out = note.text + "\n";
  for (const NoteSignature& signature : note.signatures) out += encode_signature(signature);
  return out;
}

Result<std::vector<NoteSignature>> parse_signatures(std::string_view lines) {
  if (lines.size() > note_bytes_max)
    return fail(Code::corrupt, "the signatures are longer than a note may be");
  std::vector<NoteSignature> signatures;
  while (!lines.empty()) {
    const auto line = take_line(lines);
    if (!line) return fail(Code::corrupt, "a signature line without its end");
    if (signatures.size() == note_signatures_max) {
      return fail(Code::corrupt, fmt::format("more than {} signatures", note_signatures_max));
    }
    CITADEL_ASSIGN(auto signature, parse_signature(*line));
    signatures.push_back(std::move(signature));
  }
  if (signatures.empty()) return fail(Code::corrupt, "no signature");
  return signatures;
}

Result<Note> parse_note(std::string_view file) {
  if (file.size() > note_bytes_max) {
    return fail(Code::corrupt, fmt::format("a note of {} bytes; at most {}", file.size(), note_bytes_max));
  }
  if (!is_utf8(file) || has_control_but_newline(file)) {
    return fail(Code::corrupt, "a note that is not UTF-8, or has control characters");
  }
  const auto end = file.rfind("\n\n");
  if (end == std::string_view::npos)
    return fail(Code::corrupt, "a note without an empty line before signatures");
  CITADEL_ASSIGN(auto signatures, parse_signatures(file.substr(end + 2)));
  return Note{std::string(file.substr(0, end + 1)), std::move(signatures)};
}

Result<std::vector<VerifiedSignature>> verify_signatures(std::string_view text,
                                                         std::span<const NoteSignature> signatures,
                                                         std::span<const NoteVerifier> verifiers) {
  CITADEL_TRY(check_distinct(verifiers));
  std::vector<VerifiedSignature> verified;
  for (const NoteSignature& signature : signatures) {
    const auto known =
        std::ranges::find_if(verifiers, [&](const auto& key) { return key.matches(signature); });
    if (known == verifiers.end()) continue;
    CITADEL_ASSIGN(const auto time, known->verify(text, signature.bytes));
    const auto place = static_cast<std::size_t>(known - verifiers.begin());
    const bool seen =
        std::ranges::any_of(verified, [&](const auto& other) { return other.verifier == place; });
    if (!seen) verified.push_back({place, time});
  }
  if (verified.empty()) return fail(Code::unauthenticated, "no known key has signed the note");
  return verified;
}

Result<VerifiedNote> open_note(std::string_view file, std::span<const NoteVerifier> verifiers) {
  CITADEL_ASSIGN(auto note, parse_note(file));
  CITADEL_ASSIGN(auto verified, verify_signatures(note.text, note.signatures, verifiers));
  return VerifiedNote{std::move(note), std::move(verified)};
}

}  // namespace citadel::tlog
