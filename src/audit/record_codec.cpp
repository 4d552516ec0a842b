#include "audit/record_codec.hpp"

#include <fmt/format.h>
#include <string.h>

#include "audit/cbor_fields.hpp"
#include "base/random.hpp"
#include "base/secret.hpp"
#include "crypto/hmac.hpp"

namespace citadel::audit {
namespace {

constexpr char version_1 = 1;
constexpr std::size_t fields = 6;
constexpr std::string_view journal_key_label = "citadel/audit/journal-key/v1";
constexpr std::string_view subject_key_label = "citadel/audit/subject-wrapping-key/v1";

// Salts that were drawn ahead, because the kernel takes as long for one as for many. Each is wiped when it is
// given.
class SaltSource {
 public:
  Salt next() {
    if (left_ == 0) {
      fill_secret_random(std::span(reinterpret_cast<unsigned char*>(drawn_.data()), sizeof drawn_));
      left_ = drawn_.size();
    }
    Salt& drawn = drawn_[--left_];
    const Salt salt = drawn;
    ::explicit_bzero(drawn.data(), drawn.size());
    return salt;
  }

 private:
  std::array<Salt, 16> drawn_;
  std::size_t left_ = 0;
};

Salt new_salt() {
  thread_local SaltSource source;
  return source.next();
}

std::string group_context(const Uuid& id, Group group) {
  std::string context(as_text(bytes_of(id)));
  context += static_cast<char>(group);
  return context;
}

Result<crypto::AesGcmKey> unwrap_key(std::string_view wrapped, const crypto::AesGcmKey& key,
                                     const Uuid& context) {
  CITADEL_ASSIGN(auto raw, crypto::open_random(key, bytes_of(context), as_bytes(wrapped)));
  if (raw.size() != crypto::AesGcmKey::size_bytes)
    return fail(Code::corrupt, "the wrapped data key has another length");
  const Secret wiped(std::move(raw));
  return crypto::AesGcmKey(as_bytes(wiped.reveal()).first<crypto::AesGcmKey::size_bytes>());
}

std::string wrap_key(const crypto::AesGcmKey& data_key, const crypto::AesGcmKey& key, const Uuid& context) {
  return crypto::seal_random(key, bytes_of(context), data_key.bytes());
}

crypto::AesGcmKey derive(const crypto::AesGcmKey& master, std::string_view label) {
  return crypto::AesGcmKey(crypto::hmac_sha256(master.bytes(), as_bytes(label)));
}

SealedGroup seal_group(const Event& event, Group group, const crypto::AesGcmKey& data_key) {
  const std::string& bytes = event.group(group);
  const Salt salt = new_salt();
  std::string plaintext(as_text(salt));
  plaintext += bytes;
  const Secret wiped(std::move(plaintext));
  return {group, commit(group, salt, as_bytes(bytes)),
          crypto::seal_random(data_key, as_bytes(group_context(event.id, group)), as_bytes(wiped.reveal()))};
}

void read_groups(cbor::Reader& in, Record& record) {
  const std::size_t count = in.array();
  if (count > sensitive_groups.size()) in.fail("it has more groups than there are");
  for (std::size_t i = 0; i < count && in.good(); ++i) {
    if (in.array() != 3) in.fail("a group has another count of fields");
    SealedGroup sealed;
    const std::uint64_t number = in.number();
    const auto after = record.groups.empty() ? Group::envelope : record.groups.back().group;
    if (number <= static_cast<std::uint64_t>(after) || number > sensitive_groups.size()) {
      in.fail("the groups are not in order, or one is not known");
      return;
    }
    sealed.group = static_cast<Group>(number);
    sealed.commitment = in.fixed<crypto::digest_bytes>();
    sealed.ciphertext = as_text(in.bytes());
    if (sealed.ciphertext.size() < crypto::gcm_nonce_bytes + salt_bytes + crypto::gcm_tag_bytes) {
      in.fail("a group is shorter than its salt");
    }
    record.groups.push_back(std::move(sealed));
  }
  if (record.groups.empty() != record.wrapped_key.empty())
    in.fail("it has groups and no key, or a key and no groups");
}

}  // namespace

Leaf Record::leaf(const Uuid& producer, std::uint64_t epoch, std::uint64_t sequence, WallTime time) const {
  Leaf leaf{.id = id,
            .producer = producer,
            .epoch = epoch,
            .sequence = sequence,
            .action_class = action_class,
            .time = time,
            .retention = retention,
            .commitments = {{Group::envelope, envelope_commitment()}}};
  leaf.commitments.reserve(1 + groups.size());
  for (const SealedGroup& sealed : groups) leaf.commitments.push_back({sealed.group, sealed.commitment});
  return leaf;
}

Record seal_event(const Event& event, const Action& action, const crypto::AesGcmKey& journal_key) {
  Record record{.id = event.id,
                .received_at = event.received_at,
                .action_class = action.action_class,
                .retention = action.retention,
                .envelope_salt = new_salt(),
                .envelope = encode_envelope(event),
                .tenant = event.tenant,
                .subject = event.subject};
  std::optional<crypto::AesGcmKey> data_key;
  for (const Group group : sensitive_groups) {
    if (event.group(group).empty()) continue;
    if (!data_key) data_key = crypto::AesGcmKey::generate();
    record.groups.push_back(seal_group(event, group, *data_key));
  }
  if (data_key) record.wrapped_key = wrap_key(*data_key, journal_key, event.id);
  return record;
}

std::string encode_record(const Record& record) {
  std::size_t size_bytes = 64 + record.envelope.size() + record.wrapped_key.size();
  for (const SealedGroup& sealed : record.groups) size_bytes += 48 + sealed.ciphertext.size();
  cbor::Writer out(size_bytes);
  out.array(fields).number(static_cast<std::uint64_t>(record.action_class));
  out.number(static_cast<std::uint64_t>(record.retention)).bytes(record.envelope_salt);
  out.bytes(as_bytes(record.envelope)).bytes(as_bytes(record.wrapped_key)).array(record.groups.size());
  for (const SealedGroup& sealed : record.groups) {
    out.array(3).number(static_cast<std::uint64_t>(sealed.group)).bytes(sealed.commitment);
    out.bytes(as_bytes(sealed.ciphertext));
  }
  return version_1 + out.take();
}

Result<Record> decode_record(const Uuid& id, std::string_view payload) {
  Event event;
  return decode_record(id, payload, event);
}

Result<Record> decode_record(const Uuid& id, std::string_view payload, Event& event) {
  if (payload.empty()) return fail(Code::corrupt, "the audit record is empty");
  if (payload[0] != version_1) {
    return fail(
        payload[0] > version_1 ? Code::unsupported : Code::corrupt,
        fmt::format("an audit record of version {}; this program reads {}", payload[0] + 0, version_1 + 0));
  }
  cbor::Reader in(as_bytes(payload.substr(1)));
  Record record;
  record.id = id;
  if (in.array() != fields) in.fail("it has another count of fields");
  const std::uint64_t action_class = in.number(), retention = in.number();
  record.action_class = static_cast<ActionClass>(action_class);
  record.retention = static_cast<Retention>(retention);
  if (action_class > UINT8_MAX || to_string(record.action_class) == "?") in.fail("its class is not known");
  if (retention > UINT8_MAX || to_string(record.retention) == "?")
    in.fail("its retention class is not known");
  record.envelope_salt = in.fixed<salt_bytes>();
  record.envelope = as_text(in.bytes());
  record.wrapped_key = as_text(in.bytes());
  read_groups(in, record);
  if (auto finished = in.finish(); !finished) {
    return fail(Code::corrupt, "the audit record is " + finished.error().message);
  }
  CITADEL_ASSIGN(event, decode_envelope(as_bytes(record.envelope)));
  if (event.id != id) return fail(Code::corrupt, "the audit record is another event's than its frame says");
  record.received_at = event.received_at;
  record.tenant = event.tenant;
  record.subject = event.subject;
  return record;
}

Result<std::string> rewrap_key(std::string_view wrapped, const crypto::AesGcmKey& from,
                               const crypto::AesGcmKey& to, const Uuid& context) {
  CITADEL_ASSIGN(const auto data_key, unwrap_key(wrapped, from, context));
  return wrap_key(data_key, to, context);
}

Result<OpenedGroup> open_group(const Uuid& id, Group group, std::string_view ciphertext,
                               std::string_view wrapped_key, const crypto::AesGcmKey& key) {
  CITADEL_ASSIGN(const auto data_key, unwrap_key(wrapped_key, key, id));
  CITADEL_ASSIGN(auto plaintext,
                 crypto::open_random(data_key, as_bytes(group_context(id, group)), as_bytes(ciphertext)));
  if (plaintext.size() < salt_bytes) return fail(Code::corrupt, "the group is shorter than its salt");
  OpenedGroup opened;
  std::memcpy(opened.salt.data(), plaintext.data(), salt_bytes);
  opened.bytes = plaintext.substr(salt_bytes);
  return opened;
}

crypto::AesGcmKey journal_key(const crypto::AesGcmKey& master) {
  return derive(master, journal_key_label);
}

crypto::AesGcmKey subject_wrapping_key(const crypto::AesGcmKey& master) {
  return derive(master, subject_key_label);
}

}  // namespace citadel::audit
