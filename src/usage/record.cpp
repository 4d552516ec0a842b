#include "usage/record.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace citadel::usage {
namespace {

bool fits(std::string_view text, std::size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max &&
         std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}
bool fits(const std::optional<std::string>& text) {
  return !text || fits(*text, label_bytes_max);
}
bool fits(const std::optional<std::int64_t>& duration) {
  return !duration || (*duration >= 0 && *duration <= duration_us_max);
}
bool fits(std::int64_t tokens) {
  return tokens >= 0 && tokens <= tokens_max;
}

const char* first_bad_field(const RequestRecord& record) {
  if (!record.id.is_version7()) return "id";
  if (std::chrono::abs(record.id.time() - record.started_at) > id_skew_max) return "started_at";
  if (!fits(record.tenant, name_bytes_max)) return "tenant";
  if (!fits(record.model, name_bytes_max)) return "model";
  if (!fits(record.prompt_tokens)) return "prompt_tokens";
  if (!fits(record.completion_tokens)) return "completion_tokens";
  if (!fits(record.latency_us)) return "latency_us";
  if (!fits(record.ttft_us)) return "ttft_us";
  if (!fits(record.queue_us)) return "queue_us";
  if (record.status < status_min || record.status > status_max) return "status";
  if (record.cost_nano < 0 || record.cost_nano > cost_nano_max) return "cost_nano";
  if (record.trace_id == Uuid{}) return "trace_id";
  if (!fits(record.error_code)) return "error_code";
  if (!fits(record.session)) return "session";
  if (!fits(record.endpoint)) return "endpoint";
  if (!fits(record.api_key)) return "api_key";
  return nullptr;
}

}  // namespace

Result<void> check_record(const RequestRecord& record) {
  const char* field = first_bad_field(record);
  if (field == nullptr) return {};
  return fail(Code::invalid_argument, fmt::format("{}: out of its range", field));
}

}  // namespace citadel::usage
