// The outage check from outside, for servers that are not the daemon's to stop: the operator names the
// commands.
#pragma once
#include <boost/json/object.hpp>
#include <string>

#include "base/clock.hpp"
#include "cli/context.hpp"

namespace citadel::cli {

struct OutageCommands {
  std::string stop, start;  // for /bin/sh, with this program's environment; what they print goes to stderr
};

struct OutageOutcome {
  bool passed = false;
  boost::json::object measured, limit;
  std::string error;  // empty where it passed
};

// Stops PostgreSQL, waits until the daemon's breaker opens, sends records, starts PostgreSQL again whatever
// happened, and waits until every one of them is stored. Blocks, about a minute at the most beside the
// commands themselves.
OutageOutcome check_outage(const Context& context, const OutageCommands& commands);

// To the microsecond, as reports show it.
double ms_since(MonotonicTime begun);

}  // namespace citadel::cli
