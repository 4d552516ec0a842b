#include "journal/format.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace citadel::journal {
namespace {

constexpr std::string_view segment_magic("CITJRNL\x01", 8);
constexpr std::size_t header_checksum_at = segment_header_bytes - 4;

// Writes fields one after the other, so that encode and decode list them in the same order.
class Writer {
 public:
  explicit Writer(char* to) : to_(to) {}
  template <std::integral T>
  void put(T value) {
    store_le(to_, value);
    to_ += sizeof value;
  }
  void put(std::string_view text) { to_ = std::ranges::copy(text, to_).out; }
  void put(const Uuid& id) {
    put(std::string_view(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()));
  }
  void put(const crypto::Digest& digest) { put(as_text(digest)); }
  void put(WallTime time) { put(static_cast<std::int64_t>(time.time_since_epoch().count())); }

 private:
  char* to_;
};

class Reader {
 public:
  explicit Reader(const std::byte* from) : from_(from) {}
  template <std::integral T>
  void get(T& value) {
    value = load_le<T>(from_);
    from_ += sizeof value;
  }
  void get(Uuid& id) { get_raw(id.bytes.data(), id.bytes.size()); }
  void get(crypto::Digest& digest) { get_raw(digest.data(), digest.size()); }
  void get(WallTime& time) {
    std::int64_t count = 0;
    get(count);
    time = WallTime(std::chrono::microseconds(count));
  }

 private:
  void get_raw(void* to, std::size_t size) {
    std::memcpy(to, from_, size);
    from_ += size;
  }
  const std::byte* from_;
};

bool all_zero(Bytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

std::string encode_segment_header(const SegmentHeader& header) {
  std::string out(segment_header_bytes, '\0');
  Writer to(out.data());
  to.put(segment_magic);
  to.put(format_version);
  to.put(header.salt);
  to.put(header.index);
  to.put(header.segment_bytes);
  to.put(header.epoch);
  to.put(header.first_sequence);
  to.put(header.created_at);
  to.put(header.producer);
  to.put(header.previous_index);
  to.put(header.previous_end);
  to.put(header.previous_epoch);
  to.put(header.previous_sequence);
  to.put(header.previous_hash);
  store_le(out.data() + header_checksum_at, crc32c(as_bytes(out).first(header_checksum_at)));
  return out;
}

std::expected<SegmentHeader, std::string_view> decode_segment_header(Bytes bytes) {
  if (bytes.size() < segment_header_bytes)
    return std::unexpected("the file is shorter than a segment's header");
  if (crc32c(bytes.first(header_checksum_at)) != load_le<std::uint32_t>(bytes.data() + header_checksum_at)) {
    return std::unexpected("the segment's header does not match its checksum");
  }
  if (as_text(bytes.first(segment_magic.size())) != segment_magic)
    return std::unexpected("not a journal segment");
  Reader from(bytes.data() + segment_magic.size());
  std::uint32_t version = 0;
  from.get(version);
  if (version != format_version) return std::unexpected("the segment is of another version of the format");
  SegmentHeader header;
  from.get(header.salt);
  from.get(header.index);
  from.get(header.segment_bytes);
  from.get(header.epoch);
  from.get(header.first_sequence);
  from.get(header.created_at);
  from.get(header.producer);
  from.get(header.previous_index);
  from.get(header.previous_end);
  from.get(header.previous_epoch);
  from.get(header.previous_sequence);
  from.get(header.previous_hash);
  return header;
}

std::string_view to_string(FrameProblem problem) {
  switch (problem) {
    case FrameProblem::zeros:
      return "zeros where a frame should be";
    case FrameProblem::short_bytes:
      return "the frame is longer than the bytes that are there";
    case FrameProblem::header_checksum:
      return "the frame's header does not match its checksum";
    case FrameProblem::salt:
      return "the frame is of another segment";
    case FrameProblem::fields:
      return "the frame's header has impossible values";
    case FrameProblem::payload_checksum:
      return "the payload does not match its checksum";
  }
  return "unknown";
}

void append_frame(std::string& out, const FrameHeader& header, std::string_view payload) {
  CITADEL_CHECK(payload.size() <= payload_bytes_limit, "a payload beyond the format's limit");
  const std::size_t at = out.size();
  out.resize(at + frame_header_bytes);
  out.append(payload);
  out.resize(at + frame_size(payload.size()), '\0');
  char* const frame = out.data() + at;
  const auto body = as_bytes(std::string_view(out).substr(at + frame_header_bytes));
  Writer to(frame + 4);
  to.put(crc32c(body));
  to.put(static_cast<std::uint32_t>(payload.size()));
  to.put(header.salt);
  to.put(header.epoch);
  to.put(header.sequence);
  to.put(header.behind);
  to.put(header.kind);
  to.put(header.shed_class);
  to.put(std::uint16_t{0});
  to.put(header.written_at);
  to.put(header.id);
  to.put(header.previous_hash);
  store_le(frame, crc32c(as_bytes({frame + 4, frame_header_bytes - 4})));
}

std::expected<FrameView, FrameProblem> decode_frame(Bytes bytes, std::optional<std::uint32_t> salt,
                                                    std::uint32_t payload_bytes_max) {
  if (bytes.size() < frame_header_bytes) {
    return std::unexpected(all_zero(bytes) ? FrameProblem::zeros : FrameProblem::short_bytes);
  }
  const Bytes raw = bytes.first(frame_header_bytes);
  const auto found_salt = load_le<std::uint32_t>(raw.data() + 12);
  if (salt && found_salt != *salt) {
    return std::unexpected(all_zero(raw) ? FrameProblem::zeros : FrameProblem::salt);
  }
  if (crc32c(raw.subspan(4)) != load_le<std::uint32_t>(raw.data())) {
    return std::unexpected(all_zero(raw) ? FrameProblem::zeros : FrameProblem::header_checksum);
  }
  FrameView view;
  FrameHeader& header = view.header;
  std::uint32_t payload_checksum = 0;
  std::uint32_t length = 0;
  std::uint16_t reserved = 0;
  Reader from(raw.data() + 4);
  from.get(payload_checksum);
  from.get(length);
  from.get(header.salt);
  from.get(header.epoch);
  from.get(header.sequence);
  from.get(header.behind);
  from.get(header.kind);
  from.get(header.shed_class);
  from.get(reserved);
  from.get(header.written_at);
  from.get(header.id);
  from.get(header.previous_hash);
  if (reserved != 0 || header.sequence == 0 || header.behind >= header.sequence ||
      length > payload_bytes_max) {
    return std::unexpected(FrameProblem::fields);
  }
  const std::size_t size = frame_size(length);
  if (size > bytes.size()) return std::unexpected(FrameProblem::short_bytes);
  view.whole = bytes.first(size);
  if (crc32c(view.whole.subspan(frame_header_bytes)) != payload_checksum) {
    return std::unexpected(FrameProblem::payload_checksum);
  }
  view.payload = view.whole.subspan(frame_header_bytes, length);
  return view;
}

}  // namespace citadel::journal
