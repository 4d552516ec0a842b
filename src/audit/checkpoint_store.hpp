// CheckpointStore: the last signed checkpoint of a log, in a folder outside the database, on whatever disk
// the operator gives it. What stands here contradicts a database that lost its tail or was rewritten.
//
//   latest       the fence and the signed note; replaced by rename, so a crash leaves the old one or the new
//   checkpoint   the note alone, for other tools to read; made anew from `latest` where they differ
//   history      checkpoints that were latest, about one in `history_interval`, and every one that a fork was
//                accepted against, appended; a torn end is cut at the next append
//   lock         taken by swap(), so that several daemons may share the folder
//
// swap() is a compare-and-swap: it replaces the checkpoint that the caller has seen, and no other. conflict
// where another stands there, or one with a later fence or a larger tree. corrupt where `latest` is not as it
// was written; io_error, storage_full as the files give them, and then the old checkpoint or the new one
// stands. Blocking file I/O; safe between processes, one thread at a time.
#pragma once
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "base/error.hpp"
#include "tlog/checkpoint.hpp"

namespace citadel::audit {

struct StoredCheckpoint {
  std::string note;             // the file of the signed note
  tlog::Checkpoint checkpoint;  // what the note says; its signature is the reader's to verify
  std::uint64_t fence = 0;      // of the log's head when it was signed
  friend bool operator==(const StoredCheckpoint&, const StoredCheckpoint&) = default;
};

enum class SwapKind : std::uint8_t {
  growth,         // consistent with the one before
  accepted_fork,  // not consistent; an operator said to go on
};

struct HistoryEntry {
  WallTime at;  // when it was put aside, to the microsecond
  SwapKind kind = SwapKind::growth;
  StoredCheckpoint stored;
};

class CheckpointStore {
 public:
  // Creates the folder (0700) where it is missing, and mends `checkpoint`.
  static Result<CheckpointStore> open(std::filesystem::path folder,
                                      std::chrono::seconds history_interval = std::chrono::minutes(10));

  // Nothing where none was ever stored.
  Result<std::optional<StoredCheckpoint>> load() const;
  // The deadline is for the lock.
  Result<void> swap(const std::optional<StoredCheckpoint>& expected, const StoredCheckpoint& next, SwapKind kind,
                    WallTime now, Deadline deadline);
  // Oldest first. What stands behind a torn end is not given.
  Result<std::vector<HistoryEntry>> history() const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  CheckpointStore(std::filesystem::path folder, std::chrono::seconds history_interval)
      : folder_(std::move(folder)), history_interval_(history_interval) {}
  Result<void> write_latest(const StoredCheckpoint& next);
  Result<void> write_view(std::string_view note) const;
  Result<void> append_history(const HistoryEntry& entry);

  std::filesystem::path folder_;
  std::chrono::seconds history_interval_;
  std::optional<WallTime> history_at_;  // of our last append
};

}  // namespace citadel::audit
