#include "cli/log_walk.hpp"

#include <fmt/format.h>

#include <charconv>

#include "audit/record_codec.hpp"

namespace citadel::cli {
namespace {

// Of built tiles, before they are compared: 256 leaves fill one.
constexpr std::uint64_t compare_every = 65'536;
constexpr std::string_view entries_type = "audit_entries";  // of audit.prune_entries()

// An older checkpoint of what was pruned is held against the tree before the first entry, and then has done
// its work: the verifier goes on from that tree.
Result<void> meet_older(audit::VerifierOptions& options, const LogBeginning& beginning,
                        const FetchTile& fetch) {
  if (!options.older_checkpoint || beginning.tree.size() == 0) return {};
  auto policy = options.policy;
  policy.witnesses_min = 0;
  auto older = tlog::open_checkpoint(*options.older_checkpoint, policy);
  if (!older) return std::unexpected(std::move(older).error().in("open the older checkpoint"));
  if (older->checkpoint.size >= beginning.tree.size()) return {};
  CITADEL_TRY(check_beginning_extends(beginning, older->checkpoint, fetch));
  options.older_checkpoint.reset();
  return {};
}

// "0-255": how many entries it takes away from the beginning.
std::uint64_t entries_named(std::string_view object) {
  std::uint64_t last = 0;
  if (!object.starts_with("0-")) return 0;
  const auto [end, error] = std::from_chars(object.data() + 2, object.data() + object.size(), last);
  return error == std::errc() && end == object.data() + object.size() ? last + 1 : 0;
}

}  // namespace

Result<std::unique_ptr<LogWalk>> LogWalk::begin(audit::VerifierOptions options, std::uint64_t size,
                                                FetchTile fetch, Pruned pruned) {
  const std::string origin = options.policy.origin;
  // Nobody prunes within a tile: the verifier then names the entry that is missing.
  if (pruned.first % tlog::tile_width_max != 0) pruned.first = 0;
  CITADEL_ASSIGN(auto beginning, read_beginning(pruned.first, fetch));
  CITADEL_TRY(meet_older(options, beginning, fetch));
  options.before = beginning.tree.range();
  std::string header;
  audit::append_export_header(header, {.origin = origin, .size = size, .before = options.before});
  CITADEL_ASSIGN(auto verifier, audit::Verifier::make(std::move(options)));
  std::unique_ptr<LogWalk> walk(
      new LogWalk(std::move(verifier), std::move(fetch), std::move(beginning), pruned));
  CITADEL_TRY(walk->reader_.feed(header));
  return walk;
}

LogWalk::LogWalk(audit::Verifier verifier, FetchTile fetch, LogBeginning beginning, Pruned pruned)
    : verifier_(std::move(verifier)),
      fetch_(std::move(fetch)),
      reader_({.on_header = [](const audit::ExportHeader&) { return Result<void>(); },
               .on_entry = [this](const audit::ExportedEntry& entry) { return take(entry); }}),
      builder_(std::move(beginning.tree)),
      tiles_checked_(beginning.tiles),
      pruned_(pruned) {}

Result<void> LogWalk::take(const audit::ExportedEntry& entry) {
  CITADEL_TRY(verifier_.feed(entry));
  if (pruned_.first > 0) CITADEL_TRY(look_for_pruning(entry));
  if (on_entry_) CITADEL_TRY(on_entry_(entry));
  builder_.append(tlog::leaf_hash(as_bytes(entry.leaf)));
  return builder_.size() % compare_every == 0 ? compare_tiles() : Result<void>();
}

// What the envelope says was held against the leaf before. A later pruning may have taken more. Nobody prunes
// what comes after the entry that says so.
Result<void> LogWalk::look_for_pruning(const audit::ExportedEntry& entry) {
  if (pruning_entry_ || !entry.envelope) return {};
  CITADEL_ASSIGN(const auto leaf, audit::decode_leaf(as_bytes(entry.leaf)));
  if (leaf.action_class != audit::ActionClass::audit) return {};
  CITADEL_ASSIGN(const auto event, audit::decode_envelope(as_bytes(entry.envelope->bytes)));
  if (event.action != audit::retention_run_action || event.object.type != entries_type) return {};
  const auto named = entries_named(event.object.id);
  if (named >= pruned_.first && named <= entry.index) pruning_entry_ = entry.index;
  return {};
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
  if (pruned_.first > pruned_.pruned_max && !pruning_entry_) {
    return fail(
        Code::corrupt,
        fmt::format("entries 0 to {} are not there, and no entry that is says that they were pruned; where "
                    "you know that this is right, say so with --pruned {}",
                    pruned_.first - 1, pruned_.first));
  }
  return checkpoint;
}

}  // namespace citadel::cli
