// Request records from and to JSON.
//
// In: one object, an array of objects, or NDJSON. One bad record refuses the whole body, and the error names
// it:
// "/3/prompt_tokens: must be …" in an array, "line 4, /prompt_tokens: must be …" in NDJSON.
//
//   required  model, prompt_tokens, completion_tokens
//   optional  id          UUIDv7; sending it again makes a retry harmless. Made from started_at where absent
//             started_at  RFC 3339; the id's time where absent, now where both are
//             tenant      "default" where absent; see IngestLimits::tenant
//             latency_ms, ttft_ms, queue_ms   milliseconds, decimals to the microsecond
//             status      HTTP status, 200 where absent
//             cost_nano, streamed, trace_id (32 hexadecimal digits), error_code, session, endpoint,
//             api_key (a label)
//
// Both times must lie between now − past_max and now + future_max, and at most id_skew_max from each other.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "json/body.hpp"
#include "json/writer.hpp"
#include "usage/record.hpp"

namespace citadel::usage {

using json::BodyForm;

// At least one record, at most limits.records_max. Errors are invalid_argument. `random` makes the missing
// ids.
Result<std::vector<RequestRecord>> parse_records(std::string_view body, BodyForm form,
                                                 const IngestLimits& limits, WallTime now, Random& random);

// One object, in the words of the way in; what is absent is left out.
void write_record(json::Writer& out, const RequestRecord& record);

}  // namespace citadel::usage
