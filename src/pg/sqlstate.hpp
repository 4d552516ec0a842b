// SQLSTATE to Code: one flat table. Exact states come first, then their class (the first two characters).
//
//   classify("40001")  ->  {Code::serialization_failure, Retry::fresh_snapshot, session_lost = false}
//
// What PostgreSQL answers alone does not tell a broken session: Pgpool-II reports one as XX000 with a text of
// its own, and a dead one reports nothing. classify_report() takes these into account. Pure.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/error.hpp"

namespace citadel::pg {

struct Classification {
  Code code = Code::internal;
  Retry retry = Retry::never;
  bool session_lost = false;  // the session ends with this report
};

Classification classify(std::string_view sqlstate);

// read_only_sql_transaction: in a transaction that we did not ask to be read-only, the server takes no
// writes.
inline constexpr std::string_view read_only_state = "25006";

// One error report of the server, or of Pgpool-II in its place.
struct Report {
  std::string_view sqlstate;  // empty: libpq made the report
  std::string_view severity;  // not localised: "ERROR", "FATAL", "PANIC"; empty where unknown
  std::string_view message;
  bool connecting = false;  // before the session stood: FATAL is then a refusal, not a loss
};
Classification classify_report(const Report& report);

}  // namespace citadel::pg
