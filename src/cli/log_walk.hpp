// LogWalk: a log gone through entry by entry, against its checkpoint and its tiles: what `citadel audit
// verify` does with what a daemon streams. Entries and checkpoint are held by audit::Verifier; the tree is
// built again beside it, so that its tiles of all levels can be compared with the stored ones. Constant
// memory; not thread-safe.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "audit/export_format.hpp"
#include "audit/verifier.hpp"
#include "tlog/tile_builder.hpp"

namespace citadel::cli {

class LogWalk {
 public:
  // The tile that the log has at a path; not_found where there is none.
  using FetchTile = std::function<Result<std::string>(const tlog::TilePath& path)>;

  static Result<std::unique_ptr<LogWalk>> begin(audit::VerifierOptions options, std::uint64_t size,
                                                FetchTile fetch);

  // Gets each entry that was found good, in order; views that live during the call. Before the first feed().
  using OnEntry = std::function<Result<void>(const audit::ExportedEntry& entry)>;
  void on_entry(OnEntry handler) { on_entry_ = std::move(handler); }

  // Lines of entries, in pieces of any size.
  Result<void> feed(std::string_view piece);
  // The checkpoint, and then every tile above the entries' own: corrupt names the first that differs.
  Result<tlog::VerifiedCheckpoint> finish(const std::string& checkpoint_note);

  const audit::Verifier& verifier() const { return verifier_; }
  std::uint64_t tiles_checked() const { return tiles_checked_; }

 private:
  LogWalk(audit::Verifier verifier, FetchTile fetch);
  Result<void> take(const audit::ExportedEntry& entry);
  Result<void> compare_tiles();

  audit::Verifier verifier_;
  FetchTile fetch_;
  OnEntry on_entry_;
  audit::ExportReader reader_;
  tlog::TileBuilder builder_;
  std::uint64_t tiles_checked_ = 0;
  std::optional<Error> tile_fault_;  // told only where the entries themselves are good
};

}  // namespace citadel::cli
