// The recovery scanner and the frame decoder on any bytes: they end, stay inside the bytes, and accept only
// frames whose checksums hold.
#include <cstddef>
#include <cstdint>

#include "base/check.hpp"
#include "journal/recovery.hpp"

using namespace citadel;
using namespace citadel::journal;

namespace {

void check_scan(Bytes content, const ScanOptions& options) {
  const Scan scan = scan_segment(content, options);
  std::uint64_t before_end = 0;
  std::uint64_t before_last = 0;
  for (const Run& run : scan.runs) {
    CITADEL_CHECK(before_end <= run.begin && run.begin < run.end && run.end <= scan.end, "runs overlap");
    CITADEL_CHECK(before_last < run.first && run.first <= run.last, "sequences go back");
    before_end = run.end;
    before_last = run.last;
    std::uint64_t sequence = run.first;
    for (std::uint64_t at = run.begin; at < run.end; ++sequence) {
      const auto frame =
          decode_frame(content.subspan(at, run.end - at), std::nullopt, options.payload_bytes_max);
      CITADEL_CHECK(frame && frame->header.sequence == sequence && frame->header.epoch == scan.epoch,
                    "a run holds what is no frame");
      at += frame->whole.size();
    }
    CITADEL_CHECK(sequence == run.last + 1, "a run has another count");
  }
  CITADEL_CHECK(scan.end <= content.size() && scan.unproven <= scan.end, "the end lies outside");
  for (const Gap& gap : scan.gaps)
    CITADEL_CHECK(gap.begin <= gap.end && !gap.reason.empty(), "a gap without sense");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes content = std::as_bytes(std::span(data, size));
  (void)decode_frame(content, std::nullopt, 1'024);
  (void)decode_segment_header(content);
  if (size < segment_header_bytes) return 0;
  check_scan(content, {.payload_bytes_max = 1'024, .last = true, .known_end = {}, .sequence_limit = {}});
  check_scan(
      content,
      {.payload_bytes_max = 1'024, .last = false, .known_end = {}, .sequence_limit = 3, .limit_epoch = 1});
  check_scan(content, {.payload_bytes_max = 1'024,
                       .last = false,
                       .known_end = SegmentEnd{segment_header_bytes + data[0] * 8u, data[1]},
                       .sequence_limit = {}});
  return 0;
}
