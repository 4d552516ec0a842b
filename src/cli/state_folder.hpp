// Where commands keep what they know from one run to the next: what an auditor has verified, how far an
// import came.
#pragma once
#include <filesystem>

#include "base/error.hpp"

namespace citadel::cli {

// $XDG_STATE_HOME/citadel, or ~/.local/state/citadel (XDG Base Directory Specification). invalid_argument
// where neither is set: in a folder that all may write to another user would choose what is believed, and
// what is written.
Result<std::filesystem::path> state_folder();

}  // namespace citadel::cli
