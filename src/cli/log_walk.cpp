#include "cli/log_walk.hpp"

#include <fmt/format.h>

namespace citadel::cli {
namespace {

// Of built tiles, before they are compared: 256 leaves fill one.
constexpr std::uint64_t compare_every = 65'536;

}  // namespace

Result<std::unique_ptr<LogWalk>> LogWalk::begin(audit::VerifierOptions options, std::uint64_t size,
                                                FetchTile fetch) {
  const std::string origin = options.policy.origin;
  CITADEL_ASSIGN(auto verifier, audit::Verifier::make(std::move(options)));
  std::unique_ptr<LogWalk> walk(new LogWalk(std::move(verifier), std::move(fetch)));
  std::string header;
  audit::append_export_header(header, {.origin = origin, .size = size, .before = {}});
  CITADEL_TRY(walk->reader_.feed(header));
  return walk;
}

LogWalk::LogWalk(audit::Verifier verifier, FetchTile fetch)
    : verifier_(std::move(verifier)),
      fetch_(std::move(fetch)),
      reader_({.on_header = [](const audit::ExportHeader&) { return Result<void>(); },
               .on_entry = [this](const audit::ExportedEntry& entry) { return take(entry); }}) {}

Result<void> LogWalk::take(const audit::ExportedEntry& entry) {
  CITADEL_TRY(verifier_.feed(entry));
  if (on_entry_) CITADEL_TRY(on_entry_(entry));
  builder_.append(tlog::leaf_hash(as_bytes(entry.leaf)));
  return builder_.size() % compare_every == 0 ? compare_tiles() : Result<void>();
}

// Those of level 0 the verifier holds against each leaf.
Result<void> LogWalk::compare_tiles() {
  for (const auto& tile : builder_.take_changed()) {
    if (tile.id.level == 0 || tile_fault_) continue;
    const tlog::TilePath path{.kind = tlog::TileKind::hashes, .id = tile.id};
    const auto stored = fetch_(path);
    ++tiles_checked_;
    const bool missing =
        !stored && (stored.error().code == Code::not_found || stored.error().code == Code::corrupt);
    if (!stored && !missing) return std::unexpected(stored.error());
    if (missing || *stored != tile.hashes) {
      const std::uint64_t leaves = std::uint64_t{1} << (tlog::tile_height * (tile.id.level + 1u));
      tile_fault_ =
          Error(Code::corrupt, fmt::format("{} {}: it stands for the entries from {} on", path.encode(),
                                           missing ? "is missing" : "was changed", tile.id.index * leaves));
    }
  }
  return {};
}

Result<void> LogWalk::feed(std::string_view piece) {
  return reader_.feed(piece);
}

Result<tlog::VerifiedCheckpoint> LogWalk::finish(const std::string& checkpoint_note) {
  std::string line;
  audit::append_export_checkpoint(line, checkpoint_note);
  CITADEL_TRY(reader_.feed(line));
  CITADEL_TRY(reader_.finish());
  CITADEL_ASSIGN(auto checkpoint, verifier_.finish(checkpoint_note));
  CITADEL_TRY(compare_tiles());
  if (tile_fault_) return std::unexpected(*tile_fault_);
  return checkpoint;
}

}  // namespace citadel::cli
