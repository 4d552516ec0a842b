// Ports: whether a server can listen, and who is in the way.
#pragma once
#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace citadel::local {

// conflict where somebody listens already; names him where /proc tells, and `setting`, which chooses another
// port.
Result<void> check_port_free(const std::string& host, std::uint16_t port, std::string_view setting);

// "nginx (process 4711)" for who listens on the port, else empty.
std::string listener_of(std::uint16_t port);

// Whether a server at host:port accepts a connection and answers an SSLRequest, as PostgreSQL and Pgpool-II
// do. Waits up to 200 ms.
bool answers(const std::string& host, std::uint16_t port);

}  // namespace citadel::local
