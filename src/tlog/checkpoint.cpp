#include "tlog/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/base64.hpp"
#include "base/check.hpp"
#include "tlog/text.hpp"

namespace citadel::tlog {
namespace {

bool is_line(std::string_view line) {
  return !line.empty() && !line.contains('\n');
}

// A cosignature does not say whose it is beyond its key, so one key under two names would count twice.
Result<void> check_witnesses(std::span<const NoteVerifier> witnesses) {
  std::set<crypto::PublicKey> keys;
  for (const NoteVerifier& witness : witnesses) {
    if (witness.type() != KeyType::cosignature_v1) {
      return fail(Code::invalid_argument,
                  fmt::format("the key of witness {} is not for cosignatures", witness.name()));
    }
    if (!keys.insert(witness.key()).second) {
      return fail(Code::invalid_argument,
                  fmt::format("the key of witness {} is another one's too", witness.name()));
    }
  }
  return {};
}

}  // namespace

std::string Checkpoint::encode() const {
  CITADEL_CHECK(is_line(origin) && size <= tree_size_max && std::ranges::all_of(extensions, is_line),
                "a checkpoint whose lines are none, or whose tree is too large");
  std::string text = fmt::format("{}\n{}\n{}\n", origin, size, to_base64(root));
  for (const std::string& line : extensions) text += line + "\n";
  return text;
}

Result<Checkpoint> Checkpoint::parse(std::string_view text) {
  if (!is_note_text(text)) return fail(Code::corrupt, "a checkpoint that is not the text of a note");
  std::vector<std::string_view> lines;
  while (const auto line = take_line(text)) {
    if (line->empty()) return fail(Code::corrupt, "a checkpoint with an empty line");
    lines.push_back(*line);
  }
  if (lines.size() < 3) return fail(Code::corrupt, "a checkpoint has an origin, a size and a root");
  const auto size = parse_decimal(lines[1]);
  if (!size) return fail(Code::corrupt, "a checkpoint's size is a decimal number without leading zeros");
  CITADEL_ASSIGN(const Hash root, hash_from_base64(lines[2]));
  return Checkpoint{std::string(lines[0]), *size, root, {lines.begin() + 3, lines.end()}};
}

Result<VerifiedCheckpoint> open_checkpoint(std::string_view file, const LogPolicy& policy) {
  CITADEL_TRY(check_witnesses(policy.witnesses));
  std::vector<NoteVerifier> verifiers = policy.log_keys;
  verifiers.insert(verifiers.end(), policy.witnesses.begin(), policy.witnesses.end());
  CITADEL_ASSIGN(auto opened, open_note(file, verifiers));
  CITADEL_ASSIGN(auto checkpoint, Checkpoint::parse(opened.note.text));
  if (checkpoint.origin != policy.origin) {
    return fail(Code::permission_denied,
                fmt::format("a checkpoint of log {}, not of {}", checkpoint.origin, policy.origin));
  }
  VerifiedCheckpoint result{std::move(checkpoint), std::move(opened.note), {}};
  bool signed_by_log = false;
  std::set<std::string_view> names;
  for (const VerifiedSignature& signature : opened.verified) {
    const NoteVerifier& key = verifiers[signature.verifier];
    if (signature.verifier < policy.log_keys.size()) {
      signed_by_log = true;
    } else if (names.insert(key.name()).second) {
      result.witnesses.push_back({key.name(), signature.time.value()});
    }
  }
  if (!signed_by_log) return fail(Code::unauthenticated, "the log has not signed the checkpoint");
  if (names.size() < policy.witnesses_min) {
    return fail(Code::permission_denied, fmt::format("{} witnesses have signed the checkpoint; {} are needed",
                                                     names.size(), policy.witnesses_min));
  }
  return result;
}

}  // namespace citadel::tlog
