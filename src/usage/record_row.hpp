// A record as a row: the columns that a query of usage.request selects, and how they are read.
#pragma once
#include "pg/value.hpp"
#include "usage/record.hpp"

// What follows "select", up to the FROM clause; the table is r.
#define CITADEL_USAGE_COLUMNS                                                                           \
  "r.id, r.started_at, t.name, m.name, r.prompt_tokens, r.completion_tokens, r.latency_us, r.ttft_us, " \
  "r.queue_us, r.status, r.cost_nano, r.streamed, r.trace_id, r.error_code, r.session, r.endpoint, "    \
  "r.api_key "                                                                                          \
  "from usage.request r join usage.tenant t on t.id = r.tenant_id join usage.model m on m.id = r.model_id "

namespace citadel::usage {

// A row of these columns. Throws pg::TypeMismatch where the schema is not what this version expects.
RequestRecord read_record(const pg::Row& row);

// not_found, with the id.
std::unexpected<Error> no_such_request(const Uuid& id);

}  // namespace citadel::usage
