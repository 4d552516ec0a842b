#include "usage/record_row.hpp"

#include <fmt/format.h>

namespace citadel::usage {

RequestRecord read_record(const pg::Row& row) {
  RequestRecord record;
  record.id = row.get<Uuid>(0);
  record.started_at = row.get<WallTime>(1);
  record.tenant = row.get<std::string>(2);
  record.model = row.get<std::string>(3);
  record.prompt_tokens = row.get<std::int32_t>(4);
  record.completion_tokens = row.get<std::int32_t>(5);
  record.latency_us = row.get<std::optional<std::int64_t>>(6);
  record.ttft_us = row.get<std::optional<std::int64_t>>(7);
  record.queue_us = row.get<std::optional<std::int64_t>>(8);
  record.status = row.get<std::int16_t>(9);
  record.cost_nano = row.get<std::int64_t>(10);
  record.streamed = row.get<bool>(11);
  record.trace_id = row.get<std::optional<Uuid>>(12);
  record.error_code = row.get<std::optional<std::string>>(13);
  record.session = row.get<std::optional<std::string>>(14);
  record.endpoint = row.get<std::optional<std::string>>(15);
  record.api_key = row.get<std::optional<std::string>>(16);
  return record;
}

std::unexpected<Error> no_such_request(const Uuid& id) {
  return fail(Code::not_found, fmt::format("no request has the id {}", id.to_string()));
}

}  // namespace citadel::usage
