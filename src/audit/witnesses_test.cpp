#include "audit/witnesses.hpp"

#include <gtest/gtest.h>

#include <deque>

#include "aio/run.hpp"
#include "tlog/test_tree.hpp"

namespace citadel::audit {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view origin = "example.com/log";
constexpr std::string_view size_type = tlog::witness_size_content_type;

// Witnesses as tlog::Witness has them, with their stores in memory, that may be told to answer otherwise.
class WitnessesTest : public testing::Test {
 protected:
  struct Far {
    tlog::Witness witness;
    tlog::WitnessedHead head = {};
    std::deque<Result<WitnessReply>> instead = {};  // given first
    std::vector<std::uint64_t> old_sizes = {};      // as it was asked
  };

  void make(int count, const std::string& quorum) {
    std::string text;
    for (int i = 1; i <= count; ++i) {
      auto key = tlog::NoteSigner::generate(fmt::format("example/w{}", i), tlog::KeyType::cosignature_v1);
      text += fmt::format("witness w{} {}\n", i, key->verifier().encode());
      far_.push_back({tlog::Witness(*std::move(key), {{std::string(origin), {log_.verifier()}}})});
    }
    witnesses_.emplace(
        tlog::WitnessPolicy::parse(text + quorum + "\n").value(),
        [this](std::size_t place, std::string body, Deadline deadline) {
          return answer(place, std::move(body), deadline);
        },
        WitnessOptions{}, 1, clock_);
  }
  Task<Result<WitnessReply>> answer(std::size_t place, std::string body, Deadline) {
    auto& far = far_[place];
    far.old_sizes.push_back(tlog::parse_add_checkpoint(body)->old_size);
    if (!far.instead.empty()) {
      auto given = far.instead.front();
      far.instead.pop_front();
      co_return given;
    }
    auto given = far.witness.add_checkpoint(
        body, [&](std::string_view) { return far.head; }, std::chrono::sys_seconds(1'700'000'000s));
    if (given.store) far.head = given.store->head;
    co_return WitnessReply{given.status, given.content_type, given.body};
  }
  tlog::Checkpoint checkpoint(std::uint64_t size) const {
    return {.origin = std::string(origin),
            .size = size,
            .root = tlog::reference_root(std::span(leaves_).first(size)),
            .extensions = {}};
  }
  std::string signed_note(std::uint64_t size) const {
    return tlog::encode_note(tlog::sign_note(checkpoint(size).encode(), log_).value());
  }
  std::string cosign(const std::string& note, std::uint64_t size) {
    const auto prove = [this, size](std::uint64_t old_size,
                                    Deadline) -> Task<Result<std::vector<tlog::Hash>>> {
      tlog::LeavesReader reader(leaves_);
      co_return tlog::prove_consistency(reader, old_size, size);
    };
    return aio::run(context_, witnesses_->cosign(note, checkpoint(size), prove, Deadline::after(10s)));
  }
  std::string cosign(std::uint64_t size) { return cosign(signed_note(size), size); }
  WitnessStatus status(std::size_t place) const { return witnesses_->status().witnesses[place]; }

  asio::io_context context_;
  ManualClock clock_;
  tlog::NoteSigner log_ = tlog::NoteSigner::generate(origin).value();
  std::vector<tlog::Hash> leaves_ = tlog::test_leaves(100);
  std::vector<Far> far_;
  std::optional<Witnesses> witnesses_;
};

TEST_F(WitnessesTest, AllCosignAGrowingLog) {
  make(2, "group both all w1 w2\nquorum both");
  for (const std::uint64_t size : {3u, 64u, 65u, 100u}) {
    const auto note = cosign(size);
    EXPECT_EQ(witnesses_->count_cosigned(note), 2u);
    EXPECT_TRUE(witnesses_->quorum_met(note));
    EXPECT_EQ(status(1).state, WitnessState::cosigned);
    EXPECT_EQ(status(1).size, size);
  }
  EXPECT_EQ(far_[0].old_sizes, (std::vector<std::uint64_t>{0, 3, 64, 65}));
}

TEST_F(WitnessesTest, AWitnessSaysWhatItHasAndGetsTheProofFromThere) {
  make(1, "quorum w1");
  far_[0].head = {40, checkpoint(40).root};
  EXPECT_TRUE(witnesses_->quorum_met(cosign(50)));
  EXPECT_EQ(far_[0].old_sizes, (std::vector<std::uint64_t>{0, 40}));
}

TEST_F(WitnessesTest, TheSameCheckpointIsAskedForOnlyWhereACosignatureIsMissing) {
  make(2, "group both all w1 w2\nquorum both");
  far_[1].instead.push_back(fail(Code::unavailable, "cannot connect", Retry::safe));
  const auto half = cosign(10);
  EXPECT_EQ(witnesses_->count_cosigned(half), 1u);
  EXPECT_FALSE(witnesses_->quorum_met(half));
  EXPECT_EQ(status(1).state, WitnessState::away);
  EXPECT_EQ(status(1).last_error->message, "cannot connect");
  // Not before its time.
  EXPECT_EQ(cosign(half, 10), half);
  EXPECT_EQ(far_[1].old_sizes.size(), 1u);
  clock_.advance(1s);
  const auto whole = cosign(half, 10);
  EXPECT_TRUE(witnesses_->quorum_met(whole));
  EXPECT_EQ(far_[0].old_sizes.size(), 1u);
  EXPECT_FALSE(status(1).last_error);
  EXPECT_EQ(status(1).failures_total, 1u);
}

TEST_F(WitnessesTest, AnswersAreToldApart) {
  const std::vector<std::pair<Result<WitnessReply>, WitnessState>> cases{
      {WitnessReply{400, "", ""}, WitnessState::refused},
      {WitnessReply{403, "", ""}, WitnessState::refused},
      {WitnessReply{404, "", ""}, WitnessState::refused},
      {WitnessReply{422, "", ""}, WitnessState::inconsistent},
      {WitnessReply{429, "", ""}, WitnessState::away},
      {WitnessReply{503, "", ""}, WitnessState::away},
      {WitnessReply{200, "", "not a signature\n"}, WitnessState::away},
      {WitnessReply{302, "", ""}, WitnessState::away},
      {WitnessReply{409, std::string(size_type), "nine\n"}, WitnessState::away},
      {WitnessReply{409, std::string(size_type), "11\n"}, WitnessState::ahead},
      {fail(Code::deadline_exceeded, "did not end in time"), WitnessState::away},
  };
  make(1, "quorum w1");
  for (const auto& [reply, state] : cases) {
    far_[0].instead.push_back(reply);
    const auto note = signed_note(10);
    EXPECT_EQ(cosign(note, 10), note);
    EXPECT_EQ(status(0).state, state) << to_string(state);
    clock_.advance(5min);
  }
  // None of it is for ever.
  EXPECT_TRUE(witnesses_->quorum_met(cosign(10)));
}

TEST_F(WitnessesTest, ASizeThatChangesEachTimeEnds) {
  make(1, "quorum w1");
  for (const auto* size : {"3\n", "4\n", "5\n", "6\n"})
    far_[0].instead.push_back(WitnessReply{409, std::string(size_type), size});
  cosign(10);
  EXPECT_EQ(far_[0].old_sizes.size(), 3u);
  EXPECT_EQ(status(0).state, WitnessState::away);
}

TEST_F(WitnessesTest, AnotherHistoryIsNotCosigned) {
  make(1, "quorum w1");
  cosign(20);
  leaves_[7] = leaves_[8];
  EXPECT_FALSE(witnesses_->quorum_met(cosign(30)));
  EXPECT_EQ(status(0).state, WitnessState::inconsistent);
}

TEST_F(WitnessesTest, ACosignatureOfAnotherTextDoesNotCount) {
  make(1, "quorum w1");
  auto taken = tlog::parse_note(cosign(10)).value();
  auto other = tlog::parse_note(signed_note(11)).value();
  other.signatures.push_back(taken.signatures.back());
  EXPECT_EQ(witnesses_->count_cosigned(tlog::encode_note(other)), 0u);
  EXPECT_FALSE(witnesses_->quorum_met(tlog::encode_note(other)));
}

}  // namespace
}  // namespace citadel::audit
