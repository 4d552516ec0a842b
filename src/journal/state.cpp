#include "journal/state.hpp"

#include <algorithm>

namespace citadel::journal {

std::uint64_t State::size_bytes() const {
  std::uint64_t sum = spare_bytes;
  for (const auto& segment : segments) sum += segment->file_bytes;
  return sum;
}

std::optional<Place> State::locate(Position after) const {
  // A segment that damage has emptied may lie anywhere, so this is no binary search.
  const auto found = std::ranges::find_if(segments, [&](const std::shared_ptr<Segment>& segment) {
    return !segment->empty() && Position{segment->epoch, segment->last_sequence()} > after;
  });
  if (found == segments.end()) return std::nullopt;
  const Segment& segment = **found;
  const std::uint64_t passed = segment.epoch == after.epoch ? after.sequence : 0;
  const auto run =
      std::ranges::find_if(segment.runs, [&](const Run& candidate) { return candidate.last > passed; });
  Place place{*found, run->begin, run->end, run->first};
  if (after == read_to && segment.index == read_segment && read_offset > run->begin &&
      read_offset < run->end) {
    place.offset = read_offset;
    place.sequence = passed + 1;
    return place;
  }
  const auto next = std::ranges::upper_bound(segment.places, passed + 1, {}, &IndexEntry::sequence);
  if (next != segment.places.begin() && std::prev(next)->offset > run->begin) {
    place.offset = std::prev(next)->offset;
    place.sequence = std::prev(next)->sequence;
  }
  return place;
}

std::uint64_t State::undrained_records() const {
  std::uint64_t sum = 0;
  for (const auto& segment : segments) {
    if (segment->epoch < cursor.epoch) continue;
    const std::uint64_t passed = segment->epoch == cursor.epoch ? cursor.sequence : 0;
    for (const Run& run : segment->runs) {
      if (run.last > passed) sum += run.last - std::max(run.first - 1, passed);
    }
  }
  return sum;
}

std::uint64_t State::undrained_bytes() const {
  if (!oldest_undrained) return 0;
  std::uint64_t sum = 0;
  for (const auto& segment : segments) {
    if (segment->index < oldest_segment) continue;
    const std::uint64_t passed = segment->index == oldest_segment ? oldest_offset : 0;
    for (const Run& run : segment->runs) {
      if (run.end > passed) sum += run.end - std::max(run.begin, passed);
    }
  }
  return sum;
}

std::vector<std::shared_ptr<Segment>> State::take_drained() {
  std::vector<std::shared_ptr<Segment>> drained;
  std::erase_if(segments, [&](const std::shared_ptr<Segment>& segment) {
    if (segment == active) return false;
    if (!segment->empty() && Position{segment->epoch, segment->last_sequence()} > cursor) return false;
    drained.push_back(segment);
    return true;
  });
  freed += drained.size();
  return drained;
}

void State::split_run(Segment& segment, std::uint64_t begin, std::optional<std::uint64_t> end,
                      std::uint64_t before, std::uint64_t next) {
  const auto run = std::ranges::find_if(
      segment.runs, [&](const Run& candidate) { return candidate.begin <= begin && begin < candidate.end; });
  if (run == segment.runs.end()) return;  // another reader was faster
  const std::uint64_t gap_end = end.value_or(run->end);
  std::erase_if(segment.places,
                [&](const IndexEntry& entry) { return entry.offset >= begin && entry.offset < gap_end; });
  const Run behind{gap_end, run->end, next, run->last};
  Run before_gap{run->begin, begin, run->first, before};
  const bool has_before = begin > run->begin;
  const bool has_behind = end.has_value();
  auto at = segment.runs.erase(run);
  if (has_behind) at = segment.runs.insert(at, behind);
  if (has_before) segment.runs.insert(at, before_gap);
}

}  // namespace citadel::journal
