#include "cli/entry_proofs.hpp"

#include <fmt/format.h>

#include "cli/audit_support.hpp"
#include "tlog/proof.hpp"

namespace citadel::cli {
namespace {

constexpr auto patience = std::chrono::seconds(60);

}  // namespace

Result<std::unique_ptr<EntryProofs>> EntryProofs::open(const Context& context,
                                                       const std::string& checkpoint_note) {
  CITADEL_ASSIGN(auto client, ApiClient::open(context));
  CITADEL_ASSIGN(const auto policy, choose_policy(context, &client, ""));
  CITADEL_ASSIGN(auto opened, open_daemon_checkpoint(checkpoint_note, policy));
  return std::unique_ptr<EntryProofs>(
      new EntryProofs(std::move(client), checkpoint_note, std::move(opened.checkpoint)));
}

Result<std::string> EntryProofs::tile(const tlog::TileId& id) {
  if (auto kept = tiles_.find(id)) return std::move(kept->hashes);
  const tlog::TilePath path{.kind = tlog::TileKind::hashes, .id = id};
  auto hashes = client_.fetch("/tlog/" + path.encode(), Deadline::after(patience));
  if (!hashes) return std::unexpected(std::move(hashes).error().in(path.encode()));
  if (hashes->size() != id.width * tlog::hash_bytes)
    return fail(Code::corrupt, fmt::format("{} has another length than it must have", path.encode()));
  tiles_.put({id, *hashes});
  return hashes;
}

Result<std::string> EntryProofs::prove(std::uint64_t index, std::string_view leaf) {
  const auto row = index / tlog::tile_width_max;
  if (!reader_ || row != row_) {
    reader_.emplace(checkpoint_.size, [this](const tlog::TileId& id) { return tile(id); });
    row_ = row;
  }
  tlog::LogProof proof{.extra = std::string(leaf), .index = index, .inclusion = {}, .checkpoint = note_};
  CITADEL_ASSIGN(proof.inclusion, tlog::prove_inclusion(*reader_, index, checkpoint_.size));
  const auto holds = tlog::verify_inclusion(tlog::leaf_hash(as_bytes(leaf)), index, checkpoint_.size,
                                            proof.inclusion, checkpoint_.root);
  if (!holds) return std::unexpected(Error(holds.error()).in(fmt::format("the proof of entry {}", index)));
  return proof.encode();
}

}  // namespace citadel::cli
