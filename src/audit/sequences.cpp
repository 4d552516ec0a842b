#include "audit/sequences.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace citadel::audit {

std::optional<Sequences::Fault> Sequences::open_hole(std::uint64_t index, const JournalRange& range) {
  if (holes_.size() == limits_.holes_max) {
    Fault fault = *first_hole();
    fault.what += fmt::format(", and {} holes more", holes_.size());
    return fault;
  }
  holes_[{range.producer, range.epoch, range.first}] = {range.last, index};
  return std::nullopt;
}

// A sequence that is not above the last. Where a hole ends at it or right before it, the entry that opened
// the hole is the one at fault: it stands too early, or says that it is the next one.
std::optional<Sequences::Fault> Sequences::step_back(std::uint64_t index, const JournalRange& at,
                                                     const Place& last) const {
  auto hole = holes_.upper_bound({at.producer, at.epoch, at.first});
  if (hole != holes_.begin()) {
    --hole;
    const auto& [key, value] = *hole;
    if (key.producer == at.producer && key.epoch == at.epoch && value.last + 1 >= at.first) {
      return Fault{value.index,
                   fmt::format("sequence {} of producer {}, epoch {}, stands at entry {}: the order was "
                               "changed, or a sequence",
                               at.first, at.producer.to_string(), at.epoch, index)};
    }
  }
  return Fault{index, fmt::format("sequence {} of producer {}, epoch {}, is there already (the last was {})",
                                  at.first, at.producer.to_string(), at.epoch, last.sequence)};
}

std::optional<Sequences::Fault> Sequences::next(std::uint64_t index, const Uuid& id, std::uint64_t epoch,
                                                std::uint64_t sequence) {
  auto found = producers_.find(id);
  if (found == producers_.end()) {
    if (producers_.size() == limits_.producers_max) {
      return Fault{index, fmt::format("there are more than {} producers", limits_.producers_max)};
    }
    found = producers_.emplace(id, Producer{}).first;
    if (start_ == Start::pruned) {
      found->second.begun_anywhere = true;
      found->second.last = {epoch, sequence - 1};
    }
  }
  Producer& producer = found->second;
  if (epoch < producer.last.epoch) {
    return Fault{index, fmt::format("producer {} goes back from epoch {} to {}", id.to_string(),
                                    producer.last.epoch, epoch)};
  }
  if (epoch > producer.last.epoch) {
    producer.before = producer.last;
    producer.last = {epoch, 0};
  }
  if (sequence <= producer.last.sequence)
    return step_back(index, {id, epoch, sequence, sequence}, producer.last);
  ++producer.entries;
  const std::uint64_t expected = producer.last.sequence + 1;
  producer.last.sequence = sequence;
  if (sequence == expected) return std::nullopt;
  return open_hole(index, {id, epoch, expected, sequence - 1});
}

std::optional<Sequences::Fault> Sequences::last_before(std::uint64_t index, const Uuid& id,
                                                       const JournalPosition& position) {
  if (position.producer != id) {
    return Fault{index,
                 fmt::format("the start of producer {} names the last position of another", id.to_string())};
  }
  const auto found = producers_.find(id);
  if (position.epoch == 0 || found == producers_.end()) return std::nullopt;
  const Producer& producer = found->second;
  if (position.epoch >= producer.last.epoch || position.epoch < producer.before.epoch) {
    return Fault{
        index,
        fmt::format("the start of epoch {} of producer {} names epoch {} as the one before, which was {}",
                    producer.last.epoch, id.to_string(), position.epoch, producer.before.epoch)};
  }
  // What was pruned was there.
  if (producer.begun_anywhere && producer.before.epoch == 0) return std::nullopt;
  const std::uint64_t seen = position.epoch == producer.before.epoch ? producer.before.sequence : 0;
  if (position.sequence <= seen) return std::nullopt;
  return open_hole(index, {id, position.epoch, seen + 1, position.sequence});
}

std::uint64_t Sequences::excuse(const JournalRange& range) {
  std::uint64_t excused = 0;
  auto hole = holes_.upper_bound({range.producer, range.epoch, range.first});
  if (hole != holes_.begin()) --hole;
  while (hole != holes_.end()) {
    const HoleKey key = hole->first;
    const Hole value = hole->second;
    if (std::pair(key.producer, key.epoch) > std::pair(range.producer, range.epoch) ||
        (key.producer == range.producer && key.epoch == range.epoch && key.first > range.last)) {
      break;
    }
    if (key.producer != range.producer || key.epoch != range.epoch || value.last < range.first) {
      ++hole;
      continue;
    }
    hole = holes_.erase(hole);
    const std::uint64_t first = std::max(key.first, range.first), last = std::min(value.last, range.last);
    excused += last - first + 1;
    // What the entry does not name stays missing.
    if (key.first < first) holes_[key] = {first - 1, value.index};
    if (last < value.last) holes_[{key.producer, key.epoch, last + 1}] = {value.last, value.index};
  }
  return excused;
}

std::optional<Sequences::Fault> Sequences::first_hole() const {
  const auto first = std::ranges::min_element(holes_, {}, [](const auto& hole) { return hole.second.index; });
  if (first == holes_.end()) return std::nullopt;
  const auto& [key, value] = *first;
  const bool is_one = key.first == value.last;
  return Fault{
      value.index,
      fmt::format("before it, sequence{} {} of producer {}, epoch {}, {} missing", is_one ? "" : "s",
                  is_one ? fmt::format("{}", key.first) : fmt::format("{} to {}", key.first, value.last),
                  key.producer.to_string(), key.epoch, is_one ? "is" : "are")};
}

std::map<Uuid, std::uint64_t> Sequences::entries_by_producer() const {
  std::map<Uuid, std::uint64_t> out;
  for (const auto& [id, producer] : producers_) out[id] = producer.entries;
  return out;
}

}  // namespace citadel::audit
