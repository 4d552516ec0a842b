// ContentAccount: of the entries whose content is not there, which were erased or dropped as the log itself
// says, and which are missing. An `audit.erasure` entry names every entry whose content it took; an
// `audit.retention_run` entry names a month of a class, and explains what is missing of it among the entries
// before its own. Such entries are themselves contents of the class extended: where a month of those was
// dropped, what ran in it or before cannot be read any more, so what is missing of any class up to that month
// counts as dropped, but for a month that a hold kept and that no later run names.
//
// The entries that explain a hole come after it. So what is missing is kept as a count and a sum of mixed
// indexes by month and class, and what was erased is taken off both: memory does not grow with the log. Pure.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "audit/months.hpp"
#include "base/error.hpp"

namespace citadel::audit {

inline constexpr std::string_view erasure_action = "audit.erasure";
inline constexpr std::string_view retention_run_action = "audit.retention_run";
inline constexpr std::string_view content_type = "audit_content";
inline constexpr std::string_view content_held_type = "audit_content_held";

class ContentAccount {
 public:
  struct Sums {
    std::uint64_t erased = 0, pruned = 0;
    std::uint64_t missing = 0;  // without a reason in the log
    // The first month that something is missing of, and between which entries.
    std::optional<ContentMonth> month = {};
    std::uint64_t first = 0, last = 0;
    // Erasures that could not be read: what they took counts as missing.
    std::uint64_t erasures_unread = 0;
  };

  // Each in the order of the log.
  void missing(std::uint64_t index, const ContentMonth& month);
  // `details` as the entry at `index` has them. corrupt where they are not what an erasure writes.
  Result<void> erased(std::uint64_t index, std::string_view details);
  void erasure_unread() { ++unread_; }
  void pruned(const ContentMonth& month);
  void held(const ContentMonth& month) { held_.insert(month); }

  Sums sums() const;

 private:
  struct Set {
    std::uint64_t count = 0, sum = 0;
    friend bool operator==(const Set&, const Set&) = default;
  };
  struct Month {
    Set missing, erased;
    std::uint64_t first = 0, last = 0;
  };
  std::map<ContentMonth, Month> months_;
  std::set<ContentMonth> held_;
  // What a run explained; and up to which month the entries of older runs have gone.
  std::uint64_t erased_ = 0, pruned_ = 0, unread_ = 0;
  std::optional<MonthStart> runs_gone_until_;
};

}  // namespace citadel::audit
