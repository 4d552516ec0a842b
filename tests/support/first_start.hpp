// FirstStart: the data folder that a first start of the servers makes, made once for each build of a test
// program and copied for each start after that: a cluster and its roles cost as much CPU time as all else
// that a start does. tests/system/first_start.py is the same for `citadel up`.
#pragma once
#include <filesystem>
#include <functional>

namespace citadel::support {

// Fills the empty folder `data` with a copy of what `make` made in the folder that it was given: servers that
// were started for the first time, and stopped. Copies lie in the folder that CITADEL_TEST_TEMPLATE names,
// one for each test program, made anew where the program or PostgreSQL is another. Does nothing where that is
// not set. Safe beside other processes that do the same. Aborts where it fails.
void copy_first_start(const std::filesystem::path& data,
                      const std::function<void(const std::filesystem::path&)>& make);

}  // namespace citadel::support
