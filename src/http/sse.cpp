#include "http/sse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/check.hpp"
#include "http/text.hpp"

namespace citadel::http {
namespace {

constexpr std::size_t id_bytes_max = 256;
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

void append_field(std::string_view name, std::string_view value, std::string& out) {
  out.append(name).append(": ");
  const auto begin = static_cast<std::ptrdiff_t>(out.size());
  out.append(value);
  std::replace_if(out.begin() + begin, out.end(), is_control, ' ');
  out += '\n';
}

}  // namespace

void append_event(const Event& event, std::string& out) {
  if (!event.id.empty()) append_field("id", event.id, out);
  if (!event.type.empty()) append_field("event", event.type, out);
  std::string_view rest = event.data;
  for (;;) {
    const auto end = std::min(rest.find_first_of("\r\n"), rest.size());
    out.append("data: ").append(rest.substr(0, end)).append("\n");
    if (end == rest.size()) break;
    rest.remove_prefix(rest.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
  }
  out += '\n';
}

void append_keep_alive(std::string& out) {
  out += ":\n\n";
}

void append_retry(std::chrono::milliseconds retry, std::string& out) {
  out += fmt::format("retry: {}\n\n", std::max<std::int64_t>(retry.count(), 0));
}

Response event_response(EventSource source, EventStreamOptions options) {
  const auto idle_time = options.keep_alive_time + options.source_grace;
  auto body = [source = std::move(source),
               options = std::move(options)](StreamWriter& out) mutable -> Task<Result<void>> {
    std::string text;
    if (options.retry) {
      append_retry(*options.retry, text);
      CITADEL_CO_TRY(co_await out.write(text));
    }
    for (;;) {
      CITADEL_CO_ASSIGN(const auto events, co_await source(Deadline::after(options.keep_alive_time)));
      if (!events) co_return Result<void>();
      text.clear();
      for (const auto& event : *events) append_event(event, text);
      if (text.empty()) append_keep_alive(text);
      CITADEL_CO_TRY(co_await out.write(text));
    }
  };
  auto response =
      Response::streaming("text/event-stream", {std::move(body), Stream::Kind::endless, idle_time});
  response.headers.push_back({"Cache-Control", "no-store"});
  return response;
}

Result<std::optional<std::string>> last_event_id(const Request& request) {
  constexpr std::string_view name = "Last-Event-ID";
  const auto id = request.headers.get(name);
  if (request.headers.count(name) > 1) return fail(Code::invalid_argument, "a request has one Last-Event-ID");
  if (id.empty()) return std::optional<std::string>();
  if (id.size() > id_bytes_max) {
    return fail(Code::invalid_argument, fmt::format("Last-Event-ID is over {} bytes", id_bytes_max));
  }
  if (!is_utf8(id) || std::ranges::any_of(id, is_control)) {
    return fail(Code::invalid_argument, "Last-Event-ID is not text without control characters");
  }
  return std::optional(std::string(id));
}

Result<void> EventParser::feed(std::string_view bytes, Events& out) {
  CITADEL_CHECK(!failed_, "a parser that failed is not fed again");
  while (!bytes.empty()) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const auto end = std::min(bytes.find_first_of("\r\n"), bytes.size());
    if (line_.size() + end + data_.size() + type_.size() + id_.size() > event_bytes_max_) {
      failed_ = true;
      return fail(Code::corrupt, fmt::format("an event is larger than {} bytes", event_bytes_max_));
    }
    line_.append(bytes.substr(0, end));
    if (end == bytes.size()) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_line(out);
  }
  return {};
}

void EventParser::end_line(Events& out) {
  std::string_view line = line_;
  if (std::exchange(first_line_, false) && line.starts_with(byte_order_mark)) {
    line.remove_prefix(byte_order_mark.size());
  }
  if (line.empty()) {
    last_id_ = id_;
    if (!data_.empty()) {
      data_.pop_back();  // the line end behind the last line
      out.push_back({last_id_, type_.empty() ? "message" : std::move(type_), std::move(data_)});
    }
    data_.clear();
    type_.clear();
  } else {
    const auto colon = std::min(line.find(':'), line.size());
    auto value = line.substr(std::min(colon + 1, line.size()));
    if (value.starts_with(' ')) value.remove_prefix(1);
    take_field(line.substr(0, colon), value);
  }
  line_.clear();
}

// Comments have no name, and unknown names are skipped, both as the standard has it.
void EventParser::take_field(std::string_view name, std::string_view value) {
  if (name == "data") {
    data_.append(value).append("\n");
  } else if (name == "event") {
    type_ = value;
  } else if (name == "id") {
    if (value.find('\0') == std::string_view::npos) id_ = value;
  } else if (name == "retry") {
    std::int64_t time = 0;
    const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), time);
    const bool digits = !value.empty() && value.front() != '-' && end == value.data() + value.size();
    if (digits && failure == std::errc()) retry_ = std::chrono::milliseconds(time);
  }
}

}  // namespace citadel::http
