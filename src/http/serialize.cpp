#include "http/serialize.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/check.hpp"

namespace citadel::http {
namespace {

void append_header(std::string_view name, std::string_view value, std::string& out) {
  out.append(name).append(": ");
  const auto begin = static_cast<std::ptrdiff_t>(out.size());
  out.append(value);
  std::replace_if(
      out.begin() + begin, out.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  out.append("\r\n");
}

void append_number(std::size_t number, std::string& out) {
  const fmt::format_int text(number);
  out.append(text.data(), text.size());
}

}  // namespace

void append_answer(const Response& response, const AnswerOptions& options, std::string& out) {
  const bool bodiless = response.status == 204 || response.status == 304;
  out.append("HTTP/1.1 ");
  append_number(static_cast<std::size_t>(response.status), out);
  out.append(" ").append(reason_phrase(response.status)).append("\r\n");
  if (!options.date.empty()) append_header("Date", options.date, out);
  if (!options.request_id.empty()) append_header("X-Request-Id", options.request_id, out);
  if (!response.content_type.empty()) append_header("Content-Type", response.content_type, out);
  for (const auto& [name, value] : response.headers) append_header(name, value, out);
  if (!options.keep_alive) {
    out.append("Connection: close\r\n");
  } else if (!options.http_1_1) {
    out.append("Connection: keep-alive\r\n");
  }
  if (options.framing == Framing::chunked && !bodiless) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (options.framing == Framing::sized && !bodiless) {
    out.append("Content-Length: ");
    append_number(response.body.size(), out);
    out.append("\r\n");
  }
  out.append("\r\n");
  if (!bodiless && !options.head_only) out.append(response.body);
}

std::string chunk_head(std::size_t size) {
  CITADEL_CHECK(size != 0, "an empty chunk ends the body");
  return fmt::format("{:x}\r\n", size);
}

}  // namespace citadel::http
