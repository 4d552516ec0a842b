#include "cli/state_folder.hpp"

#include <cstdlib>

namespace citadel::cli {

Result<std::filesystem::path> state_folder() {
  const auto set = [](const char* name) -> std::filesystem::path {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const auto state = set("XDG_STATE_HOME"); !state.empty()) return state / "citadel";
  if (const auto home = set("HOME"); !home.empty()) return home / ".local/state/citadel";
  return fail(
      Code::invalid_argument,
      "neither HOME nor XDG_STATE_HOME is set, and no other folder is safe to keep state in; set one");
}

}  // namespace citadel::cli
