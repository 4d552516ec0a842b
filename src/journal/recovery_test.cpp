#include "journal/recovery.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "journal/test_image.hpp"

namespace citadel::journal {
namespace {

constexpr std::uint32_t salt = Image::salt;

ScanOptions last() {
  return {.payload_bytes_max = 1'024, .last = true, .known_end = {}, .sequence_limit = {}};
}
ScanOptions middle(const Image& image, std::uint64_t sequence) {
  return {.payload_bytes_max = 1'024,
          .last = false,
          .known_end = SegmentEnd{image.size(), sequence},
          .sequence_limit = {}};
}

std::vector<std::uint64_t> sequences(const Scan& scan) {
  std::vector<std::uint64_t> out;
  for (const Run& run : scan.runs) {
    for (auto sequence = run.first; sequence <= run.last; ++sequence) out.push_back(sequence);
  }
  return out;
}

std::string flip(std::string bytes, std::size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
  return bytes;
}

using testing::ElementsAre;
using testing::IsEmpty;

TEST(JournalRecovery, ACleanEndIsNeitherTornNorDamaged) {
  const Image image = Image().group(1).group(3).group(2);
  const Scan scan = scan_segment(as_bytes(image.padded()), last());
  EXPECT_THAT(sequences(scan), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(scan.runs.size(), 1u);
  EXPECT_THAT(scan.gaps, IsEmpty());
  EXPECT_EQ(scan.torn_bytes, 0u);
  EXPECT_EQ(scan.end, image.size());
  EXPECT_EQ(scan.unproven, image.offset(4)) << "the last group may be in memory only";
  EXPECT_FALSE(scan.sealed);
}

TEST(JournalRecovery, ASealProvesAllBeforeIt) {
  const Image image = Image().group(2).seal();
  const Scan scan = scan_segment(as_bytes(image.padded(image.size())), last());
  EXPECT_THAT(sequences(scan), ElementsAre(1, 2));
  EXPECT_TRUE(scan.sealed);
  EXPECT_EQ(scan.end, image.size());
  EXPECT_EQ(scan.unproven, scan.end);
  EXPECT_LT(scan.runs.back().end, scan.end) << "a seal is no record";
}

TEST(JournalRecovery, ATornTailIsCutAtEveryByte) {
  const Image image = Image().group(1).group(1).group(1);
  const std::string whole = image.padded();
  for (std::size_t cut = image.offset(2); cut < image.size(); ++cut) {
    for (const bool zeros : {true, false}) {
      std::string torn = whole.substr(0, cut);
      if (zeros) torn.resize(whole.size(), '\0');
      const Scan scan = scan_segment(as_bytes(torn), last());
      // The zeros that pad the frame may be cut without harm where zeros follow.
      if (zeros && torn == whole) continue;
      ASSERT_THAT(sequences(scan), ElementsAre(1, 2)) << "cut at " << cut;
      EXPECT_EQ(scan.end, image.offset(2));
      EXPECT_THAT(scan.gaps, IsEmpty()) << "a torn tail is no damage";
    }
  }
}

TEST(JournalRecovery, AGroupThatToreInItsMiddleIsCutThere) {
  const Image image = Image().group(2).group(4);
  const Scan scan = scan_segment(as_bytes(flip(image.padded(), image.offset(3) + 100)), last());
  EXPECT_THAT(sequences(scan), ElementsAre(1, 2, 3)) << "frames behind the tear were never acknowledged";
  EXPECT_EQ(scan.end, image.offset(3));
  EXPECT_THAT(scan.gaps, IsEmpty());
  EXPECT_EQ(scan.torn_bytes, image.size() - image.offset(3) - 4) << "but for the last padding";
  EXPECT_EQ(scan.torn_reason, to_string(FrameProblem::payload_checksum));
  const std::string good = image.padded();
  const auto view = decode_frame(as_bytes(good).subspan(image.offset(2)), salt, 1'024);
  EXPECT_EQ(scan.last_hash, crypto::sha256(view->whole));
}

TEST(JournalRecovery, TheSameTearWithALaterGroupIsDamage) {
  const Image image = Image().group(2).group(4).group(1);
  for (const std::size_t at : {0u, 4u, 8u, 12u, 20u, 30u, 33u, 36u, 70u, 100u}) {
    const Scan scan = scan_segment(as_bytes(flip(image.padded(), image.offset(3) + at)), last());
    EXPECT_THAT(sequences(scan), ElementsAre(1, 2, 3, 5, 6, 7)) << at;
    ASSERT_EQ(scan.gaps.size(), 1u);
    EXPECT_EQ(scan.gaps[0].begin, image.offset(3));
    EXPECT_EQ(scan.gaps[0].end, image.offset(4));
    EXPECT_EQ(scan.gaps[0].frames_lost, 1u);
    EXPECT_EQ(scan.torn_bytes, 0u);
  }
}

TEST(JournalRecovery, DamageAndATornTailTogether) {
  const Image image = Image().group(2).group(2).group(2);
  const std::string bytes = flip(flip(image.padded(), image.offset(0) + 10), image.offset(5) + 10);
  const Scan scan = scan_segment(as_bytes(bytes), last());
  EXPECT_THAT(sequences(scan), ElementsAre(2, 3, 4, 5));
  ASSERT_EQ(scan.gaps.size(), 1u);
  EXPECT_EQ(scan.gaps[0].frames_lost, 1u);
  EXPECT_EQ(scan.end, image.offset(5));
  EXPECT_GT(scan.torn_bytes, 0u);
}

TEST(JournalRecovery, InASealedSegmentNothingIsTorn) {
  const Image image = Image().group(1).group(1).seal();
  const std::string bytes = image.padded(image.size());
  for (std::size_t at = image.offset(1); at < image.offset(1) + frame_size(12); ++at) {
    const Scan scan = scan_segment(as_bytes(flip(bytes, at)), last());
    EXPECT_THAT(sequences(scan), ElementsAre(1));
    ASSERT_EQ(scan.gaps.size(), 1u) << at;
    EXPECT_EQ(scan.gaps[0].frames_lost, 1u);
  }
}

TEST(JournalRecovery, EveryFlippedBitBeforeTheLastGroupIsDamageAndNoWrongFrameComes) {
  const Image image = Image().group(1).group(2).group(1).seal();
  const std::string good = image.padded(image.size());
  const std::size_t seal_begins = image.size() - frame_header_bytes;
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    const Scan scan = scan_segment(as_bytes(bad), last());
    for (const journal::Run& run : scan.runs) {
      EXPECT_EQ(bad.substr(run.begin, run.end - run.begin), good.substr(run.begin, run.end - run.begin))
          << bit;
    }
    if (bit / 8 < seal_begins) {
      EXPECT_EQ(scan.gaps.size(), 1u) << "bit " << bit;
      EXPECT_EQ(sequences(scan).size(), bit / 8 < segment_header_bytes ? 4u : 3u) << "bit " << bit;
    } else {
      EXPECT_THAT(sequences(scan), ElementsAre(1, 2, 3, 4));
    }
  }
}

TEST(JournalRecovery, AMiddleSegmentEndsWhereTheNextOneSays) {
  const Image image = Image().group(2).group(2);
  // The second group's fdatasync failed: the next segment says that only the first one was durable.
  ScanOptions options = middle(image, 2);
  options.known_end = SegmentEnd{image.offset(2), 2};
  const Scan scan = scan_segment(as_bytes(image.padded()), options);
  EXPECT_THAT(sequences(scan), ElementsAre(1, 2));
  EXPECT_THAT(scan.gaps, IsEmpty());
  EXPECT_EQ(scan.end, image.offset(2));
}

TEST(JournalRecovery, AMiddleSegmentThatLostItsTailIsDamaged) {
  const Image image = Image().group(2).group(2);
  for (std::size_t keep = 0; keep < 4; ++keep) {
    for (const bool zeros : {true, false}) {
      std::string bytes = image.padded().substr(0, image.offset(keep));
      if (zeros) bytes.resize(4'096, '\0');
      const Scan scan = scan_segment(as_bytes(bytes), middle(image, 4));
      EXPECT_EQ(sequences(scan).size(), keep);
      ASSERT_EQ(scan.gaps.size(), 1u);
      EXPECT_EQ(scan.gaps[0].frames_lost, 4 - keep);
    }
  }
}

TEST(JournalRecovery, FramesThatALaterSegmentHasAgainAreNotTaken) {
  const Image image = Image().group(2).group(2);
  ScanOptions options = middle(image, 4);
  options.known_end.reset();
  options.sequence_limit = 3;
  options.limit_epoch = 3;
  EXPECT_THAT(sequences(scan_segment(as_bytes(image.padded()), options)), ElementsAre(1, 2));
  options.limit_epoch = 4;
  EXPECT_THAT(sequences(scan_segment(as_bytes(image.padded()), options)), ElementsAre(1, 2, 3, 4));
}

TEST(JournalRecovery, AnAlteredFrameWithARightChecksumBreaksTheChain) {
  const Image image = Image().group(1).group(1).group(1);
  std::string bytes = image.padded();
  const auto view = decode_frame(as_bytes(bytes).subspan(image.offset(1)), salt, 1'024);
  std::string forged;
  append_frame(forged, view->header, "PAYLOAD OF 2");
  ASSERT_EQ(forged.size(), view->whole.size());
  bytes.replace(image.offset(1), forged.size(), forged);
  const Scan scan = scan_segment(as_bytes(bytes), middle(image, 3));
  ASSERT_EQ(scan.gaps.size(), 1u);
  EXPECT_THAT(scan.gaps[0].reason, testing::HasSubstr("altered"));
}

TEST(JournalRecovery, APayloadThatImitatesAFrameIsNotTakenForOne) {
  // The caller knows the format, not the salt.
  std::string imitation;
  FrameHeader header;
  header.salt = salt + 1;
  header.epoch = 3;
  header.sequence = 2;
  append_frame(imitation, header, "forged");
  SegmentHeader segment;
  segment.salt = salt;
  segment.epoch = 3;
  segment.first_sequence = 1;
  std::string bytes = encode_segment_header(segment);
  header.salt = salt;
  header.sequence = 1;
  append_frame(bytes, header, imitation);
  bytes.resize(4'096, '\0');
  const Scan scan = scan_segment(as_bytes(flip(bytes, segment_header_bytes)), middle(Image(), 1));
  EXPECT_THAT(scan.runs, IsEmpty());
}

TEST(JournalRecovery, AHeaderThatIsGoneLeavesTheFrames) {
  const Image image = Image(10).group(1).group(2);
  std::string bytes = image.padded();
  std::fill_n(bytes.begin(), segment_header_bytes, '\0');
  const Scan scan = scan_segment(as_bytes(bytes), last());
  EXPECT_THAT(sequences(scan), ElementsAre(10, 11, 12));
  EXPECT_EQ(scan.epoch, 3u);
  ASSERT_EQ(scan.gaps.size(), 1u);
  EXPECT_EQ(scan.gaps[0].begin, 0u);
  // The first frame gone as well.
  std::fill_n(bytes.begin(), segment_header_bytes + 50, '\0');
  EXPECT_THAT(sequences(scan_segment(as_bytes(bytes), last())), ElementsAre(11, 12));
}

TEST(JournalRecovery, BytesThatAreNoSegmentAreDamage) {
  for (const std::size_t size : {0u, 1u, 255u, 256u, 4'096u}) {
    const Scan scan = scan_segment(as_bytes(std::string(size, 'x')), last());
    EXPECT_THAT(scan.runs, IsEmpty());
    EXPECT_FALSE(scan.gaps.empty());
    EXPECT_LE(scan.end, std::max<std::size_t>(size, segment_header_bytes));
  }
}

TEST(JournalRecovery, TheIndexIsSparseAndTrue) {
  Image image;
  for (int i = 0; i < 3'000; ++i) image.group(1);
  const std::string bytes = image.padded();
  const Scan scan = scan_segment(as_bytes(bytes), last());
  EXPECT_GE(scan.index.size(), image.size() / index_distance_bytes / 2);
  EXPECT_LE(scan.index.size(), image.size() / index_distance_bytes + 1);
  for (const IndexEntry& entry : scan.index) {
    const auto frame = decode_frame(as_bytes(bytes).subspan(entry.offset), salt, 1'024);
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->header.sequence, entry.sequence);
  }
}

}  // namespace
}  // namespace citadel::journal
