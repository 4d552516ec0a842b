#include "usage/record_codec.hpp"

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/check.hpp"
#include "crypto/sha256.hpp"

namespace citadel::usage {
namespace {

constexpr std::uint8_t version_1 = 1;
constexpr std::size_t names_offset = 3;

enum Flag : std::uint16_t {
  streamed = 1 << 0,
  has_latency = 1 << 1,
  has_ttft = 1 << 2,
  has_queue = 1 << 3,
  has_trace_id = 1 << 4,
  has_error_code = 1 << 5,
  has_session = 1 << 6,
  has_endpoint = 1 << 7,
  has_api_key = 1 << 8,
  all_flags = (1 << 9) - 1,
};

void append_text(std::string& to, std::string_view text) {
  CITADEL_CHECK(text.size() <= UINT16_MAX, "a record that nobody has checked is encoded");
  append_le(to, static_cast<std::uint16_t>(text.size()));
  to += text;
}
void append_text(std::string& to, const std::optional<std::string>& text) {
  if (text) append_text(to, std::string_view(*text));
}

std::uint16_t flags_of(const RequestRecord& record) {
  unsigned flags = 0;
  if (record.streamed) flags |= streamed;
  if (record.latency_us) flags |= has_latency;
  if (record.ttft_us) flags |= has_ttft;
  if (record.queue_us) flags |= has_queue;
  if (record.trace_id) flags |= has_trace_id;
  if (record.error_code) flags |= has_error_code;
  if (record.session) flags |= has_session;
  if (record.endpoint) flags |= has_endpoint;
  if (record.api_key) flags |= has_api_key;
  return static_cast<std::uint16_t>(flags);
}

// Takes fields from the front; past the end it gives zeros and is bad from then on.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  T integer() {
    const std::string_view raw = take(sizeof(T));
    return raw.empty() ? T{} : load_le<T>(raw.data());
  }
  std::string_view text() { return take(integer<std::uint16_t>()); }
  Uuid uuid() {
    Uuid id;
    if (const auto raw = take(id.bytes.size()); !raw.empty())
      std::memcpy(id.bytes.data(), raw.data(), raw.size());
    return id;
  }
  bool good() const { return good_; }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view take(std::size_t count) {
    if (count > bytes_.size()) {
      good_ = false;
      bytes_ = {};
      return {};
    }
    const auto taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  std::string_view bytes_;
  bool good_ = true;
};

}  // namespace

std::string encode_record(const RequestRecord& record) {
  std::string out;
  out.reserve(96 + record.tenant.size() + record.model.size());
  out += static_cast<char>(version_1);
  append_le(out, flags_of(record));
  append_text(out, std::string_view(record.tenant));
  append_text(out, std::string_view(record.model));
  append_le(out, record.started_at.time_since_epoch().count());
  append_le(out, record.prompt_tokens);
  append_le(out, record.completion_tokens);
  append_le(out, record.status);
  append_le(out, record.cost_nano);
  if (record.latency_us) append_le(out, *record.latency_us);
  if (record.ttft_us) append_le(out, *record.ttft_us);
  if (record.queue_us) append_le(out, *record.queue_us);
  if (record.trace_id) out += as_text(std::as_bytes(std::span(record.trace_id->bytes)));
  append_text(out, record.error_code);
  append_text(out, record.session);
  append_text(out, record.endpoint);
  append_text(out, record.api_key);
  return out;
}

Result<RequestRecord> decode_record(const Uuid& id, std::string_view payload) {
  Reader in(payload);
  const auto version = in.integer<std::uint8_t>();
  if (in.good() && version != version_1) {
    return fail(version > version_1 ? Code::unsupported : Code::corrupt,
                fmt::format("a request record of version {}; this program reads {}", version, version_1));
  }
  const auto flags = in.integer<std::uint16_t>();
  RequestRecord record;
  record.id = id;
  record.streamed = (flags & streamed) != 0;
  record.tenant = in.text();
  record.model = in.text();
  record.started_at = WallTime(std::chrono::microseconds(in.integer<std::int64_t>()));
  record.prompt_tokens = in.integer<std::int32_t>();
  record.completion_tokens = in.integer<std::int32_t>();
  record.status = in.integer<std::int16_t>();
  record.cost_nano = in.integer<std::int64_t>();
  if (flags & has_latency) record.latency_us = in.integer<std::int64_t>();
  if (flags & has_ttft) record.ttft_us = in.integer<std::int64_t>();
  if (flags & has_queue) record.queue_us = in.integer<std::int64_t>();
  if (flags & has_trace_id) record.trace_id = in.uuid();
  if (flags & has_error_code) record.error_code = in.text();
  if (flags & has_session) record.session = in.text();
  if (flags & has_endpoint) record.endpoint = in.text();
  if (flags & has_api_key) record.api_key = in.text();
  if (!in.good()) return fail(Code::corrupt, "the request record is cut off");
  if (!in.at_end() || (flags & ~all_flags) != 0) {
    return fail(Code::corrupt, "the request record holds more than version 1 knows");
  }
  if (auto checked = check_record(record); !checked) {
    return fail(Code::corrupt, "the request record's " + checked.error().message);
  }
  return record;
}

std::optional<RecordNames> peek_names(std::string_view payload) {
  if (payload.size() < names_offset || static_cast<std::uint8_t>(payload[0]) != version_1)
    return std::nullopt;
  Reader in(payload.substr(names_offset));
  const auto tenant = in.text();
  const auto model = in.text();
  if (!in.good()) return std::nullopt;
  return RecordNames{tenant, model};
}

std::int64_t digest_of(std::string_view payload) {
  return load_be<std::int64_t>(crypto::sha256(as_bytes(payload)).data());
}

}  // namespace citadel::usage
