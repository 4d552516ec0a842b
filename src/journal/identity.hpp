// Identity: the file with the journal's producer id and the number of its last epoch. Replaced durably at
// each open.
#pragma once
#include <filesystem>
#include <optional>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/uuid.hpp"

namespace citadel::journal {

struct Identity {
  Uuid producer;
  std::uint64_t epoch = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// A later epoch than `last`, and one that nobody else takes. The upper bits count the opens; the lower 24 are
// drawn, so that two copies of a folder do not go on with the same epoch. Fits a signed 64-bit integer.
inline constexpr unsigned epoch_drawn_bits = 24;
std::uint64_t next_epoch(std::uint64_t last, Random& random);

// nullopt where there is no file; corrupt where it is not as it was written.
Result<std::optional<Identity>> load_identity(const std::filesystem::path& folder);
Result<void> store_identity(const std::filesystem::path& folder, const Identity& identity);

}  // namespace citadel::journal
