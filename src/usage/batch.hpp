// Batch: the frames of one drain batch, decoded, with repeats and conflicts among themselves set apart. Pure.
#pragma once
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "journal/journal.hpp"
#include "usage/record.hpp"

namespace citadel::usage {

struct BatchRow {
  RequestRecord record;
  std::int64_t digest = 0;
};

struct UnreadableFrame {
  const journal::Frame* frame;
  std::string reason;
};

struct Batch {
  std::vector<BatchRow> rows;       // one an id, in the order of ids
  std::vector<BatchRow> conflicts;  // the id of an earlier frame, with other content
  std::vector<UnreadableFrame> unreadable;
  std::uint64_t repeated = 0;  // the same record once more
};

// `frames` outlive the batch.
Batch read_batch(std::span<const journal::Frame> frames);

// Takes the rows out that are in the database already: `stored` are their ids and digests, in any order. The
// same digest counts as repeated, another one becomes a conflict.
struct StoredDigest {
  Uuid id;
  std::int64_t digest = 0;
};
void remove_stored(Batch& batch, std::vector<StoredDigest> stored);

// The days (UTC) of the frames' ids, each once, ascending: the partitions that the batch needs.
std::vector<std::chrono::sys_days> days_of(std::span<const journal::Frame> frames);

}  // namespace citadel::usage
