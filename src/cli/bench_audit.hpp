// The parts of bench audit, a file for what needs no database and one for what does.
#pragma once
#include "audit/event.hpp"
#include "cli/bench_support.hpp"

namespace citadel::cli {

// An event as most are: an inference's end without groups, of `number`.
audit::Event bench_event(std::uint64_t number, WallTime at, Random& random);
std::string bench_event_json();

// A lone producer, and 64 by HTTP, with the database away.
Result<Metrics> bench_audit_append(const Context& context, const BenchOptions& options);
// An export of options.rows entries, verified.
Result<Metrics> bench_audit_verify(const Context& context, const BenchOptions& options);
// The drain beside \copy, and a proof by HTTP from a log of options.rows entries.
Result<Metrics> bench_audit_log(const Context& context, const BenchOptions& options);

}  // namespace citadel::cli
