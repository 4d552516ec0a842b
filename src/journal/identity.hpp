// Identity: the file with the journal's producer id and the number of its last epoch. Replaced durably at
// each open.
#pragma once
#include <filesystem>
#include <optional>

#include "base/error.hpp"
#include "base/uuid.hpp"

namespace citadel::journal {

struct Identity {
  Uuid producer;
  std::uint64_t epoch = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// nullopt where there is no file; corrupt where it is not as it was written.
Result<std::optional<Identity>> load_identity(const std::filesystem::path& folder);
Result<void> store_identity(const std::filesystem::path& folder, const Identity& identity);

}  // namespace citadel::journal
