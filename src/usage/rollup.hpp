// Rollups: sums of records by minute, hour and day. Pure.
//
// A sum that would leave 64 bits stays at sum_max and means "that or more": nine million of the dearest
// requests in one bucket reach it. It never turns negative, and it blocks no record. The upserts of the sink
// do the same.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "usage/record.hpp"

namespace citadel::usage {

enum class Bucket : std::uint8_t { minute, hour, day };

std::string_view to_string(Bucket bucket);
Result<Bucket> parse_bucket(std::string_view text);
std::chrono::seconds length_of(Bucket bucket);
// The beginning of the bucket that holds `time`, in UTC.
WallTime start_of(Bucket bucket, WallTime time);

inline constexpr std::int64_t sum_max = std::numeric_limits<std::int64_t>::max();

// How often, how much in all, and the most, of a duration that not every record has. Microseconds.
struct DurationSums {
  std::int64_t count = 0, sum = 0, max = 0;
  void add(const DurationSums& other);
  friend bool operator==(const DurationSums&, const DurationSums&) = default;
};

struct Sums {
  std::int64_t requests = 0;
  std::int64_t errors = 0;  // status 400 and above
  std::int64_t prompt_tokens = 0, completion_tokens = 0;
  std::int64_t cost_nano = 0;
  DurationSums latency = {}, ttft = {}, queue = {};
  void add(const Sums& other);
  bool saturated() const;  // one of them is at sum_max
  friend bool operator==(const Sums&, const Sums&) = default;
};

Sums sums_of(const RequestRecord& record);

// The order of the members is the order of the tables' primary keys, in which every writer takes its locks.
struct RollupKey {
  WallTime bucket;
  std::int32_t tenant_id = 0;
  std::int32_t model_id = 0;
  friend auto operator<=>(const RollupKey&, const RollupKey&) = default;
};
struct RollupRow {
  RollupKey key;
  Sums sums;
  friend bool operator==(const RollupRow&, const RollupRow&) = default;
};

// Rows of any times to one row a bucket, tenant and model, in key order.
std::vector<RollupRow> roll_up(std::span<const RollupRow> rows, Bucket bucket);

}  // namespace citadel::usage
