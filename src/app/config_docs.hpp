// docs/configuration.md, made from the table of keys.
#pragma once
#include <string>

namespace citadel::app {

// The whole file. A test holds docs/configuration.md against it; `citadel config docs` prints it.
std::string render_config_docs();

}  // namespace citadel::app
