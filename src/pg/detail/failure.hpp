// From libpq's reports to an Error.
#pragma once
#include <libpq-fe.h>

#include "base/error.hpp"
#include "base/secret.hpp"

namespace citadel::pg {

struct Failure {
  Error error;
  bool session_lost = false;
};

// `connecting` as in Report.
Failure failure_of(const PGresult* result);
Failure failure_of(const PGconn* connection, bool connecting, const Secret& password);

// The statement was prepared when the table looked otherwise: 0A000 out of RevalidateCachedQuery.
bool is_stale_plan(const PGresult* result);

}  // namespace citadel::pg
