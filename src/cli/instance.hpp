// Instance: how other commands find the servers of `citadel up`. At each start it writes DATA/running.toml, a
// configuration file with everything that it runs with: ports, files of secrets, the daemon's address.
#pragma once
#include <string>

#include "app/config.hpp"
#include "base/error.hpp"
#include "cli/context.hpp"

namespace citadel::cli {

// Replaces the file, 0600. The folder exists.
Result<void> write_instance(const app::Config& config);

// What --config and --data mean to `doctor`, `migrate` and `config`. A file wins; then the data folder's
// instance; with neither, the instance of the default data folder, unless the environment names a database of
// its own. invalid_argument where both are given, not_found where nothing was ever started in that data
// folder.
struct InstanceOptions {
  std::string file, data;
};
Result<app::ConfigSources> sources_of(const Context& context, const InstanceOptions& options);

// "citadel up --data DIR" where the sources are an instance's, else empty.
std::string how_to_start(const app::ConfigSources& sources);

}  // namespace citadel::cli
