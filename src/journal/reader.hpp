// Reader: durable frames from the segments' files, in order. Checks each of them again; what has become
// damaged since recovery is reported and put aside, and reading goes on behind it.
#pragma once
#include <vector>

#include "journal/journal.hpp"
#include "journal/state.hpp"

namespace citadel::journal {

struct ReadOptions {
  std::filesystem::path folder;
  std::size_t count_max = 1;
  std::size_t bytes_max = 0;
};

// See Journal::read. Takes the state's lock for moments only, never during I/O.
Result<std::vector<Frame>> read_frames(State& state, Position after, const ReadOptions& options);

// Finds the first frame past the cursor, for the state's oldest_undrained.
Result<void> find_oldest(State& state, const std::filesystem::path& folder);

}  // namespace citadel::journal
