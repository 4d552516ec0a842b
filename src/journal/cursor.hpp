// Cursor: the file that says up to where everything is in the database. Two slots are written in turn, so
// that a crash in the middle of a write leaves the one before; one fdatasync a write. Not thread-safe.
#pragma once
#include <filesystem>
#include <optional>

#include "base/error.hpp"
#include "base/file.hpp"
#include "journal/journal.hpp"

namespace citadel::journal {

class CursorFile {
 public:
  struct Found {
    std::optional<Position> position;  // none: the file is not there, or both slots are damaged
    bool exists = false;
    bool slot_damaged = false;  // one slot of two: a torn write, or damage to the older one
  };
  explicit CursorFile(const std::filesystem::path& folder) : path_(folder / "cursor") {}

  // What the file holds; write() continues from it.
  Result<Found> load();
  // Durable when it returns. After an error the descriptor is not used again: the next write replaces the
  // file. So does a write that finds the file removed.
  Result<void> write(Position position);

 private:
  Result<void> replace(std::string_view slot);

  std::filesystem::path path_;
  UniqueFd fd_;
  std::uint64_t generation_ = 0;
};

}  // namespace citadel::journal
