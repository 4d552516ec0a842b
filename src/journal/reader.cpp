#include "journal/reader.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "journal/folder.hpp"

namespace citadel::journal {
namespace {

// One read of the file: large enough that a sequential reader makes few of them.
constexpr std::uint64_t chunk_bytes = 256 << 10;

// Walks from the first frame past a position.
class Walk {
 public:
  Walk(State& state, Position after, const std::filesystem::path& folder)
      : state_(state), position_(after), folder_(folder) {}

  // The next frame past the position; nullopt at the end of what is durable. The view holds until the next
  // call.
  Result<std::optional<FrameView>> next() {
    for (;;) {
      if (!place_ || place_->offset >= place_->run_end) {
        const std::lock_guard lock(state_.mutex);
        place_ = state_.locate(position_);
        if (!place_) return std::nullopt;
      }
      CITADEL_ASSIGN(const Bytes bytes, bytes_at(place_->offset, frame_header_bytes));
      auto frame = decode_frame(bytes, place_->segment->salt_if_known(), payload_bytes_limit);
      if (!frame && frame.error() == FrameProblem::short_bytes) {
        CITADEL_ASSIGN(const Bytes all, bytes_at(place_->offset, announced_size(bytes)));
        frame = decode_frame(all, place_->segment->salt_if_known(), payload_bytes_limit);
      }
      if (!is_expected(frame)) {
        CITADEL_TRY(
            step_over(frame ? "the frame is not the one that was written here" : to_string(frame.error())));
        continue;
      }
      offset_ = place_->offset;
      place_->offset += frame->whole.size();
      ++place_->sequence;
      segment_index_ = place_->segment->index;
      offset_behind_ = place_->offset;
      if (place_->segment->epoch == position_.epoch && frame->header.sequence <= position_.sequence) continue;
      position_ = {place_->segment->epoch, frame->header.sequence};
      return *frame;
    }
  }

  Position position() const { return position_; }
  // Of the frame that next() gave.
  std::uint64_t segment_index() const { return segment_index_; }
  std::uint64_t offset() const { return offset_; }
  std::uint64_t offset_behind() const { return offset_behind_; }

 private:
  bool is_expected(const std::expected<FrameView, FrameProblem>& frame) const {
    return frame && frame->header.epoch == place_->segment->epoch &&
           frame->header.sequence == place_->sequence && frame->header.kind != seal_kind;
  }

  static std::uint64_t announced_size(Bytes frame) {
    return frame.size() < frame_header_bytes ? frame_header_bytes
                                             : frame_size(load_le<std::uint32_t>(frame.data() + 8));
  }

  // At least `least` bytes from `offset`, where the run has them; more, if they are at hand.
  Result<Bytes> bytes_at(std::uint64_t offset, std::uint64_t least) {
    const auto& segment = place_->segment;
    least = std::min(least, place_->run_end - offset);
    if (segment != chunk_of_ || offset < chunk_at_ || offset + least > chunk_at_ + chunk_.size()) {
      const auto size = std::min(std::max(least, chunk_bytes), place_->run_end - offset);
      CITADEL_ASSIGN(chunk_, read_at(segment->fd.get(), offset, size, segment->path));
      chunk_at_ = offset;
      chunk_of_ = segment;
    }
    return as_bytes(std::string_view(chunk_).substr(offset - chunk_at_));
  }

  // The bytes at place_ are damaged: reports it, and makes the state know that the run goes on behind them.
  Result<void> step_over(std::string_view reason) {
    Segment& segment = *place_->segment;
    CITADEL_ASSIGN(const auto rest,
                   read_at(segment.fd.get(), place_->offset, place_->run_end - place_->offset, segment.path));
    // A second look: an error of the disk may have passed, and nothing is lost then.
    chunk_of_.reset();
    if (is_expected(decode_frame(as_bytes(rest), segment.salt_if_known(), payload_bytes_limit))) return {};
    const auto found = find_frame(as_bytes(rest), frame_alignment, segment.salt_if_known(), segment.epoch,
                                  place_->sequence - 1, payload_bytes_limit);
    std::uint64_t next_sequence = 0;
    {
      const std::lock_guard lock(state_.mutex);
      const auto run = std::ranges::find_if(segment.runs, [&](const Run& candidate) {
        return candidate.begin <= place_->offset && place_->offset < candidate.end;
      });
      if (run != segment.runs.end()) next_sequence = run->last + 1;
    }
    if (found) {
      next_sequence =
          decode_frame(as_bytes(rest).subspan(*found), segment.salt_if_known(), payload_bytes_limit)
              ->header.sequence;
    }
    Damage damage{segment.path, place_->offset,
                  next_sequence > place_->sequence ? next_sequence - place_->sequence : 0,
                  std::string(reason)};
    const bool kept = put_aside(folder_, segment.epoch, damage);
    const auto quarantined = count_quarantined(folder_);
    const std::lock_guard lock(state_.mutex);
    state_.split_run(segment, place_->offset, found ? std::optional(place_->offset + *found) : std::nullopt,
                     place_->sequence - 1, next_sequence);
    segment.damaged = true;
    segment.unquarantined |= !kept;
    state_.damage.push_back(std::move(damage));
    state_.quarantined = quarantined;
    place_.reset();
    return {};
  }

  State& state_;
  Position position_;
  const std::filesystem::path& folder_;
  std::optional<Place> place_;
  std::uint64_t segment_index_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t offset_behind_ = 0;
  std::string chunk_;
  std::uint64_t chunk_at_ = 0;
  std::shared_ptr<Segment> chunk_of_;
};

}  // namespace

Result<std::vector<Frame>> read_frames(State& state, Position after, const ReadOptions& options) {
  Walk walk(state, after, options.folder);
  std::vector<Frame> frames;
  std::size_t bytes = 0;
  while (frames.size() < options.count_max && (frames.empty() || bytes < options.bytes_max)) {
    auto next = walk.next();
    if (!next) {
      // What was read is whole; the error comes again at the next call.
      if (!frames.empty()) break;
      return std::unexpected(std::move(next).error());
    }
    if (!*next) break;
    const FrameView& view = **next;
    frames.push_back({walk.position(), static_cast<Kind>(view.header.kind), view.header.id,
                      std::string(as_text(view.payload))});
    bytes += view.whole.size();
  }
  if (!frames.empty()) {
    const std::lock_guard lock(state.mutex);
    state.read_to = walk.position();
    state.read_segment = walk.segment_index();
    state.read_offset = walk.offset_behind();
  }
  return frames;
}

Result<void> find_oldest(State& state, const std::filesystem::path& folder) {
  for (;;) {
    Position cursor;
    Position durable;
    {
      const std::lock_guard lock(state.mutex);
      cursor = state.cursor;
      durable = state.last_durable;
    }
    Walk walk(state, cursor, folder);
    CITADEL_ASSIGN(const auto first, walk.next());
    const std::lock_guard lock(state.mutex);
    // Frames that came meanwhile, where there was none, must not be overlooked.
    if (!first && state.last_durable != durable) continue;
    state.oldest_undrained.reset();
    if (first) {
      state.oldest_undrained = first->header.written_at;
      state.oldest_segment = walk.segment_index();
      state.oldest_offset = walk.offset();
    }
    return {};
  }
}

}  // namespace citadel::journal
