#include "journal/recovery.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace citadel::journal {
namespace {

// The size of `content` without the zeros at its end.
std::uint64_t used_bytes(Bytes content) {
  std::size_t size = content.size();
  // By words: a segment is mostly zeros where a crash came early.
  while (size >= 8 && load_le<std::uint64_t>(content.data() + size - 8) == 0) size -= 8;
  while (size > 0 && content[size - 1] == std::byte{0}) --size;
  return size;
}

class Scanner {
 public:
  Scanner(Bytes content, const ScanOptions& options) : content_(content), options_(options) {}

  Scan run() {
    read_header();
    apply_known_end();
    while (position_ < content_.size() && !scan_.sealed && !limit_reached_) {
      if (!accept_frame() && !skip_to_next_frame()) break;
    }
    judge();
    return std::move(scan_);
  }

 private:
  void read_header() {
    const auto header = decode_segment_header(content_);
    if (header) {
      scan_.header = *header;
      scan_.epoch = header->epoch;
      salt_ = header->salt;
      expected_sequence_ = header->first_sequence;
      expected_hash_ = header->previous_hash;
    } else {
      scan_.gaps.push_back({0, segment_header_bytes, 0, std::string(header.error())});
    }
  }

  void apply_known_end() {
    if (!options_.known_end) return;
    const auto end = options_.known_end->offset;
    if (content_.size() < end) {
      missing_reason_ = "the file is shorter than it was";
    } else {
      content_ = content_.first(end);
    }
  }

  // Takes the frame at position_, or says in reason_ what is wrong with it. A broken hash chain is a gap
  // without bytes.
  bool accept_frame() {
    const auto frame = decode_frame(content_.subspan(position_), salt_, options_.payload_bytes_max);
    if (!frame) {
      reason_ = to_string(frame.error());
      return false;
    }
    const FrameHeader& header = frame->header;
    if (options_.sequence_limit && header.epoch == options_.limit_epoch &&
        header.sequence >= *options_.sequence_limit) {
      limit_reached_ = true;
      content_ = content_.first(position_);
      return true;
    }
    if (scan_.epoch != 0 && header.epoch != scan_.epoch) {
      reason_ = "the frame is of another epoch";
      return false;
    }
    if (last_sequence() && header.sequence <= *last_sequence()) {
      reason_ = "the frame repeats a sequence";
      return false;
    }
    if (expected_sequence_ && header.sequence != *expected_sequence_) {
      open_gap(position_, "frames are missing by their sequences");
    } else if (expected_hash_ && header.previous_hash != *expected_hash_) {
      open_gap(position_, "the hash of the frame before does not match: it was altered");
    }
    close_gap(header.sequence);
    take(*frame);
    return true;
  }

  std::optional<std::uint64_t> last_sequence() const {
    if (scan_.runs.empty()) return std::nullopt;
    return scan_.runs.back().last;
  }

  void take(const FrameView& frame) {
    const FrameHeader& header = frame.header;
    scan_.epoch = header.epoch;
    salt_ = header.salt;
    if (header.kind == seal_kind) {
      scan_.sealed = true;
    } else {
      if (in_gap_ || scan_.runs.empty()) scan_.runs.push_back({position_, position_, header.sequence, 0});
      Run& run = scan_.runs.back();
      run.last = header.sequence;
      run.end = position_ + frame.whole.size();
      if (in_gap_ || scan_.index.empty() || position_ - scan_.index.back().offset >= index_distance_bytes) {
        scan_.index.push_back({header.sequence, position_});
      }
      expected_sequence_ = header.sequence + 1;
    }
    if (header.behind == 0 || in_gap_) scan_.unproven = position_;
    in_gap_ = false;
    durable_ = std::max(durable_, header.durable_sequence());
    scan_.last_hash = crypto::sha256(frame.whole);
    expected_hash_ = scan_.last_hash;
    position_ += frame.whole.size();
    scan_.end = position_;
  }

  void open_gap(std::uint64_t at, std::string_view reason) {
    if (open_gap_) return;
    open_gap_ = Gap{at, at, 0, std::string(reason)};
  }

  // `sequence` is the first one behind the gap.
  void close_gap(std::uint64_t sequence) {
    if (!open_gap_) return;
    open_gap_->end = position_;
    if (expected_sequence_) open_gap_->frames_lost = sequence - *expected_sequence_;
    first_missing_.push_back(expected_sequence_.value_or(1));
    first_behind_.push_back({sequence, scan_.end, scan_.last_hash});
    scan_.gaps.push_back(*std::exchange(open_gap_, std::nullopt));
    in_gap_ = true;
  }

  // At bytes that are no frame: the clean end, or a gap. False where no frame follows.
  bool skip_to_next_frame() {
    const auto rest = content_.subspan(position_);
    const auto used = used_bytes(rest);
    if (used == 0) return false;
    const auto after = expected_sequence_ ? *expected_sequence_ - 1 : 0;
    const auto next = find_frame(content_, position_ + frame_alignment, salt_, scan_.epoch, after,
                                 options_.payload_bytes_max);
    open_gap(position_, reason_);
    if (!next) {
      tail_used_ = used;
      return false;
    }
    position_ = *next;
    return true;
  }

  // Decides between torn and damaged, now that all frames are known.
  void judge() {
    if (options_.last && !scan_.sealed) cut_torn_groups();
    if (options_.last) {
      if (open_gap_) {
        scan_.torn_reason = open_gap_->reason;
        scan_.torn_bytes = tail_used_;
      }
    } else {
      report_lost_tail();
    }
    if (scan_.sealed || !options_.last) scan_.unproven = scan_.end;
  }

  // From the first gap that no later frame proves to have been durable, all is of one group that tore.
  void cut_torn_groups() {
    const std::size_t gaps_of_header = scan_.gaps.size() - first_missing_.size();
    for (std::size_t i = 0; i < first_missing_.size(); ++i) {
      if (first_missing_[i] <= durable_) continue;
      const auto [sequence, end, hash] = first_behind_[i];
      const Gap gap = scan_.gaps[gaps_of_header + i];
      scan_.torn_reason = gap.reason;
      scan_.torn_bytes = gap.begin + used_bytes(content_.subspan(gap.begin)) - end;
      std::erase_if(scan_.runs, [&](const Run& run) { return run.first >= sequence; });
      std::erase_if(scan_.index, [&](const IndexEntry& entry) { return entry.sequence >= sequence; });
      scan_.gaps.resize(gaps_of_header + i);
      scan_.end = end;
      scan_.last_hash = hash;
      // The durable frames before it need no second write; which of them are is not worth finding out.
      scan_.unproven = scan_.runs.empty() ? end : scan_.runs.back().begin;
      open_gap_.reset();
      tail_used_ = 0;
      return;
    }
  }

  // In a segment that another one follows, everything up to its known end was durable.
  void report_lost_tail() {
    std::uint64_t lost = 0;
    if (options_.known_end && expected_sequence_ && options_.known_end->sequence >= *expected_sequence_) {
      lost = options_.known_end->sequence - *expected_sequence_ + 1;
    }
    if (!open_gap_ && lost == 0) return;
    if (!open_gap_) {
      open_gap(position_, missing_reason_.empty() ? "zeros where a frame should be" : missing_reason_);
    }
    open_gap_->end = content_.size();
    open_gap_->frames_lost = lost;
    scan_.gaps.push_back(*open_gap_);
  }

  struct Behind {
    std::uint64_t sequence;  // the first accepted frame behind the gap
    std::uint64_t end;       // where the frames before the gap end
    crypto::Digest hash;     // of the last of them
  };

  Bytes content_;
  const ScanOptions& options_;
  Scan scan_;
  std::uint64_t position_ = segment_header_bytes;
  std::optional<std::uint32_t> salt_;
  std::optional<std::uint64_t> expected_sequence_;
  std::optional<crypto::Digest> expected_hash_;
  std::uint64_t durable_ = 0;
  std::string_view reason_;
  std::string_view missing_reason_;
  std::optional<Gap> open_gap_;
  bool in_gap_ = false;
  bool limit_reached_ = false;
  std::uint64_t tail_used_ = 0;
  std::vector<std::uint64_t> first_missing_;  // of each gap between frames
  std::vector<Behind> first_behind_;
};

}  // namespace

std::optional<std::uint64_t> find_frame(Bytes content, std::uint64_t from, std::optional<std::uint32_t> salt,
                                        std::uint64_t epoch, std::uint64_t after,
                                        std::uint32_t payload_bytes_max) {
  for (std::uint64_t at = from; at + frame_header_bytes <= content.size(); at += frame_alignment) {
    // The salt first: it rules out nearly all places without a checksum.
    if (salt && load_le<std::uint32_t>(content.data() + at + 12) != *salt) continue;
    const auto frame = decode_frame(content.subspan(at), salt, payload_bytes_max);
    if (frame && frame->header.sequence > after && (epoch == 0 || frame->header.epoch == epoch)) return at;
  }
  return std::nullopt;
}

Scan scan_segment(Bytes content, const ScanOptions& options) {
  if (content.size() < segment_header_bytes) {
    Scan scan;
    scan.end = scan.unproven = content.size();
    scan.gaps.push_back({0, content.size(), 0, "the file is shorter than a segment's header"});
    return scan;
  }
  return Scanner(content, options).run();
}

}  // namespace citadel::journal
