// State: what the journal's writer, its readers and its callers share in memory, under one lock. No I/O here.
#pragma once
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "journal/journal.hpp"
#include "journal/segment.hpp"

namespace citadel::journal {

// Where a frame begins.
struct Place {
  std::shared_ptr<Segment> segment;
  std::uint64_t offset = 0;
  std::uint64_t run_end = 0;   // the durable frames go on without a gap up to here
  std::uint64_t sequence = 0;  // of the frame at `offset`
};

struct State {
  mutable std::mutex mutex;
  // All below is guarded by `mutex`. Oldest first; the last one may be the one that is written.
  std::deque<std::shared_ptr<Segment>> segments;
  std::shared_ptr<Segment> active;
  std::uint64_t spare_bytes = 0;
  std::uint64_t freed = 0;  // counts what was unlinked: a reason to try again where the disk was full
  // The last critical record was refused for want of room: when, why, and `freed` then.
  bool full = false;
  MonotonicTime full_seen;
  std::uint64_t full_at_freed = 0;
  std::string full_reason;
  Position last_durable;
  Position cursor;
  // The first frame past the cursor: when it was written, and where it begins.
  std::optional<WallTime> oldest_undrained;
  std::uint64_t oldest_segment = 0;
  std::uint64_t oldest_offset = 0;
  // Where the last read ended: a sequential reader goes on there without a search.
  Position read_to;
  std::uint64_t read_segment = 0;
  std::uint64_t read_offset = 0;
  Status totals;  // only the counters, `failed` and `failure`
  std::vector<Damage> damage;
  std::size_t quarantined = 0;

  std::uint64_t size_bytes() const;
  // A frame at or before the first one past `after`, in the same run, from which to walk; nullopt where there
  // is none.
  std::optional<Place> locate(Position after) const;
  // How many frames past the cursor, and their bytes.
  std::uint64_t undrained_records() const;
  std::uint64_t undrained_bytes() const;
  // Takes out, and gives back, the segments that lie wholly before the cursor and are not written any more.
  std::vector<std::shared_ptr<Segment>> take_drained();
  // The bytes [begin, end) of a run turned out to be no frames; `next` is the sequence at `end`, where there
  // is one.
  void split_run(Segment& segment, std::uint64_t begin, std::optional<std::uint64_t> end,
                 std::uint64_t before, std::uint64_t next);
};

}  // namespace citadel::journal
