// Folder: opening the journal's folder: the lock, what recovery found, the new epoch. Blocking file I/O.
//
// The folder holds `identity`, `cursor`, NNNNNNNNNNNNNNNN.segment, and `quarantine/` with segments in which
// damage was found. Nothing removes a file from quarantine but its operator.
#pragma once
#include <deque>
#include <memory>
#include <vector>

#include "journal/cursor.hpp"
#include "journal/identity.hpp"
#include "journal/journal.hpp"
#include "journal/segment.hpp"

namespace citadel::journal {

struct Opened {
  explicit Opened(const std::filesystem::path& folder) : cursor_file(folder) {}

  UniqueFd lock;  // the folder's own descriptor; holds the lock while it is open
  Identity identity;
  CursorFile cursor_file;
  Position cursor;
  std::deque<std::shared_ptr<Segment>> segments;
  Position last;       // the last durable frame, or the cursor where that is further
  SegmentHeader next;  // of the segment to begin: all but salt, first sequence and time are filled in
  std::vector<Damage> damage;
};

// Locks the folder (conflict where another process has it), cuts a torn tail, finds damage and puts it aside,
// removes what is drained, and makes a new epoch durable. invalid_argument for options that cannot be.
Result<Opened> open_folder(const Options& options, const Clock& clock, Random& random);

// Logs the damage, and puts the segment's file (a second name of it) into quarantine with the reason beside
// it. False where the file could not be put there: it is the only evidence then.
bool put_aside(const std::filesystem::path& folder, std::uint64_t epoch, const Damage& damage);
// How many segments are in quarantine.
std::size_t count_quarantined(const std::filesystem::path& folder);
// Unlinks drained segments; one that is `unquarantined` stays beside the others as NNN.segment.damaged, which
// nothing reads or removes. An error is logged: the file is found, and removed, at the next open.
void remove_segments(const std::vector<std::shared_ptr<Segment>>& segments);

}  // namespace citadel::journal
