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
// "0001_foundation" before each.
Result<int> migrate_now(const app::Config& config, Deadline deadline,
                        const std::function<void(std::string_view)>& progress);

struct SchemaReport {
  std::vector<store::MigrationStatus> migrations;
  std::vector<std::string> drift;  // empty also where nothing is applied yet
};
Result<SchemaReport> inspect_schema(const app::Config& config, Deadline deadline);

}  // namespace citadel::cli
