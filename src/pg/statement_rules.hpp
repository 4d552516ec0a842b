// Which statements a route forbids. Pure.
//
// Through Pgpool-II a session setting reaches one backend only and stays for whoever has the backend next,
// LISTEN never delivers reliably across a failover, and a session-level advisory lock outlives its
// transaction; so SET and RESET (but for SET LOCAL, SET TRANSACTION and SET CONSTRAINTS), LISTEN, UNLISTEN
// and pg_advisory_lock are refused there. It looks at the first statement of `sql`: a guard against mistakes,
// not against malice.
#pragma once
#include <string_view>

#include "base/error.hpp"
#include "pg/connection.hpp"

namespace citadel::pg {

Result<void> check_allowed(Route route, std::string_view sql);

}  // namespace citadel::pg
