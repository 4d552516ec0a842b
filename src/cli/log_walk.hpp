// LogWalk: a log gone through entry by entry, against its checkpoint and its tiles: what `citadel audit
// verify` and `report` do with what a daemon streams. Entries and checkpoint are held by audit::Verifier; the
// tree is built again beside it, so that its tiles of all levels can be compared with the stored ones.
// Constant memory; not thread-safe.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "audit/export_format.hpp"
#include "audit/verifier.hpp"
#include "cli/log_beginning.hpp"

namespace citadel::cli {

class LogWalk {
 public:
  // A log that begins at `first`, because what is before it was pruned. An entry of the log that says so is
  // demanded, but where the operator says that this is right: up to `pruned_max`. `options.before` is set
  // here.
  struct Pruned {
    std::uint64_t first = 0, pruned_max = 0;
  };
  static Result<std::unique_ptr<LogWalk>> begin(audit::VerifierOptions options, std::uint64_t size,
                                                FetchTile fetch, Pruned pruned);

  // Gets each entry that was found good, in order; views that live during the call. Before the first feed().
  using OnEntry = std::function<Result<void>(const audit::ExportedEntry& entry)>;
  void on_entry(OnEntry handler) { on_entry_ = std::move(handler); }

  // Lines of entries, in pieces of any size.
  Result<void> feed(std::string_view piece);
  // The checkpoint, and then every tile above the entries' own: corrupt names the first that differs.
  Result<tlog::VerifiedCheckpoint> finish(const std::string& checkpoint_note);

  const audit::Verifier& verifier() const { return verifier_; }
  std::uint64_t tiles_checked() const { return tiles_checked_; }
  // Of the entries that are walked through: what is before it was pruned.
  std::uint64_t first() const { return pruned_.first; }
  // The entry `audit.retention_run` that says that all before the first entry was pruned.
  std::optional<std::uint64_t> pruning_entry() const { return pruning_entry_; }

 private:
  LogWalk(audit::Verifier verifier, FetchTile fetch, LogBeginning beginning, Pruned pruned);
  Result<void> take(const audit::ExportedEntry& entry);
  Result<void> look_for_pruning(const audit::ExportedEntry& entry);
  Result<void> compare_tiles();

  audit::Verifier verifier_;
  FetchTile fetch_;
  OnEntry on_entry_;
  audit::ExportReader reader_;
  tlog::TileBuilder builder_;
  std::uint64_t tiles_checked_ = 0;
  Pruned pruned_;
  std::optional<std::uint64_t> pruning_entry_;
  std::optional<Error> tile_fault_;  // told only where the entries themselves are good
};

}  // namespace citadel::cli
