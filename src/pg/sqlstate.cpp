#include "pg/sqlstate.hpp"

#include <algorithm>
#include <array>

namespace citadel::pg {
namespace {

struct Entry {
  std::string_view state;  // five characters, or two for a class
  Classification means;
};

constexpr Retry never = Retry::never;
constexpr Retry safe = Retry::safe;
constexpr Retry fresh = Retry::fresh_snapshot;

// Sorted, so that a binary search finds it; the test walks it.
constexpr auto table = std::to_array<Entry>({
    {"08", {Code::connection_lost, fresh, true}},  // connection exceptions
    {"0A", {Code::unsupported, never}},
    {"0A000", {Code::unsupported, never}},     // a changed result type is told apart in Connection
    {"0P", {Code::permission_denied, never}},  // invalid role
    {"21", {Code::invalid_argument, never}},   // cardinality violation: ON CONFLICT twice the same row
    {"22", {Code::invalid_argument, never}},   // data exceptions: division by zero, bad text, out of range
    {"23", {Code::constraint, never}},
    {"23505", {Code::conflict, never}},     // unique
    {"23P01", {Code::conflict, never}},     // exclusion
    {"25", {Code::internal, never}},        // transaction state: our own sequence is wrong
    {"25006", {Code::unavailable, fresh}},  // read only: a standby answered, or a failover is under way
    {"25P03", {Code::connection_lost, fresh, true}},  // idle in transaction for too long
    {"25P04", {Code::connection_lost, fresh, true}},  // transaction_timeout (17)
    {"26", {Code::internal, fresh}},                  // the prepared statement is gone
    {"28", {Code::unauthenticated, never}},
    {"34", {Code::internal, never}},
    {"3D", {Code::not_found, never}},              // no such database
    {"3F", {Code::not_found, never}},              // no such schema
    {"40", {Code::serialization_failure, fresh}},  // rolled back by the server: run it again
    {"40001", {Code::serialization_failure, fresh}},
    {"40002", {Code::constraint, never}},      // a deferred constraint at COMMIT
    {"40003", {Code::commit_unknown, never}},  // the server itself does not know
    {"40P01", {Code::deadlock, fresh}},
    {"42", {Code::internal, never}},  // our SQL does not fit the schema
    {"42501", {Code::permission_denied, never}},
    {"42P07", {Code::conflict, never}},  // a table of that name is there
    {"44", {Code::constraint, never}},   // WITH CHECK OPTION
    {"53", {Code::unavailable, safe}},   // insufficient resources
    {"53100", {Code::storage_full, fresh}},
    {"53300", {Code::unavailable, safe}},     // too many connections
    {"54", {Code::invalid_argument, never}},  // a limit of PostgreSQL's
    {"55", {Code::conflict, never}},          // object in use, not in the needed state
    {"55P03", {Code::unavailable, fresh}},    // lock_timeout, NOWAIT
    {"57", {Code::unavailable, fresh}},
    {"57014", {Code::statement_timeout, never}},
    {"57P01", {Code::connection_lost, fresh, true}},  // the server stops, or the backend was terminated
    {"57P02", {Code::connection_lost, fresh, true}},  // another backend crashed
    {"57P03", {Code::connection_lost, fresh, true}},  // starting up or stopping
    {"57P04", {Code::connection_lost, fresh, true}},  // the database was dropped
    {"57P05", {Code::connection_lost, fresh, true}},  // idle_session_timeout
    {"58", {Code::unavailable, never}},               // the server's operating system: I/O errors
    {"58030", {Code::unavailable, never}},
    {"F0", {Code::unavailable, never}},  // the server's configuration file
    {"P0", {Code::constraint, never}},   // RAISE in a function of ours
    {"P0002", {Code::not_found, never}},
    {"XX", {Code::internal, never}},
    {"XX001", {Code::corrupt, never}},
    {"XX002", {Code::corrupt, never}},
});
static_assert(std::ranges::is_sorted(table, {}, &Entry::state));

const Entry* find(std::string_view state) {
  const auto found = std::ranges::lower_bound(table, state, {}, &Entry::state);
  return found != table.end() && found->state == state ? &*found : nullptr;
}

// How Pgpool-II 4.3 words that it has lost its backend or its client.
constexpr auto pgpool_losses = std::to_array<std::string_view>({
    "unable to forward",
    "unable to read",
    "unable to write",
    "unable to flush",
    "unable to bind",
    "unable to describe",
    "unable to execute",
    "unable to parse",
    "unable to process",
    "failed to create a backend connection",
    "kind mismatch",
    "connection to backend",
    "failed to read kind",
    "error while reading",
});

bool is_pgpool_loss(std::string_view message) {
  return std::ranges::any_of(pgpool_losses,
                             [&](std::string_view words) { return message.starts_with(words); });
}

}  // namespace

Classification classify(std::string_view sqlstate) {
  if (sqlstate.size() != 5) return {};
  if (const Entry* exact = find(sqlstate)) return exact->means;
  if (const Entry* whole_class = find(sqlstate.substr(0, 2))) return whole_class->means;
  return {};
}

Classification classify_report(const Report& report) {
  const bool fatal = report.severity == "FATAL" || report.severity == "PANIC";
  if (report.connecting) {
    // Nothing was begun, so trying again is safe wherever it may help.
    const Classification means = classify(report.sqlstate);
    switch (means.code) {
      case Code::unauthenticated:
      case Code::permission_denied:
      case Code::not_found:
        return means;
      case Code::invalid_argument:
      case Code::unsupported:
        return {means.code, Retry::never, true};
      default:
        return {Code::unavailable, Retry::safe, true};
    }
  }
  if (report.sqlstate.empty()) return {Code::connection_lost, fresh, true};
  const Classification means = classify(report.sqlstate);
  if (means.session_lost) return means;
  if (fatal || (report.sqlstate == "XX000" && is_pgpool_loss(report.message))) {
    return {Code::connection_lost, fresh, true};
  }
  return means;
}

}  // namespace citadel::pg
