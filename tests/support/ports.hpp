// Ports for tests: no two test programs that run at once are given the same.
#pragma once
#include <cstdint>

namespace citadel::support {

// A TCP port from 20000 to 29999 on which nothing listens on loopback, held for this process by a locked file
// under /tmp/citadel-test-ports until it ends. Linux gives out ports from 32768 up to outgoing connections,
// so none of them takes it meanwhile. Aborts where all are taken. Thread-safe.
std::uint16_t reserve_port();

}  // namespace citadel::support
