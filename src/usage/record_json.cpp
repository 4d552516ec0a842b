#include "usage/record_json.hpp"

#include <fmt/format.h>

#include <cmath>

#include "base/bytes.hpp"
#include "base/time_text.hpp"
#include "json/body.hpp"
#include "json/object_reader.hpp"

namespace citadel::usage {
namespace {

namespace bj = boost::json;
using json::ObjectReader;

// A record is flat: an array around it and one level of its own.
constexpr std::size_t depth_max = 4;
constexpr json::TextLimits name_limits{.bytes_min = 1, .bytes_max = name_bytes_max};
constexpr json::TextLimits label_limits{.bytes_min = 1, .bytes_max = label_bytes_max};

class RecordReader {
 public:
  RecordReader(const IngestLimits& limits, WallTime now, Random& random)
      : limits_(limits),
        earliest_(now - limits.past_max),
        latest_(now + limits.future_max),
        now_(now),
        random_(random) {}

  Result<RequestRecord> read(const bj::value& value, std::string_view path) {
    const bj::object* object = value.if_object();
    if (object == nullptr) {
      return fail(Code::invalid_argument,
                  fmt::format("{}must be an object with the fields of a request record",
                              path.empty() ? "" : fmt::format("{}: ", path)));
    }
    ObjectReader in(*object, path);
    RequestRecord record;
    read_identity(in, record);
    record.model = in.text("model", name_limits);
    record.prompt_tokens = static_cast<std::int32_t>(in.integer("prompt_tokens", 0, tokens_max));
    record.completion_tokens = static_cast<std::int32_t>(in.integer("completion_tokens", 0, tokens_max));
    read_tenant(in, record);
    record.latency_us = duration(in, "latency_ms");
    record.ttft_us = duration(in, "ttft_ms");
    record.queue_us = duration(in, "queue_ms");
    record.status =
        static_cast<std::int16_t>(in.optional_integer("status", status_min, status_max).value_or(200));
    record.cost_nano = in.optional_integer("cost_nano", 0, cost_nano_max).value_or(0);
    record.streamed = in.optional_boolean("streamed").value_or(false);
    record.trace_id = trace_id(in);
    record.error_code = in.optional_text("error_code", label_limits);
    record.session = in.optional_text("session", label_limits);
    record.endpoint = in.optional_text("endpoint", label_limits);
    record.api_key = in.optional_text("api_key", label_limits);
    CITADEL_TRY(in.finish());
    return record;
  }

 private:
  void read_tenant(ObjectReader& in, RequestRecord& record) const {
    if (limits_.tenant) record.tenant = *limits_.tenant;
    const auto named = in.optional_text("tenant", name_limits);
    if (!named) return;
    if (limits_.tenant && *named != *limits_.tenant)
      return in.refuse("tenant", fmt::format("must be {}, as the caller's, or be left out", *limits_.tenant));
    record.tenant = *named;
  }

  void read_identity(ObjectReader& in, RequestRecord& record) {
    const auto id_text = in.optional_text("id", {.bytes_min = 36, .bytes_max = 36});
    const auto started_text = in.optional_text("started_at", {.bytes_min = 20, .bytes_max = 35});
    std::optional<Uuid> id;
    if (id_text) {
      id = parse_uuid(*id_text);
      if (!id || !id->is_version7()) return in.refuse("id", "must be a UUID of version 7 (RFC 9562)");
      check_window(in, "id", id->time());
    }
    std::optional<WallTime> started;
    if (started_text) {
      started = parse_time(*started_text);
      if (!started) {
        return in.refuse("started_at",
                         "must be a time as RFC 3339 writes it, for example 2026-11-25T08:00:00.5Z");
      }
      check_window(in, "started_at", *started);
    }
    record.started_at = started ? *started : id ? WallTime(id->time()) : now_;
    record.id = id ? *id : new_uuid7(record.started_at, random_);
    if (id && started && std::chrono::abs(id->time() - *started) > id_skew_max) {
      in.refuse("started_at",
                fmt::format("must lie within {} minutes of the id's time, {}",
                            std::chrono::minutes(id_skew_max).count(), format_time(id->time())));
    }
  }

  void check_window(ObjectReader& in, std::string_view field, WallTime time) const {
    if (time >= earliest_ && time <= latest_) return;
    in.refuse(field, fmt::format("its time must lie between {} and {}, not at {}", format_time(earliest_),
                                 format_time(latest_), format_time(time)));
  }

  static std::optional<std::int64_t> duration(ObjectReader& in, std::string_view name) {
    const auto milliseconds = in.optional_number(name, 0, static_cast<double>(duration_us_max) / 1000);
    if (!milliseconds) return std::nullopt;
    return std::llround(*milliseconds * 1000);
  }

  static std::optional<Uuid> trace_id(ObjectReader& in) {
    const auto text = in.optional_text("trace_id", {.bytes_min = 32, .bytes_max = 32});
    if (!text) return std::nullopt;
    const auto raw = from_hex(*text);
    Uuid id;
    if (raw) std::memcpy(id.bytes.data(), raw->data(), id.bytes.size());
    if (id == Uuid{}) {
      in.refuse("trace_id", "must be 32 hexadecimal digits, not all zero");
      return std::nullopt;
    }
    return id;
  }

  const IngestLimits& limits_;
  WallTime earliest_, latest_, now_;
  Random& random_;
};

void write_duration(json::Writer& out, std::string_view name,
                    const std::optional<std::int64_t>& microseconds) {
  if (microseconds) out.key(name).number(static_cast<double>(*microseconds) / 1000);
}
void write_text(json::Writer& out, std::string_view name, const std::optional<std::string>& text) {
  if (text) out.key(name).text(*text);
}

}  // namespace

Result<std::vector<RequestRecord>> parse_records(std::string_view body, BodyForm form,
                                                 const IngestLimits& limits, WallTime now, Random& random) {
  RecordReader reader(limits, now, random);
  std::vector<RequestRecord> records;
  const json::BodyLimits body_limits{.noun = "record",
                                     .values_max = limits.records_max,
                                     .body_bytes_max = limits.body_bytes_max,
                                     .line_bytes_max = limits.line_bytes_max,
                                     .depth_max = depth_max};
  CITADEL_TRY(json::for_each_value(body, form, body_limits,
                                   [&](const bj::value& value, std::string_view path) -> Result<void> {
                                     CITADEL_ASSIGN(auto record, reader.read(value, path));
                                     records.push_back(std::move(record));
                                     return {};
                                   }));
  return records;
}

void write_record(json::Writer& out, const RequestRecord& record) {
  out.begin_object();
  out.key("id").text(record.id.to_string()).key("started_at").text(format_time(record.started_at));
  out.key("tenant").text(record.tenant).key("model").text(record.model);
  out.key("prompt_tokens").integer(record.prompt_tokens);
  out.key("completion_tokens").integer(record.completion_tokens);
  write_duration(out, "latency_ms", record.latency_us);
  write_duration(out, "ttft_ms", record.ttft_us);
  write_duration(out, "queue_ms", record.queue_us);
  out.key("status").integer(record.status).key("cost_nano").integer(record.cost_nano);
  out.key("streamed").boolean(record.streamed);
  if (record.trace_id) out.key("trace_id").text(to_hex(std::as_bytes(std::span(record.trace_id->bytes))));
  write_text(out, "error_code", record.error_code);
  write_text(out, "session", record.session);
  write_text(out, "endpoint", record.endpoint);
  write_text(out, "api_key", record.api_key);
  out.end_object();
}

}  // namespace citadel::usage
