// Migrations from a configuration, for `citadel migrate` and `citadel up`.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "app/config.hpp"
#include "base/deadline.hpp"
#include "store/migrations.hpp"

namespace citadel::cli {

// Connects as the owner, past Pgpool-II, and applies what is pending; how many that was. `progress` is told
// "0001_foundation" before each. It takes as long as it takes, a day at most: an index of many rows that was
// broken off would be broken off the next time too. Only the connection must be there within a minute.
Result<int> migrate_now(const app::Config& config, const std::function<void(std::string_view)>& progress);

struct SchemaReport {
  std::vector<store::MigrationStatus> migrations;
  std::vector<std::string> drift;  // empty also where nothing is applied yet
};
Result<SchemaReport> inspect_schema(const app::Config& config, Deadline deadline);

}  // namespace citadel::cli
