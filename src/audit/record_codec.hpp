// Record: an event as it lies in the audit journal: its envelope, its salts and commitments, and its field
// groups encrypted. The frame's header carries the id, the producer's position and the time of writing.
//
//   version u8 = 1, then deterministic CBOR:
//   [class, retention, envelope_salt, envelope, wrapped data key, [[g, C_g, nonce || ciphertext || tag], …]]
//
// Envelope: deterministic CBOR, a map by number (1 id, 2 time, …) of every field of Event but the groups,
// without what is empty. It is the only place of tenant, subject and times, so that nothing can say
// otherwise. A group's plaintext is salt || bytes, its associated data id || g. A wrapped data key is
// AES-256-GCM too, nonce first, its associated data the event's id: see docs/decisions/0004-audit-trail.md.
// Pure but for the randomness of seal_event(); thread-safe.
#pragma once
#include <string>
#include <vector>

#include "audit/leaf.hpp"
#include "crypto/aes_gcm.hpp"

namespace citadel::audit {

// The exact bytes that the envelope's commitment is of, and back.
std::string encode_envelope(const Event& event);
std::string encode_envelope(const Event& event, WallTime received_at);  // as though it had come then
Result<Event> decode_envelope(
    Bytes bytes);  // without groups; corrupt where it is not what encode_envelope makes

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
  std::string envelope;         // as encode_envelope made it
  std::string tenant, subject;  // what the envelope says, as received_at is
  std::string wrapped_key{};    // "" where there are no groups
  std::vector<SealedGroup> groups{};

  crypto::Digest envelope_commitment() const {
    return commit(Group::envelope, envelope_salt, as_bytes(envelope));
  }
  // The entry's leaf at this place of this producer.
  Leaf leaf(const Uuid& producer, std::uint64_t epoch, std::uint64_t sequence, WallTime time) const;
};

// Draws salts and the data key from the kernel's generator. `journal_key` wraps the data key. The event has
// passed check_event().
Record seal_event(const Event& event, const Action& action, const crypto::AesGcmKey& journal_key);

std::string encode_record(const Record& record);
// unsupported for a later version; corrupt where the bytes are not what encode_record makes, or are another
// event's than `id`.
Result<Record> decode_record(const Uuid& id, std::string_view payload);
// The same, and what its envelope says, without groups, into `event`.
Result<Record> decode_record(const Uuid& id, std::string_view payload, Event& event);

// A data key wrapped by `from`, wrapped by `to` instead. `context` is what both bind it to: the event's id.
// corrupt where it was not wrapped by `from`.
Result<std::string> rewrap_key(std::string_view wrapped, const crypto::AesGcmKey& from,
                               const crypto::AesGcmKey& to, const Uuid& context);
// A group's salt and bytes. corrupt where key, id or bytes are others.
struct OpenedGroup {
  Salt salt{};
  std::string bytes;
};
Result<OpenedGroup> open_group(const Uuid& id, Group group, std::string_view ciphertext,
                               std::string_view wrapped_key, const crypto::AesGcmKey& key);

// Keys derived from the master key (HMAC-SHA-256 with a label): one wraps data keys in the journal, one wraps
// subjects' keys.
crypto::AesGcmKey journal_key(const crypto::AesGcmKey& master);
crypto::AesGcmKey subject_wrapping_key(const crypto::AesGcmKey& master);

}  // namespace citadel::audit
