#include "journal/format.hpp"

#include <gtest/gtest.h>

namespace citadel::journal {
namespace {

Uuid counting_id() {
  Uuid id;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<std::uint8_t>(0xA0 + i);
  return id;
}

crypto::Digest counting_digest() {
  crypto::Digest digest;
  for (std::size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<std::byte>(i);
  return digest;
}

FrameHeader example_frame() {
  FrameHeader header;
  header.salt = 0x01020304;
  header.epoch = 5;
  header.sequence = 0x1122334455;
  header.behind = 3;
  header.kind = 1;
  header.shed_class = 1;
  header.written_at = WallTime(std::chrono::microseconds(1'700'000'000'000'001));
  header.id = counting_id();
  header.previous_hash = counting_digest();
  return header;
}

SegmentHeader example_segment() {
  SegmentHeader header;
  header.salt = 0x01020304;
  header.index = 7;
  header.segment_bytes = 64 << 20;
  header.epoch = 5;
  header.first_sequence = 100;
  header.created_at = WallTime(std::chrono::microseconds(1'700'000'000'000'001));
  header.producer = counting_id();
  header.previous_index = 6;
  header.previous_end = 4'096;
  header.previous_epoch = 4;
  header.previous_sequence = 99;
  header.previous_hash = counting_digest();
  return header;
}

// These bytes are on disks. Where this test fails the format has changed: raise format_version and keep
// reading the old one.
TEST(JournalFormat, FrameHasTheBytesThatAreOnDisks) {
  std::string frame;
  append_frame(frame, example_frame(), "payload!!");
  EXPECT_EQ(to_hex(as_bytes(frame)),
            "c1d13ef3c3d9af5c0900000004030201"
            "050000000000000055443322110000000300000001010000"
            "01401e18240a0600a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
            "7061796c6f6164212100000000000000");
}

TEST(JournalFormat, SegmentHeaderHasTheBytesThatAreOnDisks) {
  const std::string header = encode_segment_header(example_segment());
  EXPECT_EQ(header.size(), segment_header_bytes);
  EXPECT_EQ(to_hex(as_bytes(header).first(136)),
            "4349544a524e4c01010000000403020107000000000000000000000400000000"
            "0500000000000000640000000000000001401e18240a0600"
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
            "0600000000000000001000000000000004000000000000006300000000000000"
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  EXPECT_EQ(header.substr(136, 116), std::string(116, '\0'));
  EXPECT_EQ(to_hex(as_bytes(header).subspan(252)), "27811679");
}

TEST(JournalFormat, FrameComesBackAsItWas) {
  for (const std::size_t size : {0u, 1u, 7u, 8u, 9u, 65'535u}) {
    std::string bytes = "before";
    const std::string payload(size, 'p');
    append_frame(bytes, example_frame(), payload);
    EXPECT_EQ(bytes.size(), 6 + frame_size(size));
    const auto frame = decode_frame(as_bytes(bytes).subspan(6), 0x01020304, 65'535);
    ASSERT_TRUE(frame);
    EXPECT_EQ(as_text(frame->payload), payload);
    EXPECT_EQ(frame->whole.size(), frame_size(size));
    EXPECT_EQ(frame->header.epoch, 5u);
    EXPECT_EQ(frame->header.sequence, 0x1122334455u);
    EXPECT_EQ(frame->header.behind, 3u);
    EXPECT_EQ(frame->header.durable_sequence(), 0x1122334455u - 4);
    EXPECT_EQ(frame->header.kind, 1);
    EXPECT_EQ(frame->header.shed_class, 1);
    EXPECT_EQ(frame->header.written_at, example_frame().written_at);
    EXPECT_EQ(frame->header.id, counting_id());
    EXPECT_EQ(frame->header.previous_hash, counting_digest());
  }
}

TEST(JournalFormat, SegmentHeaderComesBackAsItWas) {
  const auto header = decode_segment_header(as_bytes(encode_segment_header(example_segment())));
  ASSERT_TRUE(header);
  EXPECT_EQ(encode_segment_header(*header), encode_segment_header(example_segment()));
  EXPECT_EQ(header->previous_hash, counting_digest());
  EXPECT_EQ(header->index, 7u);
  EXPECT_EQ(header->previous_sequence, 99u);
}

TEST(JournalFormat, EveryFlippedBitOfAFrameIsSeen) {
  std::string good;
  append_frame(good, example_frame(), "payload!!");
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(decode_frame(as_bytes(bad), 0x01020304, 65'535)) << "bit " << bit;
    EXPECT_FALSE(decode_frame(as_bytes(bad), std::nullopt, 65'535)) << "bit " << bit;
  }
}

TEST(JournalFormat, EveryFlippedBitOfASegmentHeaderIsSeen) {
  const std::string good = encode_segment_header(example_segment());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(decode_segment_header(as_bytes(bad))) << "bit " << bit;
  }
}

TEST(JournalFormat, SaysWhatIsWrongWithAFrame) {
  std::string good;
  append_frame(good, example_frame(), "payload!!");
  const auto problem = [](std::string_view bytes, std::uint32_t salt, std::uint32_t payload_bytes_max) {
    const auto frame = decode_frame(as_bytes(bytes), salt, payload_bytes_max);
    return frame ? std::string_view("none") : to_string(frame.error());
  };
  EXPECT_EQ(problem(good, 0x01020304, 9), "none");
  EXPECT_EQ(problem(good, 0x01020305, 9), to_string(FrameProblem::salt));
  EXPECT_EQ(problem(good, 0x01020304, 8), to_string(FrameProblem::fields));
  EXPECT_EQ(problem(std::string_view(good).substr(0, 95), 0x01020304, 9),
            to_string(FrameProblem::short_bytes));
  EXPECT_EQ(problem(std::string_view(good).substr(0, 111), 0x01020304, 9),
            to_string(FrameProblem::short_bytes));
  EXPECT_EQ(problem(std::string(200, '\0'), 0x01020304, 9), to_string(FrameProblem::zeros));
  EXPECT_EQ(problem(std::string(20, '\0'), 0x01020304, 9), to_string(FrameProblem::zeros));
  std::string impossible;
  FrameHeader header = example_frame();
  header.sequence = 3;  // with three frames of its group before it
  append_frame(impossible, header, "");
  EXPECT_EQ(problem(impossible, 0x01020304, 9), to_string(FrameProblem::fields));
}

TEST(JournalFormat, ShortHeadersAndOtherVersionsAreRefused) {
  std::string header = encode_segment_header(example_segment());
  EXPECT_FALSE(decode_segment_header(as_bytes(header).first(255)));
  const auto with_checksum = [&](std::string changed) {
    store_le(changed.data() + 252, crc32c(as_bytes(changed).first(252)));
    return changed;
  };
  EXPECT_TRUE(decode_segment_header(as_bytes(with_checksum(header))));
  std::string version = header;
  version[8] = 2;
  EXPECT_EQ(decode_segment_header(as_bytes(with_checksum(version))).error(),
            "the segment is of another version of the format");
  std::string magic = header;
  magic[0] = 'X';
  EXPECT_EQ(decode_segment_header(as_bytes(with_checksum(magic))).error(), "not a journal segment");
}

}  // namespace
}  // namespace citadel::journal
