#include "app/erasure_certificate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "audit/record_codec.hpp"
#include "base/base64.hpp"
#include "base/time_text.hpp"
#include "crypto/sha256.hpp"
#include "json/object_reader.hpp"
#include "json/parse.hpp"
#include "json/writer.hpp"
#include "tlog/proof.hpp"

namespace citadel::app {
namespace {

constexpr std::string_view form = "citadel/erasure/v1";
constexpr std::size_t certificate_bytes_max = 4 << 20;
constexpr std::size_t text_bytes_max = 1 << 20;
constexpr std::int64_t count_max = std::numeric_limits<std::int64_t>::max();

std::unexpected<Error> differs(std::string_view what) {
  return fail(Code::corrupt, fmt::format("the certificate's {} is not what the signed entry says", what));
}

void write_proved(citadel::json::Writer& out, const ProvedEntry& proved) {
  out.key("entry").begin_object().key("index").integer(static_cast<std::int64_t>(proved.entry.index));
  if (const auto& envelope = proved.entry.envelope) {
    out.key("salt").text(to_base64(envelope->salt));
    out.key("envelope").text(to_base64(as_bytes(envelope->bytes)));
  }
  for (const auto& group : proved.entry.groups) {
    if (group.group != audit::Group::details || !group.opened) continue;
    out.key("details_salt").text(to_base64(group.opened->salt));
    out.key("details").text(to_base64(as_bytes(group.opened->bytes)));
  }
  out.end_object();
  out.key("proof").text(tlog::LogProof{.extra = proved.proof.leaf,
                                       .index = proved.entry.index,
                                       .inclusion = proved.proof.hashes,
                                       .checkpoint = proved.checkpoint}
                            .encode());
}

// One of the entry's contents, held against its commitment.
Result<std::string> committed(const audit::Leaf& leaf, audit::Group group, std::string_view salt_text,
                              std::string_view bytes_text) {
  const auto salt_raw = from_base64(salt_text), bytes = from_base64(bytes_text);
  if (!salt_raw || !bytes || salt_raw->size() != audit::salt_bytes) return differs(to_string(group));
  audit::Salt salt;
  std::ranges::copy(as_bytes(*salt_raw), salt.begin());
  const auto at = std::ranges::find(leaf.commitments, group, &audit::Commitment::group);
  if (at == leaf.commitments.end() || at->digest != audit::commit(group, salt, as_bytes(*bytes)))
    return differs(to_string(group));
  return *bytes;
}

struct Stated {
  CheckedCertificate said;
  std::int64_t index = 0;
  std::string erased_by;
  std::string salt, envelope, details_salt, details, proof;
};

Result<Stated> read_certificate(std::string_view text) {
  CITADEL_ASSIGN(const auto value,
                 citadel::json::parse(text, {.depth_max = 4, .size_bytes_max = certificate_bytes_max}));
  if (!value.is_object()) return fail(Code::invalid_argument, "it is not a certificate of an erasure");
  const citadel::json::TextLimits any{.bytes_min = 1, .bytes_max = text_bytes_max};
  citadel::json::ObjectReader in(value.get_object());
  Stated out;
  if (in.text("certificate", any) != form)
    return fail(Code::invalid_argument, fmt::format("it is not a certificate of the form {}", form));
  for (const auto& [name, target] : {std::pair{"origin", &out.said.origin},
                                     {"erasure", &out.said.erasure},
                                     {"at", &out.said.at},
                                     {"tenant", &out.said.tenant},
                                     {"subject_sha256", &out.said.subject_sha256},
                                     {"reason", &out.said.reason},
                                     {"erased_by", &out.erased_by}})
    *target = in.text(name, any);
  const auto* destroyed = in.optional_value("destroyed");
  const auto* entry = in.optional_value("entry");
  const auto* proof = in.optional_value("proof");
  if (proof == nullptr || !proof->is_string() || entry == nullptr || !entry->is_object()) {
    return fail(Code::invalid_argument,
                "it has no proof yet: get it again by `citadel audit certificate` and its id");
  }
  (void)in.optional_value("note");
  CITADEL_TRY(in.finish());
  out.proof = std::string_view(proof->get_string());
  if (destroyed == nullptr || !destroyed->is_object()) return differs("list of what was destroyed");
  citadel::json::ObjectReader counts(destroyed->get_object(), "/destroyed");
  for (const auto& [name, target] : {std::pair{"keys", &out.said.keys},
                                     {"events", &out.said.events},
                                     {"groups", &out.said.groups},
                                     {"conflicts", &out.said.conflicts}})
    *target = counts.integer(name, 0, count_max);
  out.said.dead_letters = counts.optional_integer("dead_letters", 0, count_max).value_or(0);
  CITADEL_TRY(counts.finish());
  citadel::json::ObjectReader fields(entry->get_object(), "/entry");
  out.index = fields.integer("index", 0, count_max);
  for (const auto& [name, target] : {std::pair{"salt", &out.salt},
                                     {"envelope", &out.envelope},
                                     {"details_salt", &out.details_salt},
                                     {"details", &out.details}})
    *target = fields.text(name, any);
  CITADEL_TRY(fields.finish());
  return out;
}

Result<void> check_envelope(const CheckedCertificate& said, const audit::Event& event) {
  if (event.action != "audit.erasure" || event.id.to_string() != said.erasure) return differs("id");
  if (event.object.type != "subject" || event.object.id != said.subject_sha256) return differs("subject");
  if (event.tenant != said.tenant) return differs("tenant");
  if (event.reason != said.reason) return differs("reason");
  return {};
}

Result<void> check_details(const Stated& stated, std::string_view details) {
  const CheckedCertificate& said = stated.said;
  CITADEL_ASSIGN(const auto value,
                 citadel::json::parse(details, {.depth_max = 8, .size_bytes_max = text_bytes_max}));
  if (!value.is_object()) return differs("details");
  const auto signed_text = [&](std::string_view name) -> std::string_view {
    const auto* text = value.get_object().if_contains(name);
    return text != nullptr && text->is_string() ? std::string_view(text->get_string()) : "";
  };
  if (signed_text("erased_by") != stated.erased_by) return differs("erased_by");
  const auto at = parse_time(said.at), signed_at = parse_time(signed_text("at"));
  if (!at || !signed_at || *at != *signed_at) return differs("time");
  for (const auto& [name, number] : {std::pair{"keys", said.keys},
                                     {"events", said.events},
                                     {"groups", said.groups},
                                     {"conflicts", said.conflicts}}) {
    const auto* signed_value = value.get_object().if_contains(name);
    if (signed_value == nullptr || !signed_value->is_int64() || signed_value->get_int64() != number)
      return differs(fmt::format("number of {}", name));
  }
  const auto* letters = value.get_object().if_contains("dead_letters");
  const bool same = letters == nullptr ? said.dead_letters == 0
                                       : letters->is_int64() && letters->get_int64() == said.dead_letters;
  if (!same) return differs("number of dead letters");
  return {};
}

}  // namespace

std::string erasure_certificate(const std::string& origin, const audit::Erasure& erasure,
                                const std::optional<ProvedEntry>& proved, std::string_view note) {
  citadel::json::Writer out;
  out.begin_object().key("certificate").text(form).key("origin").text(origin);
  out.key("erasure").text(erasure.id.to_string()).key("at").text(format_time(erasure.at));
  out.key("tenant").text(erasure.tenant).key("subject_sha256").text(erasure.subject_digest);
  out.key("reason").text(erasure.reason).key("erased_by").text(erasure.erased_by);
  out.key("destroyed").begin_object().key("keys").integer(erasure.keys);
  out.key("events").integer(erasure.events).key("groups").integer(erasure.groups);
  out.key("conflicts").integer(erasure.conflicts);
  out.key("dead_letters").integer(erasure.dead_letters).end_object();
  if (proved) write_proved(out, *proved);
  if (!note.empty()) out.key("note").text(note);
  out.end_object();
  return out.take();
}

Result<CheckedCertificate> check_erasure_certificate(std::string_view text, const tlog::LogPolicy& policy,
                                                     const std::optional<std::string>& subject) {
  CITADEL_ASSIGN(auto stated, read_certificate(text));
  CITADEL_ASSIGN(const auto proof, tlog::LogProof::parse(stated.proof));
  CITADEL_ASSIGN(const auto checked,
                 tlog::verify_proof(proof, tlog::leaf_hash(as_bytes(proof.extra)), policy));
  CITADEL_ASSIGN(const auto leaf, audit::decode_leaf(as_bytes(proof.extra)));
  CITADEL_ASSIGN(const auto envelope, committed(leaf, audit::Group::envelope, stated.salt, stated.envelope));
  CITADEL_ASSIGN(const auto details,
                 committed(leaf, audit::Group::details, stated.details_salt, stated.details));
  CITADEL_ASSIGN(const auto event, audit::decode_envelope(as_bytes(envelope)));
  if (stated.said.origin != checked.checkpoint.origin) return differs("origin");
  if (static_cast<std::uint64_t>(stated.index) != proof.index) return differs("index");
  CITADEL_TRY(check_envelope(stated.said, event));
  CITADEL_TRY(check_details(stated, details));
  CheckedCertificate out = std::move(stated.said);
  if (subject && to_hex(crypto::sha256(as_bytes(*subject))) != out.subject_sha256)
    return fail(Code::corrupt, "the certificate is of another subject");
  out.index = proof.index;
  out.size = checked.checkpoint.size;
  return out;
}

}  // namespace citadel::app
