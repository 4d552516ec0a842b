// Reads TOML text into a Config. The only file that knows the TOML library is config_toml.cpp.
#pragma once
#include <string_view>

#include "app/config_problems.hpp"

namespace citadel::app {

// Sets what `text` sets, with its origins, and adds what is wrong with it to `problems`: syntax (the first
// fault ends the reading), unknown sections and keys, types and limits.
void read_toml(std::string_view text, std::string_view file_name, Config& config, Problems& problems);

}  // namespace citadel::app
