// Journal: the local, durable queue between an acknowledgement and the database.
//
// A record is acknowledged only after fdatasync has returned for the bytes that hold it. Records come out in
// the order in which they went in, exactly once past the cursor, across kill -9 at any point.
//
// Format (docs/decisions/, and src/journal/format.hpp): segment files of fixed size, preallocated, each with
// a header and frames `length | CRC-32C | kind, flags | epoch | sequence | id | hash of the previous frame |
// payload`. One writer thread gathers what is waiting, writes once, calls fdatasync once, then acknowledges
// all (group commit); while one fdatasync runs, the next group gathers, so a lone producer never waits for
// company.
//
// An error of fdatasync is final for its segment: it is never repeated and its unacknowledged bytes are never
// read back. The journal goes on in a new segment; where that fails too it refuses appends (fails closed).
// The same goes for a segment whose file was removed or replaced under the journal; what was acknowledged in
// it is written into a new file of its name. Recovery cuts a torn tail of the last segment; damage elsewhere
// is quarantined, counted, logged and reported through `damage()`, never skipped in silence.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "aio/task.hpp"
#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "base/error.hpp"
#include "base/random.hpp"
#include "base/uuid.hpp"

namespace citadel::journal {

// Who a record belongs to; each kind has its own sink in the drain.
enum class Kind : std::uint8_t { usage_request = 1, audit_event = 2 };

// What happens to a record when space runs out: critical ones may use the reserve that sheddable ones may
// not.
enum class Class : std::uint8_t { critical, sheddable };

struct Record {
  Kind kind = Kind::usage_request;
  Class shed = Class::critical;
  Uuid id;
  std::string payload;  // at most Options::payload_bytes_max
};

// A place in the journal: frames are ordered by (epoch, sequence). Sequences start at 1 in each epoch and
// have no gap.
struct Position {
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
  friend auto operator<=>(const Position&, const Position&) = default;
};

struct Frame {
  Position position;
  Kind kind;
  Uuid id;
  std::string payload;
};

struct Options {
  std::filesystem::path folder;  // created 0700 where missing
  std::uint64_t segment_bytes = 64 << 20;
  std::uint64_t size_bytes_max = 1 << 30;  // all segments together; at least two segments
  // Kept for critical records when sheddable ones are refused already; at most half a segment counts.
  std::uint64_t reserve_bytes = 1 << 20;
  std::uint32_t payload_bytes_max = 65'535;
  std::chrono::microseconds gather{2'000};  // a group is closed at the latest after this
  std::size_t gather_bytes = 256 << 10;     // or with this many bytes
  std::size_t queue_records_max = 65'536;   // records waiting for the writer; beyond it: overloaded
  std::size_t queue_bytes_max = 64 << 20;   // the same in bytes
};

struct Damage {
  std::filesystem::path segment;
  std::uint64_t offset;
  std::uint64_t frames_lost_at_least;  // from the gap in the sequences; 0 where it cannot be known
  std::string reason;
};

struct Status {
  Uuid producer;            // this journal's identity, made once
  std::uint64_t epoch = 0;  // greater at each open, and no other journal's: see docs/decisions/0002
  Position last_durable, cursor;
  std::uint64_t undrained_records = 0, undrained_bytes = 0, size_bytes = 0;
  std::optional<WallTime> oldest_undrained;
  std::size_t segments = 0, quarantined_segments = 0;
  std::uint64_t appended_total = 0, syncs_total = 0, sync_errors_total = 0, refused_full_total = 0,
                shed_total = 0;
  bool failed = false;  // refuses appends until restarted
  std::string failure;
  // A critical record was refused for want of room within the last 5 s, and no segment was freed since.
  bool full = false;
  std::string full_reason;
  std::string warning;  // a file was removed while the journal used it: which, and what to do
};

class Journal {
 public:
  // Recovers, and begins a new epoch. Locks the folder: a second open is refused with conflict. `seed` draws
  // the epoch's lower bits; a test gives its own.
  static Result<std::unique_ptr<Journal>> open(Options options, const Clock& clock,
                                               std::uint64_t seed = random_seed());
  // Writes what is queued, then stops the writer thread.
  ~Journal();
  Journal(const Journal&) = delete;

  // Appends all of `records`, in order, or none. Returns the last one's position when they are durable.
  // storage_full (at the limit, or ENOSPC), overloaded (queue), io_error (fdatasync failed: not acknowledged,
  // and whether the bytes survive is unknown, so the caller sends again under the same ids),
  // deadline_exceeded (the same). From any executor, which outlives the journal; resumes there.
  Task<Result<Position>> append(std::vector<Record> records, Deadline deadline);
  // The same without a coroutine: `done` is called on the writer's thread, or at once on the caller's where
  // the append is refused before it was queued. Thread-safe.
  void append(std::vector<Record> records, std::function<void(Result<Position>)> done);

  // Durable frames after `after`, oldest first: at most `count_max` frames and about `bytes_max` bytes, at
  // least one frame where there is one. Blocking file I/O. Thread-safe.
  Result<std::vector<Frame>> read(Position after, std::size_t count_max, std::size_t bytes_max);
  // Calls back, on the writer's thread, whenever new frames became durable. The callback is short and calls
  // neither this nor the destructor. Once this has returned, an earlier callback is not called any more:
  // nullptr takes it out. Thread-safe.
  void on_durable(std::function<void()> callback);

  // Everything up to `position` is in the database: writes and syncs the cursor, then unlinks segments that
  // lie wholly before it. Blocking. Thread-safe.
  Result<void> advance(Position position);

  Status status() const;
  std::vector<Damage> damage() const;

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::journal
