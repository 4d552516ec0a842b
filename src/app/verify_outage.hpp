// The disruptive part of verify: PostgreSQL is really stopped and started again.
#pragma once
#include "app/verify.hpp"

namespace citadel::app {

// PostgreSQL is started again whatever else happens, so this is not cut short: how long it may take from the
// moment at which it is cancelled.
inline constexpr std::chrono::seconds outage_time_max{120};

// Stops it, asks until the breaker opens, has records acknowledged meanwhile, starts it, and waits until the
// breaker is closed, the records are in the database, and nothing is left in the journal.
Task<Check> verify_outage(store::Database& database, journal::Journal& journal, const Outage& outage,
                          const Clock& clock, Deadline deadline);

}  // namespace citadel::app
