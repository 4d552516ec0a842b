// Recovery: what the bytes of a segment hold. Pure: bytes in, a decision out; src/journal/folder.cpp carries
// it out.
//
// Three things look alike and are told apart here:
//   the clean end   nothing but zeros follow the last frame;
//   a torn tail     in the last segment, bytes of a group whose fdatasync had not returned: they were never
//                   acknowledged, and are cut;
//   damage          bytes that were durable and are not what was written. The frames before and after are
//   kept; the
//                   gap is reported with the number of frames that the sequences show to be lost.
// The proof that a gap is damage is a later frame written when the gap was durable already
// (FrameHeader::behind), the seal of a clean stop, or the header of the next segment. Where a crash leaves
// the last group damaged, nothing can prove whether it was acknowledged: it counts as torn, as in every log
// with one write per group.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "journal/format.hpp"

namespace citadel::journal {

// Frames that follow each other without a gap: bytes [begin, end), sequences first to last.
struct Run {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

// Where a frame begins. A segment's entries are sparse: about one every index_distance_bytes.
struct IndexEntry {
  std::uint64_t sequence = 0;
  std::uint64_t offset = 0;
};
inline constexpr std::uint64_t index_distance_bytes = 64 << 10;

struct Gap {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t frames_lost = 0;  // 0 where it cannot be known
  std::string reason;
};

// Where a segment's durable frames end, as the next segment's header tells.
struct SegmentEnd {
  std::uint64_t offset = 0;
  std::uint64_t sequence = 0;
};

struct ScanOptions {
  std::uint32_t payload_bytes_max = payload_bytes_limit;
  bool last = false;                    // no segment follows: a tail may be torn
  std::optional<SegmentEnd> known_end;  // frames behind it were never acknowledged
  // Frames of `limit_epoch` from this sequence on were never acknowledged either: a later segment has them
  // again.
  std::optional<std::uint64_t> sequence_limit;
  std::uint64_t limit_epoch = 0;
};

struct Scan {
  std::optional<SegmentHeader> header;  // where it is whole; without it the frames speak for themselves
  std::uint64_t epoch = 0;              // 0 where neither header nor frames tell
  std::vector<Run> runs;
  std::vector<IndexEntry> index;
  std::vector<Gap> gaps;
  // Where the accepted bytes end. The last segment is cut here.
  std::uint64_t end = segment_header_bytes;
  // The frames from here to `end` may be in the page cache only: a crash came before proof of their
  // fdatasync.
  std::uint64_t unproven = segment_header_bytes;
  std::uint64_t torn_bytes = 0;  // behind `end`, without the zeros at the very end of the file
  std::string torn_reason;
  bool sealed = false;
  crypto::Digest last_hash{};  // of the last accepted frame
};

// Damage never fails the scan; it is part of the answer.
Scan scan_segment(Bytes content, const ScanOptions& options);

// The first frame at or behind `from`, at a multiple of frame_alignment, of this epoch (where it is not 0)
// and with a sequence above `after`. nullopt where there is none.
std::optional<std::uint64_t> find_frame(Bytes content, std::uint64_t from, std::optional<std::uint32_t> salt,
                                        std::uint64_t epoch, std::uint64_t after,
                                        std::uint32_t payload_bytes_max);

}  // namespace citadel::journal
