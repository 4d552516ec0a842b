#include "json/writer.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "base/check.hpp"
#include "base/quote.hpp"

namespace citadel::json {
namespace {

constexpr int depth_max = 64;  // the bits of Writer::objects_

}  // namespace
void Writer::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  CITADEL_CHECK(depth_ > 0 || out_.empty(), "a second value after the first one ended");
  CITADEL_CHECK(!in_object(), "a member without a key");
  if (!first_) out_ += ',';
  first_ = false;
}

void Writer::begin(char bracket, bool is_object) {
  before_value();
  CITADEL_CHECK(depth_ < depth_max, "more is open than the writer can remember");
  const auto bit = std::uint64_t{1} << depth_;
  objects_ = is_object ? objects_ | bit : objects_ & ~bit;
  ++depth_;
  out_ += bracket;
  first_ = true;
}

void Writer::end(char bracket, bool is_object) {
  CITADEL_CHECK(depth_ > 0 && !after_key_, "nothing to end, or a key without a value");
  CITADEL_CHECK(in_object() == is_object, "an object's end closes an array, or an array's an object");
  out_ += bracket;
  --depth_;
  first_ = false;
}

Writer& Writer::begin_object() {
  begin('{', true);
  return *this;
}

Writer& Writer::end_object() {
  end('}', true);
  return *this;
}

Writer& Writer::begin_array() {
  begin('[', false);
  return *this;
}

Writer& Writer::end_array() {
  end(']', false);
  return *this;
}

Writer& Writer::key(std::string_view name) {
  CITADEL_CHECK(in_object() && !after_key_, "a key outside an object, or after a key");
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
