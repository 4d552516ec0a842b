#include "audit/sequences.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace citadel::audit {
namespace {

using testing::HasSubstr;

const Uuid a = make_uuid7({}, 0, 1), b = make_uuid7({}, 0, 2);

class SequencesTest : public testing::Test {
 protected:
  // The fault of the next entry as "INDEX: WHAT", "" where there is none.
  std::string next(const Uuid& producer, std::uint64_t epoch, std::uint64_t sequence) {
    return text(log.next(index++, producer, epoch, sequence));
  }
  static std::string text(const std::optional<Sequences::Fault>& fault) {
    return fault ? std::to_string(fault->index) + ": " + fault->what : "";
  }
  std::string hole() const { return text(log.first_hole()); }

  Sequences log{{.producers_max = 2, .holes_max = 3}, Sequences::Start::first_entry};
  std::uint64_t index = 0;
};

TEST_F(SequencesTest, ProducersGoOnEachForItself) {
  for (std::uint64_t sequence = 1; sequence < 10; ++sequence) {
    EXPECT_EQ(next(a, 1, sequence), "");
    EXPECT_EQ(next(b, 7, sequence), "");
  }
  EXPECT_EQ(next(a, 2, 1), "");
  EXPECT_EQ(next(a, 9, 1), "");
  EXPECT_EQ(hole(), "");
  EXPECT_EQ(log.entries_by_producer().at(a), 11u);
}

TEST_F(SequencesTest, ASequenceThatIsThereAlreadyIsAFaultAtOnce) {
  next(a, 1, 1);
  next(a, 1, 2);
  EXPECT_THAT(next(a, 1, 2), HasSubstr("2: sequence 2 of producer"));
  EXPECT_THAT(next(a, 1, 1), HasSubstr("3: sequence 1 of producer"));
}

TEST_F(SequencesTest, TwoThatWereSwappedAreFoundAtTheFirst) {
  next(a, 1, 1);
  EXPECT_EQ(next(a, 1, 3), "");
  EXPECT_THAT(next(a, 1, 2), HasSubstr("1: sequence 2 of producer"));
  EXPECT_THAT(next(a, 1, 2), HasSubstr("order was changed"));
}

TEST_F(SequencesTest, AnEpochOnlyGrows) {
  next(a, 2, 1);
  EXPECT_THAT(next(a, 1, 1), HasSubstr("1: producer"));
  EXPECT_THAT(next(a, 1, 2), HasSubstr("goes back from epoch 2 to 1"));
}

TEST_F(SequencesTest, AHoleStaysUntilItIsExcused) {
  EXPECT_EQ(next(a, 1, 3), "");
  EXPECT_THAT(hole(), HasSubstr("0: before it, sequences 1 to 2 of producer"));
  EXPECT_EQ(log.excuse({a, 1, 1, 1}), 1u);
  EXPECT_THAT(hole(), HasSubstr("0: before it, sequence 2 of producer"));
  EXPECT_EQ(log.excuse({a, 2, 1, 9}), 0u);
  EXPECT_EQ(log.excuse({b, 1, 1, 9}), 0u);
  EXPECT_EQ(log.excuse({a, 1, 3, 9}), 0u);
  EXPECT_EQ(log.excuse({a, 1, 1, 9}), 1u);
  EXPECT_EQ(hole(), "");
}

TEST_F(SequencesTest, AnExcuseCutsAHoleInTwoAndReachesOverMany) {
  next(a, 1, 11);
  EXPECT_EQ(log.excuse({a, 1, 4, 6}), 3u);
  EXPECT_THAT(hole(), HasSubstr("sequences 1 to 3"));
  next(a, 1, 15);
  EXPECT_EQ(log.excuse({a, 1, 2, 13}), 2u + 4u + 2u);
  EXPECT_THAT(hole(), HasSubstr("sequence 1 of"));
  EXPECT_EQ(log.excuse({a, 1, 1, 1}), 1u);
  EXPECT_THAT(hole(), HasSubstr("1: before it, sequence 14 of"));
}

TEST_F(SequencesTest, AnEpochThatDoesNotBeginAtOneHasAHole) {
  next(a, 1, 1);
  EXPECT_EQ(next(a, 2, 2), "");
  EXPECT_THAT(hole(),
              HasSubstr("1: before it, sequence 1 of producer " + a.to_string() + ", epoch 2, is missing"));
}

TEST_F(SequencesTest, AStartShowsATailThatWasCutOff) {
  next(a, 1, 1);
  next(a, 1, 2);
  next(a, 2, 1);
  EXPECT_EQ(text(log.last_before(2, a, {a, 1, 2})), "");
  EXPECT_EQ(text(log.last_before(2, a, {a, 1, 1})), "");  // more was drained than the journal still knows
  EXPECT_EQ(text(log.last_before(2, a, {a, 0, 0})), "");
  EXPECT_EQ(hole(), "");
  EXPECT_EQ(text(log.last_before(2, a, {a, 1, 5})), "");
  EXPECT_THAT(hole(), HasSubstr("2: before it, sequences 3 to 5"));
  EXPECT_THAT(text(log.last_before(2, a, {b, 1, 5})), HasSubstr("2: the start of producer"));
  EXPECT_THAT(text(log.last_before(2, a, {a, 2, 5})), HasSubstr("names epoch 2 as the one before"));
}

TEST_F(SequencesTest, AStartShowsAnEpochThatIsMissing) {
  next(a, 3, 1);
  EXPECT_EQ(text(log.last_before(0, a, {a, 2, 4})), "");
  EXPECT_THAT(hole(), HasSubstr("sequences 1 to 4 of producer " + a.to_string() + ", epoch 2, are missing"));
  next(a, 5, 1);
  EXPECT_THAT(text(log.last_before(1, a, {a, 2, 4})),
              HasSubstr("names epoch 2 as the one before, which was 3"));
}

TEST_F(SequencesTest, ProducersAndHolesAreBounded) {
  next(a, 1, 1);
  next(b, 1, 1);
  EXPECT_EQ(next(make_uuid7({}, 0, 3), 1, 1), "2: there are more than 2 producers");
  next(a, 1, 3);
  next(a, 1, 5);
  next(a, 1, 7);
  EXPECT_THAT(next(a, 1, 9), HasSubstr("3: before it, sequence 2 of"));
  EXPECT_THAT(next(a, 1, 11), HasSubstr("and 3 holes more"));
}

TEST(Sequences, BehindAPrunedPrefixAProducerBeginsAnywhere) {
  Sequences log({}, Sequences::Start::pruned);
  EXPECT_FALSE(log.next(100, a, 3, 17));
  EXPECT_FALSE(log.next(101, a, 3, 18));
  EXPECT_FALSE(log.first_hole());
  EXPECT_FALSE(log.next(102, a, 3, 20));
  EXPECT_EQ(log.first_hole()->index, 102u);
  EXPECT_FALSE(log.next(103, b, 2, 1));
  EXPECT_FALSE(log.last_before(103, b, {b, 1, 99}));
  EXPECT_EQ(log.first_hole()->index, 102u);
}

}  // namespace
}  // namespace citadel::audit
