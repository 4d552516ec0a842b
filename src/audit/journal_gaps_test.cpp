#include "audit/journal_gaps.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/audit_testing.hpp"
#include "audit/catalogue.hpp"
#include "audit/record_codec.hpp"

namespace citadel::audit {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const Uuid producer{{1, 2, 3}};
const crypto::AesGcmKey key = crypto::AesGcmKey::generate();

journal::Frame frame(std::uint64_t epoch, std::uint64_t sequence) {
  return {{epoch, sequence}, journal::Kind::audit_event, testing_id(sequence), "of no matter"};
}

journal::Frame started(std::uint64_t epoch, const JournalPosition& before) {
  Event event = minimal_event(epoch);
  event.action = started_action;
  event.object = {.type = std::string(journal_position_type), .id = to_string(before)};
  return {{epoch, 1},
          journal::Kind::audit_event,
          event.id,
          encode_record(seal_event(event, *find_action(started_action), key))};
}

std::vector<JournalRange> gaps_of(journal::Position drained, const std::vector<journal::Frame>& frames) {
  JournalGaps gaps(producer, drained);
  for (const auto& f : frames) gaps.next(f);
  return gaps.found();
}

TEST(JournalGaps, NoneWhereNothingIsMissing) {
  EXPECT_THAT(gaps_of({}, {frame(1, 1), frame(1, 2), started(2, {producer, 1, 2}), frame(2, 2)}), IsEmpty());
  EXPECT_THAT(gaps_of({3, 7}, {frame(3, 8)}), IsEmpty());
}

TEST(JournalGaps, AJumpInAnEpochAndOneBehindTheDrainedFrames) {
  EXPECT_THAT(gaps_of({1, 2}, {frame(1, 5), frame(1, 6), frame(1, 9)}),
              ElementsAre(JournalRange{producer, 1, 3, 4}, JournalRange{producer, 1, 7, 8}));
}

TEST(JournalGaps, TheBeginningOfAnEpoch) {
  EXPECT_THAT(gaps_of({1, 2}, {frame(2, 3)}), ElementsAre(JournalRange{producer, 2, 1, 2}));
}

// Only the epoch behind it knows where the one before had ended.
TEST(JournalGaps, TheEndOfAnEpochAndAWholeOne) {
  EXPECT_THAT(gaps_of({1, 2}, {frame(1, 3), started(2, {producer, 1, 5})}),
              ElementsAre(JournalRange{producer, 1, 4, 5}));
  EXPECT_THAT(gaps_of({1, 2}, {started(3, {producer, 2, 4})}), ElementsAre(JournalRange{producer, 2, 1, 4}));
}

}  // namespace
}  // namespace citadel::audit
