// JournalRange: sequences of one producer's epoch, as an audit entry names them in its object:
//
//   action audit.gap      object {"journal_range",    "018f…-…/3/17-20"}   these were lost, and this excuses
//   it action audit.started  object {"journal_position", "018f…-…/3/20"}      the last of the epoch before
//
// The verifier reads both. One range has one text. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/uuid.hpp"

namespace citadel::audit {

inline constexpr std::string_view gap_action = "audit.gap";
inline constexpr std::string_view started_action = "audit.started";
inline constexpr std::string_view journal_range_type = "journal_range";
inline constexpr std::string_view journal_position_type = "journal_position";

struct JournalRange {
  Uuid producer;
  std::uint64_t epoch = 0;
  std::uint64_t first = 0, last = 0;  // both included
  friend bool operator==(const JournalRange&, const JournalRange&) = default;
};
struct JournalPosition {
  Uuid producer;
  std::uint64_t epoch = 0, sequence = 0;  // both 0 at the first start
  friend bool operator==(const JournalPosition&, const JournalPosition&) = default;
};

std::string to_string(const JournalRange& range);
std::string to_string(const JournalPosition& position);
// nullopt for anything that to_string() does not write, and for a range that is empty or begins at 0.
std::optional<JournalRange> parse_journal_range(std::string_view text);
std::optional<JournalPosition> parse_journal_position(std::string_view text);

}  // namespace citadel::audit
