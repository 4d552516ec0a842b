// How long pgbench runs, and what its summary says: the yardstick of `bench sql`. Pure but for the call that
// runs it.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

#include "base/error.hpp"

namespace citadel::cli {

// What the summary has to say of a run, or it is a yardstick for something else.
struct PgbenchRun {
  std::string script;  // "<builtin: select only>", or the path of -f
  std::size_t clients = 1;
};

// Runs pgbench for a time and gives what it printed.
using RunPgbench = std::function<Result<std::string>(std::chrono::seconds)>;

// Transactions per second, without the time of its logins. It has five seconds at the least: its time begins
// before its logins, and where they take all of it, it prints no throughput and is given twice the time, up
// to 80 s or what was `asked`.
//
// Errors: those of `run`; unavailable where it measured nothing in all of that; internal where the summary is
// of another script, query mode or number of clients than `wanted`, or transactions failed.
Result<double> pgbench_throughput(const PgbenchRun& wanted, std::chrono::seconds asked,
                                  const RunPgbench& run);

}  // namespace citadel::cli
