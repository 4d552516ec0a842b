// The parts of bench audit, each a bench of its own too.
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
// The drain beside \copy.
Result<Metrics> bench_audit_log(const Context& context, const BenchOptions& options);
// Proofs and first pages of searches by HTTP, from a log of options.rows entries.
Result<Metrics> bench_audit_scale(const Context& context, const BenchOptions& options);

}  // namespace citadel::cli
