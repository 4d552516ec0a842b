// Programs: where PostgreSQL's and Pgpool-II's binaries are on this machine.
#pragma once
#include <filesystem>
#include <optional>

#include "base/error.hpp"

namespace citadel::local {

inline constexpr int postgres_major_min = 15;
inline constexpr int postgres_major_max = 18;

struct Programs {
  std::filesystem::path postgres, initdb, pgpool;
  int postgres_major = 0;
};

// `data_major` is the version that made the data, if there is any: the server's must be the same.
// `postgres_folder` and `pgpool_program` skip the search where they are not empty. not_found names the Debian
// packages.
Result<Programs> find_programs(const std::filesystem::path& postgres_folder,
                               const std::filesystem::path& pgpool_program, std::optional<int> data_major);

// "postgres (PostgreSQL) 15.20 (Debian …)" gives 15; "18beta1" gives 18.
std::optional<int> parse_postgres_major(std::string_view version_line);

// The major version that made a PGDATA folder; nullopt where there is none.
Result<std::optional<int>> data_major(const std::filesystem::path& postgres_data);

}  // namespace citadel::local
