#include "audit/journal_gaps.hpp"

#include "audit/draft.hpp"

namespace citadel::audit {
namespace {

// Where the epoch before had ended, as an audit.started frame says.
std::optional<JournalPosition> end_before(const journal::Frame& frame) {
  if (frame.position.sequence != 1) return std::nullopt;
  const auto draft = draft_of(frame);
  if (!draft || draft->event.action != started_action) return std::nullopt;
  return parse_journal_position(draft->event.object.id);
}

}  // namespace

void JournalGaps::lose(std::uint64_t epoch, std::uint64_t first, std::uint64_t last) {
  if (epoch > 0 && first <= last) found_.push_back({producer_, epoch, first, last});
}

void JournalGaps::next(const journal::Frame& frame) {
  const journal::Position at = frame.position;
  if (at.epoch == last_.epoch) {
    lose(at.epoch, last_.sequence + 1, at.sequence - 1);
  } else {
    if (const auto before = end_before(frame)) {
      const std::uint64_t seen = before->epoch == last_.epoch ? last_.sequence : 0;
      lose(before->epoch, seen + 1, before->sequence);
    }
    lose(at.epoch, 1, at.sequence - 1);
  }
  last_ = at;
}

}  // namespace citadel::audit
