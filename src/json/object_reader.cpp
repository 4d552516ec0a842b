#include "json/object_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cmath>

#include "base/check.hpp"
#include "base/nearest.hpp"
#include "base/utf8.hpp"
#include "json/parse.hpp"

namespace citadel::json {
namespace {

namespace bj = boost::json;

constexpr std::size_t shown_bytes_max = 40;

// A value as an error shows it.
std::string shown(const bj::value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  if (const auto* text = value.if_string(); text && text->size() > shown_bytes_max) {
    return fmt::format("a text of {} bytes", text->size());
  }
  return bj::serialize(value);
}

}  // namespace

void ObjectReader::refuse(std::string_view name, std::string_view what) {
  if (error_) return;
  std::string place(path_);
  append_pointer(place, name);
  error_ = Error(Code::invalid_argument, fmt::format("{}: {}", place, what));
}

void ObjectReader::refuse_value(std::string_view name, std::string_view must, const bj::value& value) {
  if (!error_) refuse(name, fmt::format("must be {}, not {}", must, shown(value)));
}

const bj::value* ObjectReader::find(std::string_view name) {
  CITADEL_CHECK(name_count_ < names_max, "an object reader asks for more fields than it can remember");
  names_[name_count_++] = name;
  if (error_) return nullptr;
  const bj::value* value = object_.if_contains(bj::string_view(name.data(), name.size()));
  if (value) ++found_;
  if (value && value->is_null()) value = nullptr;
  return value;
}

std::int64_t ObjectReader::integer(std::string_view name, std::int64_t min, std::int64_t max) {
  const auto value = optional_integer(name, min, max);
  if (!value) refuse(name, "is missing");
  return value.value_or(0);
}

double ObjectReader::number(std::string_view name, double min, double max) {
  const auto value = optional_number(name, min, max);
  if (!value) refuse(name, "is missing");
  return value.value_or(0);
}

std::string_view ObjectReader::text(std::string_view name, TextLimits limits) {
  const auto value = optional_text(name, limits);
  if (!value) refuse(name, "is missing");
  return value.value_or("");
}

bool ObjectReader::boolean(std::string_view name) {
  const auto value = optional_boolean(name);
  if (!value) refuse(name, "is missing");
  return value.value_or(false);
}

std::optional<std::int64_t> ObjectReader::optional_integer(std::string_view name, std::int64_t min,
                                                           std::int64_t max) {
  const bj::value* value = find(name);
  if (!value) return std::nullopt;
  if (const auto* number = value->if_int64(); number && *number >= min && *number <= max) return *number;
  refuse_value(name, fmt::format("an integer from {} to {}", min, max), *value);
  return std::nullopt;
}

std::optional<double> ObjectReader::optional_number(std::string_view name, double min, double max) {
  const bj::value* value = find(name);
  if (!value) return std::nullopt;
  double number = std::nan("");
  if (value->is_number()) number = value->to_number<double>();
  if (number >= min && number <= max) return number;
  refuse_value(name, fmt::format("a number from {} to {}", min, max), *value);
  return std::nullopt;
}

std::optional<std::string_view> ObjectReader::optional_text(std::string_view name, TextLimits limits) {
  const bj::value* value = find(name);
  if (!value) return std::nullopt;
  if (const auto* string = value->if_string()) {
    const std::string_view text(string->data(), string->size());
    if (text.size() >= limits.bytes_min && text.size() <= limits.bytes_max) {
      if (!has_control(text)) return text;
      refuse(name, "must not hold control characters");
      return std::nullopt;
    }
  }
  refuse_value(name, fmt::format("a text of {} to {} bytes", limits.bytes_min, limits.bytes_max), *value);
  return std::nullopt;
}

std::optional<bool> ObjectReader::optional_boolean(std::string_view name) {
  const bj::value* value = find(name);
  if (!value) return std::nullopt;
  if (const auto* flag = value->if_bool()) return *flag;
  refuse_value(name, "true or false", *value);
  return std::nullopt;
}

const bj::value* ObjectReader::optional_value(std::string_view name) {
  return find(name);
}

void ObjectReader::refuse_unknown() {
  const std::span<const std::string_view> known(names_.data(), name_count_);
  for (const auto& entry : object_) {
    const std::string_view key(entry.key().data(), entry.key().size());
    if (std::ranges::find(known, key) != known.end()) continue;
    const std::string_view near = nearest(key, known);
    return refuse(key, near.empty() ? "is not a known field"
                                    : fmt::format("is not a known field; did you mean \"{}\"?", near));
  }
}

Result<void> ObjectReader::finish() {
  if (!error_ && found_ != object_.size()) refuse_unknown();
  if (error_) return std::unexpected(std::move(*error_));
  return {};
}

}  // namespace citadel::json
