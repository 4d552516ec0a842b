// ObjectReader: takes the fields of a JSON object one by one, by name, type and range. The first thing wrong
// is kept and every later call does nothing, so a reader of ten fields has one place where it fails:
//
//   json::ObjectReader in(object, "/0");
//   record.model = in.text("model", {.bytes_max = 200});
//   record.tokens = in.integer("prompt_tokens", 0, tokens_max);
//   record.status = in.optional_integer("status", 100, 599).value_or(200);
//   CITADEL_TRY(in.finish());   // "/0/prompt_tokens: must be an integer from 0 to 1000000000, not -3"
//
// Each name is asked for once. finish() also refuses a field that nobody asked for, and suggests the nearest
// name. A field that is null counts as absent. Errors are invalid_argument; they show at most the beginning
// of a value. The object and the path outlive the reader.
#pragma once
#include <array>
#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace citadel::json {

struct TextLimits {
  std::size_t bytes_min = 1;
  std::size_t bytes_max = 200;
};

class ObjectReader {
 public:
  // `path` is the object's own place as a JSON pointer, "" for the whole document.
  explicit ObjectReader(const boost::json::object& object, std::string_view path = "")
      : object_(object), path_(path) {}

  // Required fields; after an error: 0, "" or false.
  std::int64_t integer(std::string_view name, std::int64_t min, std::int64_t max);
  double number(std::string_view name, double min, double max);
  // UTF-8 without control characters. Points into the object.
  std::string_view text(std::string_view name, TextLimits limits);
  bool boolean(std::string_view name);

  // nullopt where the field is absent or null, and after an error.
  std::optional<std::int64_t> optional_integer(std::string_view name, std::int64_t min, std::int64_t max);
  std::optional<double> optional_number(std::string_view name, double min, double max);
  std::optional<std::string_view> optional_text(std::string_view name, TextLimits limits);
  std::optional<bool> optional_boolean(std::string_view name);
  // The field as it is, for the caller to read; counts as asked for. nullptr where absent or null.
  const boost::json::value* optional_value(std::string_view name);

  // For rules of the caller's own: "{path}/{name}: {what}". Only the first error is kept.
  void refuse(std::string_view name, std::string_view what);
  bool failed() const { return error_.has_value(); }

  Result<void> finish();

 private:
  static constexpr std::size_t names_max = 64;

  const boost::json::value* find(std::string_view name);
  void refuse_value(std::string_view name, std::string_view must, const boost::json::value& value);
  void refuse_unknown();

  const boost::json::object& object_;
  std::string_view path_;
  std::array<std::string_view, names_max> names_;
  std::size_t name_count_ = 0;
  std::size_t found_ = 0;
  std::optional<Error> error_;
};

}  // namespace citadel::json
