// RequestRecord: what one model request was and cost, and the limits that every way in holds it to.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/uuid.hpp"

namespace citadel::usage {

struct RequestRecord {
  Uuid id;  // version 7; its time decides the day's partition and the order of lists
  WallTime started_at;
  std::string tenant = "default";
  std::string model;
  std::int32_t prompt_tokens = 0;
  std::int32_t completion_tokens = 0;
  std::optional<std::int64_t> latency_us;  // from arrival to the last byte
  std::optional<std::int64_t> ttft_us;     // from arrival to the first token
  std::optional<std::int64_t> queue_us;    // waiting before the model began
  std::int16_t status = 200;               // HTTP status
  std::int64_t cost_nano = 0;              // billionths of the currency unit
  bool streamed = false;
  std::optional<Uuid> trace_id;  // W3C trace id: any 128 bits but zero
  std::optional<std::string> error_code;
  std::optional<std::string> session;
  std::optional<std::string> endpoint;
  std::optional<std::string> api_key;  // the key's label, never the key

  friend bool operator==(const RequestRecord&, const RequestRecord&) = default;
};

inline constexpr std::int64_t tokens_max = 1'000'000'000;
inline constexpr std::size_t name_bytes_max = 200;   // tenant, model
inline constexpr std::size_t label_bytes_max = 256;  // error code, session, endpoint, API key's label
// A thousand currency units. Nine million of the dearest requests fill a 64-bit sum: see sum_max in
// rollup.hpp.
inline constexpr std::int64_t cost_nano_max = 1'000'000'000'000;
inline constexpr std::int64_t duration_us_max = 24LL * 3600 * 1'000'000;
inline constexpr int status_min = 100, status_max = 599;
// From here on a status counts as an error.
inline constexpr int status_error_min = 400;
// How far the id's time and started_at may lie apart. Lists are cut by the id's time, sums by started_at.
inline constexpr std::chrono::hours id_skew_max{1};

// What is accepted at the door; the operator may set it.
struct IngestLimits {
  std::chrono::days past_max{3660};
  std::chrono::minutes future_max{10};
  std::size_t records_max = 10'000;  // in one body
  std::size_t body_bytes_max = 16 << 20;
  std::size_t line_bytes_max = 64 << 10;   // of NDJSON
  std::optional<std::string> tenant = {};  // the only one that records may name, and of those that name none
};

// Checks everything that does not depend on the clock: ranges, lengths, version of the id, its skew to
// started_at. For records that come from the journal or from C++ callers; JSON is checked, field by field,
// where it is read. invalid_argument names the field.
Result<void> check_record(const RequestRecord& record);

}  // namespace citadel::usage
