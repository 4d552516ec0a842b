#include "tlog/witness.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/base64.hpp"
#include "base/check.hpp"
#include "tlog/cosignature.hpp"
#include "tlog/text.hpp"

namespace citadel::tlog {
namespace {

constexpr std::string_view old_mark = "old ";
constexpr std::string_view text_content_type = "text/plain; charset=utf-8";

WitnessAnswer refuse(int status, std::string_view why) {
  return {status, std::string(text_content_type), fmt::format("{}\n", why), {}};
}

bool is_content_type(std::string_view header, std::string_view wanted) {
  return header == wanted || (header.starts_with(wanted) && header.substr(wanted.size()).starts_with(';'));
}

Result<std::variant<Cosigned, WitnessIsAt>> read_cosignatures(std::string_view body, std::string_view text,
                                                              std::span<const NoteVerifier> keys) {
  CITADEL_ASSIGN(auto signatures, parse_signatures(body));
  CITADEL_ASSIGN(const auto verified, verify_signatures(text, signatures, keys));
  for (const VerifiedSignature& signature : verified) {
    if (!signature.time || signature.time->time_since_epoch().count() == 0) {
      return fail(Code::corrupt, "a witness signed without a time");
    }
  }
  std::erase_if(signatures, [&](const NoteSignature& signature) {
    return std::ranges::none_of(keys, [&](const NoteVerifier& key) { return key.matches(signature); });
  });
  return Cosigned{std::move(signatures)};
}

Result<std::variant<Cosigned, WitnessIsAt>> read_size(std::string_view content_type, std::string_view body) {
  const auto line = take_line(body);
  const auto size = line ? parse_decimal(*line) : std::nullopt;
  if (!is_content_type(content_type, witness_size_content_type) || !size || !body.empty()) {
    return fail(Code::corrupt, "a witness refused the old size without saying its own");
  }
  return WitnessIsAt{*size};
}

// The checks of tlog-witness that come after the signature, in its order. Nothing: the checkpoint may be
// signed.
std::optional<WitnessAnswer> check_growth(const AddCheckpointRequest& request, const Checkpoint& checkpoint,
                                          const WitnessedHead& head) {
  if (request.old_size > checkpoint.size) return refuse(400, "the old size is above the checkpoint's");
  if (request.old_size != head.size) {
    return WitnessAnswer{409, std::string(witness_size_content_type), fmt::format("{}\n", head.size), {}};
  }
  if (checkpoint.size == 0 && checkpoint.root != empty_root()) {
    return refuse(422, "the root of an empty tree is the hash of nothing");
  }
  const auto grown =
      verify_consistency(head.size, head.root, checkpoint.size, checkpoint.root, request.proof);
  if (!grown) return refuse(422, grown.error().message);
  return std::nullopt;
}

}  // namespace

std::string encode_add_checkpoint(const AddCheckpointRequest& request) {
  CITADEL_CHECK(request.proof.size() <= witness_proof_hashes_max, "a witness takes no such long proof");
  std::string body = fmt::format("{}{}\n", old_mark, request.old_size);
  for (const Hash& hash : request.proof) body += to_base64(hash) + "\n";
  return body + "\n" + request.checkpoint;
}

Result<AddCheckpointRequest> parse_add_checkpoint(std::string_view body) {
  if (body.size() > add_checkpoint_bytes_max) return fail(Code::invalid_argument, "the request is too long");
  AddCheckpointRequest request;
  auto line = take_line(body);
  const auto old_size =
      line && line->starts_with(old_mark) ? parse_decimal(line->substr(old_mark.size())) : std::nullopt;
  if (!old_size) return fail(Code::invalid_argument, "the request begins with the old size");
  request.old_size = *old_size;
  for (line = take_line(body); line && !line->empty(); line = take_line(body)) {
    if (request.proof.size() == witness_proof_hashes_max) {
      return fail(Code::invalid_argument,
                  fmt::format("a proof of more than {} hashes", witness_proof_hashes_max));
    }
    const auto hash = hash_from_base64(*line);
    if (!hash) return fail(Code::invalid_argument, "a line of the proof is not the base64 of a hash");
    request.proof.push_back(*hash);
  }
  if (!line) return fail(Code::invalid_argument, "an empty line is missing before the checkpoint");
  request.checkpoint = body;
  return request;
}

Result<std::variant<Cosigned, WitnessIsAt>> read_add_checkpoint_answer(int status,
                                                                       std::string_view content_type,
                                                                       std::string_view body,
                                                                       std::string_view checkpoint_text,
                                                                       std::span<const NoteVerifier> keys) {
  switch (status) {
    case 200:
      return read_cosignatures(body, checkpoint_text, keys);
    case 409:
      return read_size(content_type, body);
    case 400:
      return fail(Code::invalid_argument, "the witness holds the request to be malformed");
    case 403:
      return fail(Code::permission_denied, "the witness does not know the log's key");
    case 404:
      return fail(Code::not_found, "the witness does not know the log");
    case 422:
      return fail(Code::conflict, "the witness holds the log to be inconsistent with what it has seen");
    default:
      if (status == 429 || (status >= 500 && status < 600)) {
        return fail(Code::unavailable, fmt::format("the witness answers {}", status), Retry::safe);
      }
      return fail(Code::corrupt,
                  fmt::format("the witness answers {}, which the protocol does not know", status));
  }
}

Witness::Witness(NoteSigner signer, std::vector<WitnessedLog> logs)
    : signer_(std::move(signer)), logs_(std::move(logs)) {
  CITADEL_CHECK(signer_.type() == KeyType::cosignature_v1, "a witness's key is for cosignatures");
}

WitnessAnswer Witness::add_checkpoint(std::string_view body, const Stored& stored,
                                      std::chrono::sys_seconds now) const {
  const auto request = parse_add_checkpoint(body);
  if (!request) return refuse(400, request.error().message);
  auto note = parse_note(request->checkpoint);
  if (!note) return refuse(400, note.error().message);
  const auto checkpoint = Checkpoint::parse(note->text);
  if (!checkpoint) return refuse(400, checkpoint.error().message);

  const auto log = std::ranges::find(logs_, checkpoint->origin, &WitnessedLog::origin);
  if (log == logs_.end()) return refuse(404, "this witness does not know the log");
  const auto verified = verify_signatures(note->text, note->signatures, log->keys);
  if (!verified) return refuse(403, verified.error().message);
  if (auto refused = check_growth(*request, *checkpoint, stored(checkpoint->origin)))
    return *std::move(refused);

  NoteSignature own = cosign(signer_, *checkpoint, now);
  // What goes to monitors is signed by known keys only.
  std::erase_if(note->signatures, [&](const NoteSignature& signature) {
    return std::ranges::none_of(log->keys, [&](const NoteVerifier& key) { return key.matches(signature); });
  });
  WitnessAnswer answer{200, std::string(text_content_type), encode_signature(own), {}};
  note->signatures.push_back(std::move(own));
  answer.store = {checkpoint->origin, {checkpoint->size, checkpoint->root}, encode_note(*note)};
  return answer;
}

}  // namespace citadel::tlog
