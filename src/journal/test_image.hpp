// A segment's bytes, written group by group as the writer does, for the tests of recovery.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "journal/format.hpp"

namespace citadel::journal {

class Image {
 public:
  static constexpr std::uint32_t salt = 0xC0FFEE01;

  explicit Image(std::uint64_t first_sequence = 1) : sequence_(first_sequence - 1) {
    SegmentHeader header;
    header.salt = salt;
    header.index = 1;
    header.epoch = 3;
    header.first_sequence = first_sequence;
    bytes_ = encode_segment_header(header);
  }
  Image& group(std::size_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      offsets_.push_back(bytes_.size());
      frame(1, i, "payload of " + std::to_string(sequence_ + 1));
    }
    return *this;
  }
  Image& seal() {
    frame(seal_kind, 0, "");
    return *this;
  }
  std::string padded(std::size_t size = 4'096) const {
    std::string out = bytes_;
    out.resize(std::max(size, out.size()), '\0');
    return out;
  }
  std::size_t size() const { return bytes_.size(); }
  std::size_t offset(std::uint64_t frame) const { return offsets_.at(frame); }

 private:
  void frame(std::uint8_t kind, std::uint32_t behind, std::string_view payload) {
    FrameHeader header;
    header.salt = salt;
    header.epoch = 3;
    header.sequence = ++sequence_;
    header.behind = behind;
    header.kind = kind;
    header.previous_hash = hash_;
    const std::size_t at = bytes_.size();
    append_frame(bytes_, header, payload);
    hash_ = crypto::sha256(as_bytes(std::string_view(bytes_).substr(at)));
  }
  std::string bytes_;
  std::uint64_t sequence_;
  std::vector<std::size_t> offsets_;
  crypto::Digest hash_{};
};

}  // namespace citadel::journal
