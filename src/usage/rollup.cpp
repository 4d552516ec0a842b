#include "usage/rollup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace citadel::usage {
namespace {

// Both are never negative.
void add_to(std::int64_t& sum, std::int64_t more) {
  if (__builtin_add_overflow(sum, more, &sum)) sum = sum_max;
}

DurationSums sums_of(const std::optional<std::int64_t>& duration) {
  if (!duration) return {};
  return {.count = 1, .sum = *duration, .max = *duration};
}

}  // namespace

std::string_view to_string(Bucket bucket) {
  switch (bucket) {
    case Bucket::minute:
      return "minute";
    case Bucket::hour:
      return "hour";
    case Bucket::day:
      return "day";
  }
  return "day";
}

Result<Bucket> parse_bucket(std::string_view text) {
  for (const Bucket bucket : {Bucket::minute, Bucket::hour, Bucket::day}) {
    if (text == to_string(bucket)) return bucket;
  }
  return fail(Code::invalid_argument, fmt::format("bucket must be minute, hour or day, not \"{}\"", text));
}

std::chrono::seconds length_of(Bucket bucket) {
  switch (bucket) {
    case Bucket::minute:
      return std::chrono::minutes(1);
    case Bucket::hour:
      return std::chrono::hours(1);
    case Bucket::day:
      break;
  }
  return std::chrono::days(1);
}

WallTime start_of(Bucket bucket, WallTime time) {
  switch (bucket) {
    case Bucket::minute:
      return std::chrono::floor<std::chrono::minutes>(time);
    case Bucket::hour:
      return std::chrono::floor<std::chrono::hours>(time);
    case Bucket::day:
      break;
  }
  return std::chrono::floor<std::chrono::days>(time);
}

void DurationSums::add(const DurationSums& other) {
  add_to(count, other.count);
  add_to(sum, other.sum);
  max = std::max(max, other.max);
}

void Sums::add(const Sums& other) {
  add_to(requests, other.requests);
  add_to(errors, other.errors);
  add_to(prompt_tokens, other.prompt_tokens);
  add_to(completion_tokens, other.completion_tokens);
  add_to(cost_nano, other.cost_nano);
  latency.add(other.latency);
  ttft.add(other.ttft);
  queue.add(other.queue);
}

bool Sums::saturated() const {
  return std::max({requests, errors, prompt_tokens, completion_tokens, cost_nano, latency.count, latency.sum,
                   ttft.count, ttft.sum, queue.count, queue.sum}) == sum_max;
}

Sums sums_of(const RequestRecord& record) {
  return {.requests = 1,
          .errors = record.status >= status_error_min ? 1 : 0,
          .prompt_tokens = record.prompt_tokens,
          .completion_tokens = record.completion_tokens,
          .cost_nano = record.cost_nano,
          .latency = sums_of(record.latency_us),
          .ttft = sums_of(record.ttft_us),
          .queue = sums_of(record.queue_us)};
}

std::vector<RollupRow> roll_up(std::span<const RollupRow> rows, Bucket bucket) {
  std::map<RollupKey, Sums> by_key;
  for (const RollupRow& row : rows) {
    by_key[{start_of(bucket, row.key.bucket), row.key.tenant_id, row.key.model_id}].add(row.sums);
  }
  std::vector<RollupRow> out;
  out.reserve(by_key.size());
  for (const auto& [key, sums] : by_key) out.push_back({key, sums});
  return out;
}

}  // namespace citadel::usage
