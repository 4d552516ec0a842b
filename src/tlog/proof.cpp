#include "tlog/proof.hpp"

#include <fmt/format.h>

#include "base/base64.hpp"
#include "base/check.hpp"
#include "tlog/text.hpp"

namespace citadel::tlog {
namespace {

constexpr std::string_view magic = "c2sp.org/tlog-proof@v1";
constexpr std::string_view extra_mark = "extra ";
constexpr std::string_view index_mark = "index ";

std::unexpected<Error> refuse(std::string_view what) {
  return fail(Code::corrupt, fmt::format("a proof file {}", what));
}

}  // namespace

std::string LogProof::encode() const {
  CITADEL_CHECK(
      extra.size() <= proof_extra_bytes_max && inclusion.size() <= proof_hashes_max && index <= tree_size_max,
      "a proof beyond its limits");
  std::string out = fmt::format("{}\n", magic);
  if (!extra.empty()) out += fmt::format("{}{}\n", extra_mark, to_base64(as_bytes(extra)));
  out += fmt::format("{}{}\n", index_mark, index);
  for (const Hash& hash : inclusion) out += to_base64(hash) + "\n";
  return out + "\n" + checkpoint;
}

Result<LogProof> LogProof::parse(std::string_view file) {
  LogProof proof;
  auto line = take_line(file);
  if (line != magic) return refuse("begins with c2sp.org/tlog-proof@v1");
  line = take_line(file);
  if (line && line->starts_with(extra_mark)) {
    const auto text = line->substr(extra_mark.size());
    if (text.size() > (proof_extra_bytes_max + 2) / 3 * 4)
      return refuse("has more extra data than is allowed");
    auto extra = from_base64(text);
    if (!extra || extra->empty()) return refuse("has extra data that is not the base64 of bytes");
    if (extra->size() > proof_extra_bytes_max) return refuse("has more extra data than is allowed");
    proof.extra = *std::move(extra);
    line = take_line(file);
  }
  if (!line || !line->starts_with(index_mark)) return refuse("has an index line");
  const auto index = parse_decimal(line->substr(index_mark.size()));
  if (!index) return refuse("has an index that is a decimal number without leading zeros");
  proof.index = *index;
  for (line = take_line(file); line && !line->empty(); line = take_line(file)) {
    if (proof.inclusion.size() == proof_hashes_max) return refuse("has more hashes than any tree has levels");
    CITADEL_ASSIGN(const Hash hash, hash_from_base64(*line));
    proof.inclusion.push_back(hash);
  }
  if (!line) return refuse("has an empty line before its checkpoint");
  if (file.size() > note_bytes_max) return refuse("has a checkpoint longer than a note may be");
  proof.checkpoint = file;
  return proof;
}

Result<VerifiedCheckpoint> verify_proof(const LogProof& proof, const Hash& leaf, const LogPolicy& policy) {
  CITADEL_ASSIGN(auto opened, open_checkpoint(proof.checkpoint, policy));
  const Checkpoint& checkpoint = opened.checkpoint;
  if (proof.index >= checkpoint.size) return refuse("has an index beyond its checkpoint");
  CITADEL_TRY(verify_inclusion(leaf, proof.index, checkpoint.size, proof.inclusion, checkpoint.root));
  return opened;
}

}  // namespace citadel::tlog
