#include "audit/checkpoint_store.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <fstream>

#include "audit/audit_testing.hpp"
#include "base/crash_point.hpp"
#include "base/file.hpp"
#include "support/process.hpp"
#include "support/temp_folder.hpp"

namespace citadel::audit {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Deadline soon() {
  return Deadline::after(10s);
}

class CheckpointStoreTest : public testing::Test {
 protected:
  StoredCheckpoint checkpoint(std::uint64_t size, std::uint64_t fence = 1) {
    StoredCheckpoint stored{.note = {}, .checkpoint = {}, .fence = fence};
    stored.checkpoint.origin = "example.com/log";
    stored.checkpoint.size = size;
    stored.checkpoint.root = crypto::sha256(as_bytes(std::to_string(size)));
    stored.note = tlog::encode_note(*tlog::sign_note(stored.checkpoint.encode(), signer_));
    return stored;
  }
  CheckpointStore open() {
    auto store = CheckpointStore::open(folder_.path() / "checkpoint");
    EXPECT_TRUE(store) << store.error().to_string();
    return *store;
  }
  Result<void> swap(CheckpointStore& store, const std::optional<StoredCheckpoint>& expected,
                    const StoredCheckpoint& next, SwapKind kind = SwapKind::growth) {
    return store.swap(expected, next, kind, now_, soon());
  }
  std::string file(std::string_view name) {
    return read_file(folder_.path() / "checkpoint" / name, 1 << 20).value_or("");
  }
  void write(std::string_view name, std::string_view content) {
    std::ofstream(folder_.path() / "checkpoint" / name) << content;
  }

  const support::TempFolder folder_;
  tlog::NoteSigner signer_ = *tlog::NoteSigner::generate("example.com/log");
  WallTime now_ = testing_now;
};

TEST_F(CheckpointStoreTest, GivesBackWhatWasStoredAndTheNoteAsAFileOfItsOwn) {
  auto store = open();
  EXPECT_EQ(*store.load(), std::nullopt);
  ASSERT_TRUE(swap(store, {}, checkpoint(5)));
  EXPECT_EQ(*store.load(), checkpoint(5));
  EXPECT_EQ(*open().load(), checkpoint(5));
  EXPECT_EQ(file("checkpoint"), checkpoint(5).note);
}

TEST_F(CheckpointStoreTest, SwapsOnlyWhatTheCallerHasSeen) {
  auto store = open();
  ASSERT_TRUE(swap(store, {}, checkpoint(5, 2)));
  EXPECT_EQ(code_of(swap(store, {}, checkpoint(6, 2))), Code::conflict);
  EXPECT_EQ(code_of(swap(store, checkpoint(4, 2), checkpoint(6, 2))), Code::conflict);
  EXPECT_EQ(code_of(swap(store, checkpoint(5, 2), checkpoint(6, 1))),
            Code::conflict);                                                            // an earlier fence
  EXPECT_EQ(code_of(swap(store, checkpoint(5, 2), checkpoint(4, 2))), Code::conflict);  // smaller
  EXPECT_EQ(*store.load(), checkpoint(5, 2));
  EXPECT_TRUE(swap(store, checkpoint(5, 2), checkpoint(6, 2)));
  EXPECT_TRUE(swap(store, checkpoint(6, 2), checkpoint(3, 3), SwapKind::accepted_fork));
  EXPECT_EQ(*store.load(), checkpoint(3, 3));
}

TEST_F(CheckpointStoreTest, HistoryHasOneInAWhileAndEveryForkThatWasAccepted) {
  auto store = open();
  ASSERT_TRUE(swap(store, {}, checkpoint(1)));
  for (std::uint64_t size = 1; size < 21; ++size, now_ += 1min)
    ASSERT_TRUE(swap(store, checkpoint(size), checkpoint(size + 1)));
  ASSERT_TRUE(swap(store, checkpoint(21), checkpoint(2), SwapKind::accepted_fork));
  const auto history = store.history();
  ASSERT_TRUE(history) << history.error().to_string();
  ASSERT_EQ(history->size(), 3u);
  EXPECT_EQ((*history)[0].stored, checkpoint(1));
  EXPECT_EQ((*history)[1].stored, checkpoint(11));
  EXPECT_EQ((*history)[2].stored, checkpoint(21));
  EXPECT_EQ((*history)[2].kind, SwapKind::accepted_fork);
  // A torn end is not read, and is cut when the next one comes.
  write("history", file("history") + "citadel-history/v1 2026");
  EXPECT_EQ(store.history()->size(), 3u);
  ASSERT_TRUE(swap(store, checkpoint(2), checkpoint(1), SwapKind::accepted_fork));
  EXPECT_EQ(store.history()->size(), 4u);
}

TEST_F(CheckpointStoreTest, DamageIsNotTakenForNothing) {
  {
    auto store = open();
    ASSERT_TRUE(swap(store, {}, checkpoint(5)));
  }
  const std::string whole = file("latest");
  for (const std::string& content :
       {std::string(), whole.substr(0, 10), whole.substr(0, whole.size() / 2), "x" + whole, whole + "x"}) {
    write("latest", content);
    const auto opened = CheckpointStore::open(folder_.path() / "checkpoint");
    ASSERT_FALSE(opened.has_value()) << content;
    EXPECT_EQ(code_of(opened), Code::corrupt);
  }
  write("latest", whole);
  write("checkpoint", "old");
  EXPECT_EQ(*open().load(), checkpoint(5));
  EXPECT_EQ(file("checkpoint"), checkpoint(5).note);
}

TEST_F(CheckpointStoreTest, WaitsForTheLockNoLongerThanItsDeadline) {
  auto store = open();
  ASSERT_TRUE(swap(store, {}, checkpoint(5)));
  const UniqueFd held(::open((folder_.path() / "checkpoint" / "lock").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
  const auto refused =
      store.swap(checkpoint(5), checkpoint(6), SwapKind::growth, now_, Deadline::after(20ms));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(code_of(refused), Code::deadline_exceeded);
}

// This program again as the one that dies: it swaps until it does.
TEST_F(CheckpointStoreTest, DISABLED_Child) {
  const char* folder = std::getenv("CITADEL_TEST_CHECKPOINTS");
  ASSERT_NE(folder, nullptr);
  auto store = CheckpointStore::open(folder);
  ASSERT_TRUE(store);
  std::optional<StoredCheckpoint> stored = *store->load();
  for (std::uint64_t size = 1; size < 30; ++size, now_ += 11min) {
    auto next = checkpoint(size);
    ASSERT_TRUE(swap(*store, stored, next));
    std::printf("stored %d\n", static_cast<int>(size));
    std::fflush(stdout);
    stored = next;
  }
}

// Whatever the moment: the store opens, has the last checkpoint that was told or the one after, and goes on.
TEST_F(CheckpointStoreTest, SurvivesAKillAtEachStep) {
  int points = 0;
  for (const std::string_view name : crash_point_names) {
    if (!name.starts_with("checkpoint.")) continue;
    ++points;
    for (const int passing : {1, 4}) {
      const support::TempFolder folder;
      const auto path = (folder.path() / "checkpoint").string();
      const auto ended = support::run_process(
          {"/proc/self/exe", "--gtest_also_run_disabled_tests",
           "--gtest_filter=CheckpointStoreTest.DISABLED_Child"},
          "", Deadline::after(30s),
          {.environment = {{"CITADEL_TEST_CHECKPOINTS", path},
                           {"CITADEL_CRASH_POINT", fmt::format("{}:{}", name, passing)}}});
      ASSERT_EQ(ended.status, -SIGKILL) << name << ended.out << ended.err;
      std::uint64_t told = 0;
      for (std::size_t at = 0; (at = ended.out.find("stored ", at)) != std::string::npos; at += 7)
        told = std::stoull(ended.out.substr(at + 7));
      auto store = CheckpointStore::open(path);
      ASSERT_TRUE(store) << name << store.error().to_string();
      const auto stored = store->load();
      ASSERT_TRUE(stored) << name << stored.error().to_string();
      const std::uint64_t size = *stored ? (*stored)->checkpoint.size : 0;
      EXPECT_TRUE(size == told || size == told + 1) << name << " told " << told << ", found " << size;
      if (size > 0)
        EXPECT_EQ(read_file(folder.path() / "checkpoint" / "checkpoint", 1 << 20).value_or(""),
                  (*stored)->note);
      EXPECT_TRUE(store->history()) << name;
      EXPECT_TRUE(swap(*store, *stored, checkpoint(size + 10))) << name;
    }
  }
  EXPECT_EQ(points, 9);
}

}  // namespace
}  // namespace citadel::audit
