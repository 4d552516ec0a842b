// The bytes of a record in the journal, and the digest that tells a repeat from a conflict.
//
//   version u8 = 1 | flags u16 | tenant, model: length u16, bytes | started_at i64, microseconds |
//   prompt_tokens i32 | completion_tokens i32 | status i16 | cost_nano i64 |
//   where its flag is set: latency_us i64, ttft_us i64, queue_us i64, trace_id 16 bytes,
//                          error_code, session, endpoint, api_key: length u16, bytes
//
// Little-endian, no padding, nothing after the last field. The id is not in it: the journal's frame carries
// it. The encoding is canonical, one text of bytes a record, and stays so: a later version is used only for
// records that have what version 1 cannot hold, or a repeat sent across an upgrade would look like a
// conflict.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "usage/record.hpp"

namespace citadel::usage {

// `record` has passed check_record or parse_records (CHECK on lengths).
std::string encode_record(const RequestRecord& record);

// corrupt: not what encode_record makes; unsupported: of a later version.
Result<RequestRecord> decode_record(const Uuid& id, std::string_view payload);

// Tenant and model, without decoding the rest. They point into `payload`. nullopt where it is cut off before.
struct RecordNames {
  std::string_view tenant, model;
};
std::optional<RecordNames> peek_names(std::string_view payload);

// The first eight bytes of the payload's SHA-256, big-endian.
std::int64_t digest_of(std::string_view payload);

}  // namespace citadel::usage
