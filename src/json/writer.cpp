#include "json/writer.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/check.hpp"

namespace citadel::json {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

// The length of the well-formed UTF-8 sequence that begins `text` (Unicode 15, table 3-7); 0 where there is
// none.
std::size_t sequence_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  const auto trail = [&](std::size_t i) { return (at(i) & 0xC0) == 0x80; };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return trail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned char low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    return at(1) >= low && at(1) <= high && trail(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned char low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return at(1) >= low && at(1) <= high && trail(2) && trail(3) ? 4 : 0;
  }
  return 0;
}

void append_escaped(std::string& to, char c) {
  switch (c) {
    case '"':
      to += "\\\"";
      break;
    case '\\':
      to += "\\\\";
      break;
    case '\n':
      to += "\\n";
      break;
    case '\r':
      to += "\\r";
      break;
    case '\t':
      to += "\\t";
      break;
    default:
      fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<unsigned>(c));
      break;
  }
}

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
}

}  // namespace

void append_quoted(std::string& to, std::string_view text) {
  to += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size() && is_plain(text[plain])) ++plain;
    to += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    std::size_t length = 1;
    if (static_cast<unsigned char>(text.front()) < 0x80) {
      append_escaped(to, text.front());
    } else if (length = sequence_length(text); length != 0) {
      to += text.substr(0, length);
    } else {
      to += replacement;
      length = 1;
    }
    text.remove_prefix(length);
  }
  to += '"';
}

void Writer::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  CITADEL_CHECK(depth_ > 0 || out_.empty(), "a second value after the first one ended");
  if (!first_) out_ += ',';
  first_ = false;
}

Writer& Writer::begin_object() {
  before_value();
  out_ += '{';
  ++depth_;
  first_ = true;
  return *this;
}

Writer& Writer::end_object() {
  CITADEL_CHECK(depth_ > 0 && !after_key_, "no object to end, or a key without a value");
  out_ += '}';
  --depth_;
  first_ = false;
  return *this;
}

Writer& Writer::begin_array() {
  before_value();
  out_ += '[';
  ++depth_;
  first_ = true;
  return *this;
}

Writer& Writer::end_array() {
  CITADEL_CHECK(depth_ > 0 && !after_key_, "no array to end, or a key without a value");
  out_ += ']';
  --depth_;
  first_ = false;
  return *this;
}

Writer& Writer::key(std::string_view name) {
  CITADEL_CHECK(depth_ > 0 && !after_key_, "a key outside an object, or after a key");
  if (!first_) out_ += ',';
  first_ = false;
  append_quoted(out_, name);
  out_ += ':';
  after_key_ = true;
  return *this;
}

Writer& Writer::text(std::string_view value) {
  before_value();
  append_quoted(out_, value);
  return *this;
}

Writer& Writer::integer(std::int64_t value) {
  before_value();
  out_ += fmt::format_int(value).c_str();
  return *this;
}

Writer& Writer::number(double value) {
  if (!std::isfinite(value)) return null();
  before_value();
  char raw[32];
  const auto end = std::to_chars(raw, raw + sizeof raw, value).ptr;
  const std::string_view digits(raw, static_cast<std::size_t>(end - raw));
  out_ += digits;
  // Without a point or an exponent a large double would be read as an integer beyond 64 bits.
  if (digits.find_first_of(".e") == std::string_view::npos) out_ += ".0";
  return *this;
}

Writer& Writer::boolean(bool value) {
  before_value();
  out_ += value ? "true" : "false";
  return *this;
}

Writer& Writer::null() {
  before_value();
  out_ += "null";
  return *this;
}

Writer& Writer::raw(std::string_view json) {
  before_value();
  out_ += json;
  return *this;
}

std::string Writer::take() {
  CITADEL_CHECK(depth_ == 0 && !out_.empty(), "the JSON text is not complete");
  first_ = true;
  return std::exchange(out_, {});
}

}  // namespace citadel::json
