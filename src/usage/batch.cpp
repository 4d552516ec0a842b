#include "usage/batch.hpp"

#include <algorithm>
#include <tuple>

#include "usage/record_codec.hpp"

namespace citadel::usage {

Batch read_batch(std::span<const journal::Frame> frames) {
  std::vector<const journal::Frame*> order;
  order.reserve(frames.size());
  for (const journal::Frame& frame : frames) order.push_back(&frame);
  // Of several records with one id the one that was acknowledged first stays: its frame comes first in
  // `frames`.
  std::ranges::sort(order, [](const journal::Frame* a, const journal::Frame* b) {
    return std::tie(a->id, a) < std::tie(b->id, b);
  });
  Batch batch;
  batch.rows.reserve(frames.size());
  for (const journal::Frame* frame : order) {
    auto record = decode_record(frame->id, frame->payload);
    if (!record) {
      batch.unreadable.push_back({frame, record.error().message});
      continue;
    }
    BatchRow row{*std::move(record), digest_of(frame->payload)};
    if (batch.rows.empty() || batch.rows.back().record.id != row.record.id) {
      batch.rows.push_back(std::move(row));
    } else if (batch.rows.back().digest == row.digest) {
      ++batch.repeated;
    } else {
      batch.conflicts.push_back(std::move(row));
    }
  }
  return batch;
}

void remove_stored(Batch& batch, std::vector<StoredDigest> stored) {
  if (stored.empty()) return;
  std::ranges::sort(stored, {}, &StoredDigest::id);
  std::vector<BatchRow> fresh;
  fresh.reserve(batch.rows.size());
  for (BatchRow& row : batch.rows) {
    const auto found = std::ranges::lower_bound(stored, row.record.id, {}, &StoredDigest::id);
    if (found == stored.end() || found->id != row.record.id) {
      fresh.push_back(std::move(row));
    } else if (found->digest == row.digest) {
      ++batch.repeated;
    } else {
      batch.conflicts.push_back(std::move(row));
    }
  }
  batch.rows = std::move(fresh);
  // A record that conflicted inside the batch may be the one that the database has: then it is a repeat.
  const auto same = [&](const BatchRow& row) {
    const auto found = std::ranges::lower_bound(stored, row.record.id, {}, &StoredDigest::id);
    return found != stored.end() && found->id == row.record.id && found->digest == row.digest;
  };
  batch.repeated += std::erase_if(batch.conflicts, same);
}

std::vector<std::chrono::sys_days> days_of(std::span<const journal::Frame> frames) {
  std::vector<std::chrono::sys_days> days;
  for (const journal::Frame& frame : frames) {
    const auto day = std::chrono::floor<std::chrono::days>(frame.id.time());
    if (days.empty() || days.back() != day) days.push_back(day);
  }
  std::ranges::sort(days);
  const auto rest = std::ranges::unique(days);
  days.erase(rest.begin(), rest.end());
  return days;
}

}  // namespace citadel::usage
