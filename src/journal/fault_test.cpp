// The journal on a disk that fails: errors of each call, a full file system, no descriptors left.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/file.hpp"
#include "journal/test_faults.hpp"
#include "journal/test_folder.hpp"

namespace citadel::journal {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class JournalFaults : public testing::Test {
 protected:
  ~JournalFaults() override { inject_none(); }

  // What a crash now would leave: the page cache's bytes, which kill -9 does not touch.
  fs::path crash_image() {
    const fs::path copy = folder_.root() / "image";
    fs::remove_all(copy);
    fs::copy(folder_.path(), copy, fs::copy_options::recursive);
    return copy;
  }
  static std::vector<Uuid> ids(Journal& journal) {
    std::vector<Uuid> out;
    for (const Frame& frame : read_all(journal)) out.push_back(frame.id);
    return out;
  }
  void append_many(Journal& journal, std::uint64_t first, std::uint64_t last) {
    for (auto i = first; i <= last; ++i) ASSERT_TRUE(append_one(journal, i)) << i;
  }

  TestFolder folder_;
};

TEST_F(JournalFaults, AFailedFdatasyncIsFinalForItsSegmentOnly) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 3);
  inject(Call::fdatasync, EIO);
  const auto failed = append_all(*journal, {record_of(4, "lost"), record_of(5, "lost")});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::io_error);
  EXPECT_EQ(injected(), 1);
  EXPECT_EQ(append_one(*journal, 6).value(), place(1, 4)) << "sequences go on without a gap";
  EXPECT_THAT(ids(*journal), testing::ElementsAre(id_of(1), id_of(2), id_of(3), id_of(6)));
  EXPECT_EQ(journal->status().sync_errors_total, 1u);
  EXPECT_FALSE(journal->status().failed);
  const auto seen = syncs();
  ASSERT_EQ(seen.failed.size(), 1u);
  EXPECT_THAT(seen.after_failure, testing::Not(testing::Contains(seen.failed[0]))) << "never repeated";

  for (const fs::path& path : {crash_image(), folder_.path()}) {
    if (path == folder_.path()) journal.reset();
    auto again = open_small(path);
    EXPECT_THAT(ids(*again), testing::ElementsAre(id_of(1), id_of(2), id_of(3), id_of(6)));
    EXPECT_TRUE(again->damage().empty());
  }
}

TEST_F(JournalFaults, AFailedFirstGroupOfASegmentLeavesNothing) {
  auto journal = open_small(folder_.path());
  inject(Call::fdatasync, EIO);
  EXPECT_FALSE(append_one(*journal, 1));
  inject(Call::fdatasync, EIO);
  EXPECT_FALSE(append_one(*journal, 2));
  EXPECT_EQ(append_one(*journal, 3).value(), place(1, 1));
  auto again = open_small(crash_image());
  EXPECT_THAT(ids(*again), testing::ElementsAre(id_of(3)));
  EXPECT_TRUE(again->damage().empty());
}

TEST_F(JournalFaults, RefusedRecordsDoNotComeBackWhenTheNextSegmentGoes) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 3);
  inject(Call::fdatasync, EIO);
  EXPECT_FALSE(append_one(*journal, 4));
  const fs::path image = crash_image();
  // The segment that says where the first one ends holds no frames, and goes at the next open; a crash may
  // come before there is another one.
  open_small(image).reset();
  for (const auto& entry : fs::directory_iterator(image)) {
    if (entry.path().filename() > "0000000000000001.segment" && entry.path().extension() == ".segment") {
      fs::remove(entry.path());
    }
  }
  EXPECT_EQ(ids(*open_small(image)).size(), 3u);
}

TEST_F(JournalFaults, WithoutANewSegmentItFailsClosed) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 3);
  inject(Call::fdatasync, EIO, 0, 1'000);
  EXPECT_EQ(append_one(*journal, 4).error().code, Code::io_error);
  inject_none();
  EXPECT_EQ(append_one(*journal, 5).error().code, Code::io_error) << "until it is restarted";
  EXPECT_TRUE(journal->status().failed);
  EXPECT_THAT(journal->status().failure, testing::HasSubstr("fdatasync"));
  EXPECT_EQ(read_all(*journal).size(), 3u) << "reads live on";
  EXPECT_TRUE(journal->advance(place(1, 2)));
  journal.reset();
  journal = open_small(folder_.path());
  EXPECT_TRUE(journal->damage().empty());
  EXPECT_EQ(append_one(*journal, 6).value(), place(2, 1));
}

// As with delayed allocation, or over a network: the write has been taken.
TEST_F(JournalFaults, AFullDiskThatOnlyTheSyncTellsOfIsFinalForTheSegmentToo) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 3);
  inject(Call::fdatasync, ENOSPC);
  EXPECT_EQ(append_one(*journal, 4).error().code, Code::storage_full);
  EXPECT_TRUE(append_one(*journal, 5));
  const auto seen = syncs();
  ASSERT_EQ(seen.failed.size(), 1u);
  EXPECT_THAT(seen.after_failure, testing::Not(testing::Contains(seen.failed[0]))) << "never repeated";
  auto again = open_small(crash_image());
  EXPECT_THAT(ids(*again), testing::ElementsAre(id_of(1), id_of(2), id_of(3), id_of(5)));
}

TEST_F(JournalFaults, AFailedWriteIsTreatedAsAFailedSync) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 2);
  inject(Call::pwrite, EIO);
  EXPECT_EQ(append_one(*journal, 3).error().code, Code::io_error);
  inject(Call::pwrite, ENOSPC);
  EXPECT_EQ(append_one(*journal, 4).error().code, Code::storage_full);
  append_many(*journal, 5, 5);
  EXPECT_THAT(ids(*journal), testing::ElementsAre(id_of(1), id_of(2), id_of(5)));
}

TEST_F(JournalFaults, AFullDiskHealsByItself) {
  auto journal = open_small(folder_.path());
  inject(Call::fallocate, ENOSPC, 0, 2);
  std::uint64_t appended = 0;
  Result<Position> result;
  while ((result = append_one(*journal, appended + 1))) ++appended;
  EXPECT_EQ(result.error().code, Code::storage_full);
  EXPECT_FALSE(fs::exists(folder_.path() / "spare"));
  EXPECT_TRUE(journal->status().full);
  const auto give_up = Monotonic::now() + 20s;
  while (!(result = append_one(*journal, appended + 1)) && Monotonic::now() < give_up) {
    EXPECT_EQ(result.error().code, Code::storage_full);
  }
  EXPECT_EQ(result.value(), place(1, appended + 1));
  EXPECT_EQ(injected(), 2);
  EXPECT_FALSE(journal->status().full);
  EXPECT_GE(journal->status().refused_full_total, 2u);
}

TEST_F(JournalFaults, AFullDiskAtOpenStillLetsTheDrainRead) {
  {
    auto journal = open_small(folder_.path());
    append_many(*journal, 1, 10);
  }
  inject(Call::fallocate, EDQUOT);
  auto journal = open_small(folder_.path());
  EXPECT_EQ(injected(), 1);
  EXPECT_EQ(read_all(*journal).size(), 10u);
  ASSERT_TRUE(journal->advance(place(1, 10)));
  EXPECT_EQ(append_one(*journal, 11).value(), place(2, 1)) << "unlinked segments are a reason to try at once";
}

TEST_F(JournalFaults, WithoutFallocateZerosTakeTheRoom) {
  inject(Call::fallocate, EOPNOTSUPP, 0, 1'000);
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 200);
  EXPECT_EQ(read_all(*journal).size(), 200u);
  EXPECT_GT(injected(), 1);
}

TEST_F(JournalFaults, ASegmentThatCannotBeBegunAtOpenIsAnError) {
  for (const Call call : {Call::fsync, Call::fdatasync, Call::pwrite}) {
    inject(call, EIO, 0, 1'000);
    const auto journal = Journal::open(small_options(folder_.path()), system_clock(), test_seed);
    ASSERT_FALSE(journal);
    EXPECT_EQ(journal.error().code, Code::io_error);
    inject_none();
  }
  EXPECT_TRUE(Journal::open(small_options(folder_.path()), system_clock(), test_seed));
}

TEST_F(JournalFaults, ABlockThatCannotBeReadCostsItsFramesOnly) {
  Options options = small_options(folder_.path());
  options.segment_bytes = 64 << 10;
  auto journal = Journal::open(options, system_clock(), test_seed).value();
  append_many(*journal, 1, 300);
  inject_bad_block(4'096, 8'192);
  const auto frames = read_all(*journal);
  ASSERT_EQ(journal->damage().size(), 1u);
  EXPECT_EQ(frames.size() + journal->damage()[0].frames_lost_at_least, 300u);
  EXPECT_GT(frames.size(), 250u);
  EXPECT_EQ(frames.back().id, id_of(300));
  EXPECT_EQ(journal->status().quarantined_segments, 1u);
  // The same at recovery.
  const auto copy = crash_image();
  journal = nullptr;
  options.folder = copy;
  journal = Journal::open(options, system_clock(), test_seed).value();
  EXPECT_EQ(read_all(*journal).size(), frames.size());
  EXPECT_EQ(journal->damage().size(), 1u);
}

TEST_F(JournalFaults, AnErrorOfReadingThatPassesCostsNothing) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 30);
  inject(Call::pread, EIO, 0, 2);  // the whole, then its first block
  EXPECT_EQ(read_all(*journal).size(), 30u);
  EXPECT_EQ(injected(), 2);
  EXPECT_TRUE(journal->damage().empty());
}

TEST_F(JournalFaults, ACursorThatCannotBeWrittenDoesNotMove) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 10);
  std::uint64_t at = 1;
  for (const Call call : {Call::fdatasync, Call::pwrite}) {
    ASSERT_TRUE(journal->advance(place(1, at)));
    inject(call, EIO);
    EXPECT_EQ(journal->advance(place(1, at + 1)).error().code, Code::io_error);
    EXPECT_EQ(journal->status().cursor, place(1, at));
    // The file is replaced now; where that fails it is still the old one.
    inject(Call::fsync, EIO);
    EXPECT_EQ(journal->advance(place(1, at + 1)).error().code, Code::io_error);
    inject_none();
    at += 2;
    ASSERT_TRUE(journal->advance(place(1, at)));
    EXPECT_EQ(open_small(crash_image())->status().cursor, place(1, at));
  }
}

// Polls until `condition` holds; false where it does not within a long time.
template <class Condition>
bool eventually(Condition condition) {
  const auto give_up = Monotonic::now() + 20s;
  while (!condition()) {
    if (Monotonic::now() > give_up) return false;
    std::this_thread::sleep_for(5ms);  // sleep: polls, until a deadline
  }
  return true;
}

TEST_F(JournalFaults, ARemovedSegmentIsGivenUpAndItsRecordsAreWrittenAnew) {
  const fs::path segment = folder_.path() / "0000000000000001.segment";
  for (const bool replaced : {false, true}) {
    SCOPED_TRACE(replaced);
    fs::remove_all(folder_.path());
    auto journal = open_small(folder_.path());
    append_many(*journal, 1, 3);
    fs::remove(segment);
    if (replaced) spill(segment, "something else");
    // The watch or the append finds it out, whichever comes first; no record is acknowledged into the void.
    const auto fourth = append_one(*journal, 4);
    if (!fourth) EXPECT_EQ(fourth.error().code, Code::io_error);
    ASSERT_TRUE(append_one(*journal, 5));
    auto expected = fourth ? std::vector{id_of(1), id_of(2), id_of(3), id_of(4), id_of(5)}
                           : std::vector{id_of(1), id_of(2), id_of(3), id_of(5)};
    EXPECT_EQ(ids(*journal), expected);
    ASSERT_EQ(journal->damage().size(), 1u);
    EXPECT_EQ(journal->damage()[0].segment, segment);
    EXPECT_THAT(journal->damage()[0].reason, testing::HasSubstr("written anew"));
    EXPECT_THAT(journal->status().warning, testing::HasSubstr("0000000000000001.segment"));
    EXPECT_FALSE(journal->status().failed);

    auto again = open_small(crash_image());
    EXPECT_EQ(ids(*again), expected) << "what was acknowledged survives a kill";
    EXPECT_TRUE(again->damage().empty());
  }
}

TEST_F(JournalFaults, AnOlderSegmentThatIsRemovedIsWrittenAnew) {
  const fs::path oldest = folder_.path() / "0000000000000001.segment";
  auto journal = open_small(folder_.path());
  std::uint64_t last = 0;
  while (journal->status().segments < 3) append_many(*journal, last + 1, last + 1), ++last;
  fs::remove(oldest);
  ASSERT_TRUE(eventually([&] { return fs::exists(oldest) && !journal->status().warning.empty(); }));
  EXPECT_EQ(read_all(*journal).size(), last);
  auto again = open_small(crash_image());
  EXPECT_EQ(read_all(*again).size(), last);
  EXPECT_TRUE(again->damage().empty());
  ASSERT_TRUE(journal->advance(journal->status().last_durable));
  EXPECT_FALSE(fs::exists(oldest)) << "drained, it goes";
}

TEST_F(JournalFaults, ARemovedCursorAndIdentityAreWrittenAnew) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 10);
  ASSERT_TRUE(journal->advance(place(1, 4)));
  const std::string identity = slurp(folder_.path() / "identity");
  fs::remove(folder_.path() / "cursor");
  fs::remove(folder_.path() / "identity");
  ASSERT_TRUE(journal->advance(place(1, 5)));
  EXPECT_EQ(open_small(crash_image())->status().cursor, place(1, 5));
  ASSERT_TRUE(journal->advance(place(1, 6)));
  EXPECT_EQ(open_small(crash_image())->status().cursor, place(1, 6));
  EXPECT_TRUE(eventually([&] { return slurp(folder_.path() / "identity") == identity; }));
}

TEST_F(JournalFaults, AFolderThatIsRemovedFailsClosed) {
  auto journal = open_small(folder_.path());
  append_many(*journal, 1, 3);
  fs::remove_all(folder_.path());
  ASSERT_TRUE(eventually([&] { return journal->status().failed; })) << "without an append";
  EXPECT_EQ(append_one(*journal, 4).error().code, Code::io_error);
  ASSERT_EQ(journal->damage().size(), 1u);
  EXPECT_THAT(journal->damage()[0].reason, testing::HasSubstr("could not be written anew"));
  EXPECT_EQ(read_all(*journal).size(), 3u) << "the drain can still have them";
}

// Runs `body` in a process of its own, which may spoil itself; true where it returned true.
template <class Body>
bool in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
#define CHILD_EXPECT(condition)                                               \
  if (!(condition)) {                                                         \
    std::fprintf(stderr, "%s:%d: %s\n", __FILE_NAME__, __LINE__, #condition); \
    return false;                                                             \
  }

TEST_F(JournalFaults, OutOfDescriptorsItStillBeginsSegments) {
  EXPECT_TRUE(in_child([&] {
    auto journal = open_small(folder_.path());
    std::vector<UniqueFd> hoard;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    for (;;) {
      UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!fd) break;
      hoard.push_back(std::move(fd));
    }
    CHILD_EXPECT(errno == EMFILE);
    // Each segment keeps a descriptor, so that the reserve of one lasts for one.
    std::uint64_t appended = 0;
    while (journal->status().segments < 2) {
      CHILD_EXPECT(append_one(*journal, ++appended));
    }
    // Then it says no, and goes on when there are descriptors again.
    Result<Position> result;
    while ((result = append_one(*journal, appended + 1))) ++appended;
    CHILD_EXPECT(result.error().code == Code::overloaded);
    hoard.clear();
    CHILD_EXPECT(append_one(*journal, appended + 1));
    CHILD_EXPECT(read_all(*journal).size() == appended + 1);
    return true;
  }));
}

TEST_F(JournalFaults, AFileSystemThatIsReallyFullRefusesAndHeals) {
  const fs::path mount = folder_.root() / "small";
  fs::create_directory(mount);
  const bool possible = in_child([&] {
    return ::unshare(CLONE_NEWNS) == 0 && ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=256k") == 0;
  });
  if (!possible) GTEST_SKIP() << "THE FULL DISK IS NOT TESTED: this user may not mount a tmpfs";
  EXPECT_TRUE(in_child([&] {
    CHILD_EXPECT(::unshare(CLONE_NEWNS) == 0);
    CHILD_EXPECT(::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    CHILD_EXPECT(::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=256k") == 0);
    Options options = small_options(mount / "journal");
    options.segment_bytes = 32 << 10;
    auto journal = Journal::open(options, system_clock(), test_seed).value();
    std::uint64_t appended = 0;
    Result<Position> result;
    while ((result = append_one(*journal, appended + 1))) ++appended;
    CHILD_EXPECT(result.error().code == Code::storage_full);
    CHILD_EXPECT(!journal->status().failed);
    CHILD_EXPECT(read_all(*journal).size() == appended);
    CHILD_EXPECT(appended > 1'000);
    // The same after a restart on the full disk.
    journal.reset();
    journal = Journal::open(options, system_clock(), test_seed).value();
    CHILD_EXPECT(read_all(*journal).size() == appended);
    CHILD_EXPECT(journal->advance(place(1, appended / 2)));
    CHILD_EXPECT(append_one(*journal, 1));
    return true;
  }));
}

TEST_F(JournalFaults, ALimitOnFileSizesIsAFullDisk) {
  EXPECT_TRUE(in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4'096, 4'096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto journal = Journal::open(small_options(folder_.path()), system_clock(), test_seed);
    // The cursor's file is of two blocks, so that the open itself is refused here; it says why.
    CHILD_EXPECT(!journal);
    return true;
  }));
}

}  // namespace
}  // namespace citadel::journal
