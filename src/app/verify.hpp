// Verify: proves the deployment by measuring it, from inside the daemon, with its own pool, breaker, journal
// and drain. Nothing is assumed: each check does the thing and reports what it measured against its limit.
//
// Checks, in order: connectivity, all sessions of the pool busy at once as pg_stat_activity shows them, query
// times with as many callers, write and read back, rollback, deadlock and serialization failure run again,
// statement timeout, cancel; and where `outage` is given: PostgreSQL stopped, breaker open, records
// acknowledged meanwhile, all of it healed. On the database's executor.
#pragma once
#include <boost/json/object.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "journal/journal.hpp"
#include "store/database.hpp"

namespace citadel::app {

struct Check {
  std::string id;           // "R2.concurrent_connections"
  std::string requirement;  // "R2"
  bool passed = false;
  boost::json::object measured;
  // NAME_min and NAME_max bound what `measured` has as NAME; a NAME alone is what it must be.
  boost::json::object limit;
  std::optional<std::string> error;
};

// Stops and starts the real PostgreSQL. Blocking; called on a thread of its own.
struct Outage {
  std::function<Result<void>()> stop;
  std::function<Result<void>()> start;
};

struct VerifyOptions {
  std::chrono::milliseconds query_time{4'000};  // how long the callers ask
  std::optional<Outage> outage;
};

Task<std::vector<Check>> verify(store::Database& database, journal::Journal& journal, VerifyOptions options,
                                const Clock& clock, Deadline deadline);

// {"passed": bool, "checks": […]}
boost::json::object to_json(const std::vector<Check>& checks);

}  // namespace citadel::app
