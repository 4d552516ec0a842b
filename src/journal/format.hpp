// Format: the bytes of the journal's files. Pure; all integers little-endian.
//
// A segment file is a header of 256 bytes, frames, and zeros to the end of the file. It holds frames of one
// epoch. A frame is a header of 96 bytes, the payload, and zeros up to a multiple of 8:
//
//    0 u32 CRC-32C of bytes 4..96          32 u32 behind: frames of the same group before this one
//    4 u32 CRC-32C of payload and padding  36 u8 kind, u8 class, u16 zero
//    8 u32 length of the payload           40 i64 microseconds since 1970, UTC, when it was written
//   12 u32 salt of the segment             48 16 bytes id
//   16 u64 epoch                           64 32 bytes SHA-256 of the whole previous frame
//   24 u64 sequence                        96 payload
//
// The header has a checksum of its own, so that a damaged payload leaves the way to the next frame known. The
// salt is random, so that a payload that imitates a frame is not taken for one. `behind` says which frames
// were durable when this one was written: all before its group. So recovery can tell a torn group from damage
// to an acknowledged one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/uuid.hpp"
#include "crypto/sha256.hpp"

namespace citadel::journal {

inline constexpr std::uint32_t format_version = 1;
inline constexpr std::size_t segment_header_bytes = 256;
inline constexpr std::size_t frame_header_bytes = 96;
inline constexpr std::size_t frame_alignment = 8;
// What the format bears; Options::payload_bytes_max is the journal's own, lower limit.
inline constexpr std::uint32_t payload_bytes_limit = 16u << 20;
// The kind of the frame that a clean stop writes last. It carries no record, and nobody is ever given it.
inline constexpr std::uint8_t seal_kind = 0;

inline constexpr std::size_t frame_size(std::size_t payload_bytes) {
  return (frame_header_bytes + payload_bytes + frame_alignment - 1) / frame_alignment * frame_alignment;
}

struct SegmentHeader {
  std::uint32_t salt = 0;
  std::uint64_t index = 0;  // counts the journal's segments, from 1
  std::uint64_t segment_bytes = 0;
  std::uint64_t epoch = 0;
  std::uint64_t first_sequence = 0;
  WallTime created_at;
  Uuid producer;
  // The end of what was durable when this segment was begun: the truth about a segment whose fdatasync
  // failed, since what lies behind that end was never acknowledged and its sequences are given again here.
  // Index 0: there was none.
  std::uint64_t previous_index = 0;
  std::uint64_t previous_end = 0;
  std::uint64_t previous_epoch = 0;
  std::uint64_t previous_sequence = 0;
  crypto::Digest previous_hash{};
};

std::string encode_segment_header(const SegmentHeader& header);
// The reason, where `bytes` does not begin with a header as it was written.
std::expected<SegmentHeader, std::string_view> decode_segment_header(Bytes bytes);

struct FrameHeader {
  std::uint32_t salt = 0;
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
  std::uint32_t behind = 0;
  std::uint8_t kind = 0;
  std::uint8_t shed_class = 0;
  WallTime written_at;
  Uuid id;
  crypto::Digest previous_hash{};

  // The last sequence of the epoch that was durable when this frame was written; 0 for none.
  std::uint64_t durable_sequence() const { return sequence - 1 - behind; }
};

struct FrameView {
  FrameHeader header;
  Bytes payload;
  Bytes whole;  // header, payload and padding: what the next frame's hash is of
};

enum class FrameProblem : std::uint8_t {
  zeros,
  short_bytes,
  header_checksum,
  salt,
  fields,
  payload_checksum
};
std::string_view to_string(FrameProblem problem);

// Appends one frame to `out`. The payload is at most payload_bytes_limit.
void append_frame(std::string& out, const FrameHeader& header, std::string_view payload);

// The frame that `bytes` begins with; views into `bytes`. Without a salt any salt will do.
std::expected<FrameView, FrameProblem> decode_frame(Bytes bytes, std::optional<std::uint32_t> salt,
                                                    std::uint32_t payload_bytes_max);

}  // namespace citadel::journal
