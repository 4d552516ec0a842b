// Opening a journal's folder after crashes, damage and loss of its files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "journal/identity.hpp"
#include "journal/segment.hpp"
#include "journal/test_folder.hpp"

namespace citadel::journal {
namespace {

namespace fs = std::filesystem;

class JournalFolder : public testing::Test {
 protected:
  static Options options_in(const fs::path& path) {
    Options options = small_options(path);
    options.segment_bytes = 1'024;
    options.payload_bytes_max = 256;
    return options;
  }
  static std::unique_ptr<Journal> open(const fs::path& path) {
    return Journal::open(options_in(path), system_clock(), test_seed).value();
  }
  // Four records to a segment of 1 KiB, so three segments.
  void fill(std::uint64_t count = 12) {
    journal_ = open(folder_.path());
    for (std::uint64_t i = 1; i <= count; ++i) ASSERT_TRUE(append_one(*journal_, i));
  }
  void crash() {
    fs::remove_all(image_);
    fs::copy(folder_.path(), image_, fs::copy_options::recursive);
  }
  std::vector<fs::path> segments() {
    std::vector<fs::path> out;
    for (const auto& entry : fs::directory_iterator(image_)) {
      if (segment_index(entry.path())) out.push_back(entry.path());
    }
    std::ranges::sort(out);
    return out;
  }
  static std::vector<std::uint64_t> sequences(Journal& journal) {
    std::vector<std::uint64_t> out;
    for (const Frame& frame : read_all(journal)) {
      EXPECT_EQ(frame.payload, payload_of(frame.position.sequence)) << "a wrong frame was accepted";
      EXPECT_EQ(frame.id, id_of(frame.position.sequence));
      out.push_back(frame.position.sequence);
    }
    EXPECT_TRUE(std::ranges::is_sorted(out));
    return out;
  }

  TestFolder folder_;
  fs::path image_ = folder_.root() / "image";
  std::unique_ptr<Journal> journal_;
};

TEST_F(JournalFolder, IsPrivate) {
  journal_ = open(folder_.root() / "deep" / "down");
  struct stat info{};
  ASSERT_EQ(::stat((folder_.root() / "deep" / "down").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat((folder_.root() / "deep" / "down" / segment_name(1)).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(JournalFolder, ACrashLosesNothing) {
  fill();
  crash();
  const auto again = open(image_);
  EXPECT_EQ(sequences(*again).size(), 12u);
  EXPECT_TRUE(again->damage().empty());
  EXPECT_EQ(again->status().producer, journal_->status().producer);
  EXPECT_EQ(again->status().epoch, place(2, 0).epoch);
}

TEST_F(JournalFolder, ATornTailIsCutAtEveryByteAndWritingGoesOn) {
  fill();
  crash();
  const auto path = segments().back();
  const std::string whole = slurp(path);
  const std::size_t frame = frame_size(payload_of(1).size());
  std::size_t end = whole.find_last_not_of('\0') + 1;
  end = segment_header_bytes + (end - segment_header_bytes + frame - 1) / frame * frame;
  for (std::size_t cut = end - frame; cut < end; ++cut) {
    crash();
    std::string torn = whole.substr(0, cut);
    if (cut % 2 == 0) torn.resize(whole.size(), '\0');
    spill(path, torn);
    auto again = open(image_);
    ASSERT_EQ(sequences(*again).size(), 11u) << "cut at " << cut;
    EXPECT_TRUE(again->damage().empty());
    EXPECT_EQ(append_one(*again, 1).value(), place(2, 1));
    again.reset();
    again = open(image_);
    EXPECT_EQ(again->status().undrained_records, 12u);
    EXPECT_TRUE(again->damage().empty());
  }
}

TEST_F(JournalFolder, EveryFlippedByteIsSeen) {
  fill();
  journal_.reset();
  crash();
  const auto files = segments();
  ASSERT_EQ(files.size(), 3u);
  for (const fs::path& path : files) {
    const std::string whole = slurp(path);
    const std::size_t used = whole.find_last_not_of('\0') + 1;
    const bool sealed = path == files.back();
    for (std::size_t at = 0; at < used; ++at) {
      crash();
      std::string bad = whole;
      bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
      spill(path, bad);
      const auto again = open(image_);
      const auto got = sequences(*again);
      if (sealed && at >= whole.size() - frame_header_bytes) {
        EXPECT_EQ(got.size(), 12u) << "the seal is no record";
        continue;
      }
      ASSERT_FALSE(again->damage().empty()) << path << " byte " << at;
      EXPECT_EQ(again->damage()[0].segment, path);
      EXPECT_EQ(got.size() + again->damage()[0].frames_lost_at_least, 12u) << path << " byte " << at;
      EXPECT_EQ(got.size(), at < segment_header_bytes ? 12u : 11u);
      EXPECT_EQ(again->status().quarantined_segments, 1u);
    }
  }
}

TEST_F(JournalFolder, DamageIsKeptInQuarantineAfterTheDrain) {
  fill();
  crash();
  const auto path = segments().front();
  std::string bad = slurp(path);
  bad[segment_header_bytes + 100] = '!';
  spill(path, bad);
  auto again = open(image_);
  ASSERT_EQ(again->damage().size(), 1u);
  EXPECT_EQ(again->damage()[0].frames_lost_at_least, 1u);
  ASSERT_TRUE(again->advance(place(1, 12)));
  EXPECT_FALSE(fs::exists(path));
  const fs::path kept =
      image_ / "quarantine" / ("epoch-" + std::to_string(place(1, 0).epoch) + "-" + path.filename().string());
  EXPECT_EQ(slurp(kept), bad);
  EXPECT_THAT(slurp(kept.string() + ".reason"), testing::HasSubstr("checksum"));
  again.reset();
  again = open(image_);
  EXPECT_TRUE(again->damage().empty());
  EXPECT_EQ(again->status().quarantined_segments, 1u);
}

TEST_F(JournalFolder, DamageWhileItRunsIsSeenByTheReader) {
  fill();
  const fs::path path = folder_.path() / segment_name(2);
  std::string bytes = slurp(path);
  const std::size_t at = segment_header_bytes + frame_size(payload_of(1).size()) + 10;
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(bytes[at] ^ 1));
  }
  EXPECT_EQ(sequences(*journal_).size(), 11u);
  ASSERT_EQ(journal_->damage().size(), 1u);
  EXPECT_EQ(journal_->damage()[0].segment, path);
  EXPECT_EQ(journal_->damage()[0].frames_lost_at_least, 1u);
  EXPECT_EQ(journal_->status().undrained_records, 11u);
  EXPECT_EQ(sequences(*journal_).size(), 11u);
  EXPECT_EQ(journal_->damage().size(), 1u) << "reported once";
  EXPECT_TRUE(journal_->advance(place(1, 12)));
}

TEST_F(JournalFolder, ASegmentThatRotsAwayWhileItRunsDoesNotHideTheNext) {
  fill();
  fs::resize_file(folder_.path() / segment_name(1), segment_header_bytes);
  EXPECT_EQ(sequences(*journal_).size(), 8u);
  EXPECT_EQ(sequences(*journal_).size(), 8u) << "nor later, when the segment is known to be empty";
  EXPECT_EQ(journal_->status().undrained_records, 8u);
  EXPECT_TRUE(journal_->advance(place(1, 12)));
  EXPECT_EQ(journal_->status().undrained_records, 0u);
  EXPECT_FALSE(fs::exists(folder_.path() / segment_name(1)));
}

TEST_F(JournalFolder, DamageThatQuarantineCannotTakeIsNotUnlinked) {
  fill();
  crash();
  spill(image_ / "quarantine", "a file has the name");
  std::vector<fs::path> bad = segments();
  for (const auto& path : {bad[0], bad[1]}) {
    std::string content = slurp(path);
    content[segment_header_bytes + 100] = '!';
    spill(path, content);
  }
  const std::string first = slurp(bad[0]);
  const std::string second = slurp(bad[1]);
  auto again = open(image_);
  EXPECT_EQ(again->damage().size(), 2u);
  ASSERT_TRUE(again->advance(place(1, 12)));
  EXPECT_FALSE(fs::exists(bad[0]));
  EXPECT_EQ(slurp(bad[0].string() + ".damaged"), first);
  EXPECT_EQ(slurp(bad[1].string() + ".damaged"), second);
  again.reset();
  again = open(image_);
  EXPECT_EQ(slurp(bad[0].string() + ".damaged"), first) << "nor at the next start";
}

TEST_F(JournalFolder, AMissingSegmentIsDamage) {
  fill();
  crash();
  const auto paths = segments();
  fs::remove(paths[1]);
  {
    const auto again = open(image_);
    EXPECT_EQ(sequences(*again).size(), 8u);
    ASSERT_EQ(again->damage().size(), 1u);
    EXPECT_EQ(again->damage()[0].frames_lost_at_least, 4u);
    EXPECT_EQ(again->damage()[0].segment, paths[1]);
  }
  crash();
  fs::remove(paths[0]);
  const auto again = open(image_);
  EXPECT_EQ(sequences(*again).size(), 8u);
  ASSERT_EQ(again->damage().size(), 1u);
  EXPECT_EQ(again->damage()[0].frames_lost_at_least, 4u);
}

TEST_F(JournalFolder, ADrainedSegmentIsNotMissed) {
  fill();
  ASSERT_TRUE(journal_->advance(place(1, 7)));
  crash();
  const auto again = open(image_);
  EXPECT_TRUE(again->damage().empty());
  EXPECT_EQ(again->status().undrained_records, 5u);
}

TEST_F(JournalFolder, SegmentsThatACrashLeftBehindTheCursorGo) {
  fill();
  crash();
  const std::string first = slurp(segments()[0]);
  const auto path = segments()[0];
  ASSERT_TRUE(journal_->advance(place(1, 12)));
  crash();
  spill(path, first);
  const auto again = open(image_);
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(again->status().undrained_records, 0u);
}

TEST_F(JournalFolder, ALostHeaderLeavesTheFrames) {
  fill();
  crash();
  for (const fs::path& path : segments()) {
    crash();
    std::string bad = slurp(path);
    std::fill_n(bad.begin(), segment_header_bytes, '\0');
    spill(path, bad);
    const auto again = open(image_);
    EXPECT_EQ(sequences(*again).size(), 12u);
    EXPECT_FALSE(again->damage().empty());
    EXPECT_EQ(append_one(*again, 1).value(), place(2, 1));
  }
}

TEST_F(JournalFolder, ALostCursorDeliversAgain) {
  fill();
  ASSERT_TRUE(journal_->advance(place(1, 3)));
  crash();
  spill(image_ / "cursor", std::string(8'192, 'x'));
  {
    const auto again = open(image_);
    EXPECT_EQ(again->status().undrained_records, 12u);
    ASSERT_EQ(again->damage().size(), 1u);
    EXPECT_THAT(again->damage()[0].reason, testing::HasSubstr("cursor"));
  }
  EXPECT_TRUE(open(image_)->damage().empty()) << "it has been written anew";
  crash();
  fs::remove(image_ / "cursor");
  EXPECT_EQ(open(image_)->damage().size(), 1u);
}

TEST_F(JournalFolder, ATornSlotOfTheCursorLeavesTheOneBefore) {
  fill();
  ASSERT_TRUE(journal_->advance(place(1, 2)));
  ASSERT_TRUE(journal_->advance(place(1, 3)));
  crash();
  const std::string good = slurp(image_ / "cursor");
  std::vector<std::uint64_t> seen;
  for (const std::size_t at : {0u, 10u, 20u, 35u, 4'096u, 4'106u, 4'131u}) {
    crash();
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    spill(image_ / "cursor", bad);
    const auto again = open(image_);
    EXPECT_TRUE(again->damage().empty());
    seen.push_back(again->status().cursor.sequence);
  }
  EXPECT_THAT(seen, testing::Each(testing::AnyOf(2u, 3u)));
  EXPECT_THAT(seen, testing::Contains(2u));
  EXPECT_THAT(seen, testing::Contains(3u));
}

TEST_F(JournalFolder, ARottenSlotDoesNotMakeUnlinkedSegmentsLost) {
  fill();
  ASSERT_TRUE(journal_->advance(place(1, 3)));
  ASSERT_TRUE(journal_->advance(place(1, 6)));
  crash();
  const std::string good = slurp(image_ / "cursor");
  for (const std::size_t at : {0u, 4'096u}) {
    crash();
    std::string bad = good;
    bad[at] = '!';
    spill(image_ / "cursor", bad);
    const auto again = open(image_);
    EXPECT_TRUE(again->damage().empty());
    EXPECT_THAT(again->status().cursor.sequence, testing::AnyOf(4u, 6u));
  }
}

TEST_F(JournalFolder, ADamagedIdentityIsHadFromTheSegments) {
  fill();
  const auto producer = journal_->status().producer;
  crash();
  const std::string good = slurp(image_ / "identity");
  for (std::size_t at = 0; at < good.size(); ++at) {
    crash();
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    spill(image_ / "identity", bad);
    const auto again = open(image_);
    EXPECT_EQ(again->status().producer, producer);
    EXPECT_EQ(again->status().epoch, place(2, 0).epoch);
    EXPECT_EQ(again->damage().size(), 1u);
  }
}

TEST_F(JournalFolder, WithoutAnyTraceOfTheIdentityThereIsANewOne) {
  fill();
  crash();
  for (const fs::path& path : segments()) fs::remove(path);
  fs::remove(image_ / "identity");
  const auto again = Journal::open(options_in(image_), system_clock(), test_seed + 1).value();
  EXPECT_NE(again->status().producer, journal_->status().producer) << "its epochs may have been used before";
}

TEST_F(JournalFolder, EpochsNeverComeBack) {
  for (std::uint64_t epoch = 1; epoch <= 5; ++epoch) {
    journal_ = open(folder_.path());
    EXPECT_EQ(journal_->status().epoch, place(epoch, 0).epoch);
    EXPECT_EQ(journal_->status().segments, 1u) << "empty segments go";
    journal_.reset();
  }
}

TEST_F(JournalFolder, ACopyDoesNotGoOnInTheSameEpoch) {
  fill();
  crash();
  journal_.reset();
  const auto original = Journal::open(options_in(folder_.path()), system_clock()).value();
  const auto copy = Journal::open(options_in(image_), system_clock()).value();
  EXPECT_EQ(original->status().producer, copy->status().producer);
  EXPECT_NE(original->status().epoch, copy->status().epoch) << "the same with a chance of 1 in 2^24";
  EXPECT_GT(original->status().epoch, place(1, 0).epoch);
  EXPECT_GT(copy->status().epoch, place(1, 0).epoch);
}

TEST_F(JournalFolder, AnEpochIsGreaterWhateverIsDrawnAndWhateverCameBefore) {
  SeededRandom random(3);
  std::uint64_t last = 5;  // as epochs were before a part of them was drawn
  for (int i = 0; i < 1'000; ++i) {
    const auto next = next_epoch(last, random);
    EXPECT_GT(next, last);
    EXPECT_LE(next >> epoch_drawn_bits, static_cast<std::uint64_t>(i) + 1);
    last = next;
  }
}

TEST_F(JournalFolder, LeftoversOfACrashAreRemoved) {
  fill();
  crash();
  spill(image_ / "spare", "half a segment");
  spill(image_ / "identity.new", "half an identity");
  const auto again = open(image_);
  EXPECT_FALSE(fs::exists(image_ / "spare"));
  EXPECT_FALSE(fs::exists(image_ / "identity.new"));
}

TEST_F(JournalFolder, AFolderThatCannotBeMadeIsAnError) {
  spill(folder_.root() / "file", "x");
  EXPECT_FALSE(Journal::open(options_in(folder_.root() / "file"), system_clock(), test_seed));
  EXPECT_FALSE(Journal::open(options_in(folder_.root() / "file" / "below"), system_clock(), test_seed));
}

}  // namespace
}  // namespace citadel::journal
