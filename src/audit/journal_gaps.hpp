// JournalGaps: which sequences of the audit journal were lost, found by walking what is left of it: a jump
// between two frames, and an audit.started frame that names a later end of the epoch before than was found.
// For the audit.gap entries that a daemon records after damage. Pure; not thread-safe.
//
//   JournalGaps gaps(producer, cursor);
//   for (const auto& frame : frames) gaps.next(frame);
//   gaps.found();
#pragma once
#include <optional>
#include <vector>

#include "audit/journal_range.hpp"
#include "journal/journal.hpp"

namespace citadel::audit {

class JournalGaps {
 public:
  // `drained` is the last frame that is known to be in the database.
  JournalGaps(Uuid producer, journal::Position drained) : producer_(producer), last_(drained) {}

  // In the order of the journal.
  void next(const journal::Frame& frame);
  const std::vector<JournalRange>& found() const { return found_; }

 private:
  void lose(std::uint64_t epoch, std::uint64_t first, std::uint64_t last);

  Uuid producer_;
  journal::Position last_;
  std::vector<JournalRange> found_;
};

}  // namespace citadel::audit
