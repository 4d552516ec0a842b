// Record: an event as it lies in the audit journal: its envelope, its salts and commitments, and its field
// groups encrypted. The frame's header carries the id, the producer's position and the time of writing.
//
//   version u8 = 1, then deterministic CBOR:
//   [received_at_us, class, retention, envelope_salt, envelope, subject key's tenant and name,
//    wrapped data key, [[g, C_g, nonce || ciphertext || tag], …]]
//
// Envelope: deterministic CBOR of every field of Event but the groups, without what is empty.
// A group's plaintext is salt || bytes, its associated data id || g; see docs/decisions/0004-audit-trail.md.
#pragma once
#include <string>
#include <vector>

#include "audit/leaf.hpp"
#include "crypto/aes_gcm.hpp"

namespace citadel::audit {

// The exact bytes that the envelope's commitment is of, and back.
std::string encode_envelope(const Event& event);
Result<Event> decode_envelope(Bytes bytes);  // without groups; corrupt where it is not what encode_envelope makes

struct SealedGroup {
  Group group = Group::details;
  crypto::Digest commitment{};
  std::string ciphertext;  // nonce || ciphertext || tag
};

struct Record {
  Uuid id;
  WallTime received_at;
  ActionClass action_class = ActionClass::operation;
  Retention retention = Retention::standard;
  Salt envelope_salt{};
  std::string envelope;  // as encode_envelope made it
  std::string tenant, subject;
  std::string wrapped_key;  // "" where there are no groups
  std::vector<SealedGroup> groups;

  crypto::Digest envelope_commitment() const { return commit(Group::envelope, envelope_salt, as_bytes(envelope)); }
  // The entry's leaf at this place of this producer.
  Leaf leaf(const Uuid& producer, std::uint64_t epoch, std::uint64_t sequence, WallTime time) const;
};

// Draws salts and the data key from the kernel's generator. `journal_key` wraps the data key.
Record seal_event(const Event& event, const Action& action, const crypto::AesKey& journal_key);

std::string encode_record(const Record& record);
Result<Record> decode_record(const Uuid& id, std::string_view payload);

// A data key wrapped by `from`, wrapped by `to` instead. `context` is what both bind it to: the event's id.
// corrupt where it was not wrapped by `from`.
Result<std::string> rewrap_key(std::string_view wrapped, const crypto::AesKey& from, const crypto::AesKey& to,
                               const Uuid& context);
// A group's salt and bytes. corrupt where key, id or bytes are others.
struct OpenedGroup {
  Salt salt{};
  std::string bytes;
};
Result<OpenedGroup> open_group(const Uuid& id, Group group, std::string_view ciphertext, std::string_view wrapped_key,
                               const crypto::AesKey& key);

// Keys derived from the master key (HMAC-SHA-256 with a label): one wraps data keys in the journal, one wraps
// subjects' keys.
crypto::AesKey journal_key(const crypto::AesKey& master);
crypto::AesKey subject_wrapping_key(const crypto::AesKey& master);

}  // namespace citadel::audit
