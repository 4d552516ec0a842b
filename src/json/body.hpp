// for_each_value: the body of a request that holds one JSON value, an array of them, or NDJSON. One bad value
// refuses the whole body; what is called for the values before it must be dropped by the caller.
//
//   CITADEL_TRY(json::for_each_value(body, form, {.noun = "record"}, [&](const auto& value, auto path) {
//     CITADEL_ASSIGN(auto record, read_record(value, path));
//     …
//   }));
//
// `path` makes an error say where: "/3/tokens: must be …" for the fourth of an array; for NDJSON the line is
// put before it here: "line 4, /tokens: must be …".
//
// Errors are invalid_argument, or those of `on_value`. Pure; thread-safe.
#pragma once
#include <boost/json/value.hpp>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/error.hpp"

namespace citadel::json {

enum class BodyForm : std::uint8_t { json, ndjson };

struct BodyLimits {
  std::string_view noun = "value";  // what a value is called in errors
  std::size_t values_max = 10'000;
  std::size_t body_bytes_max = 8 << 20;
  std::size_t line_bytes_max = 64 << 10;  // of NDJSON
  std::size_t depth_max = 32;             // the array around the values included
};

// `path` is the value's place as a JSON pointer, "" where it is a document of its own. A value lives during
// its call only. A body without a value is refused.
Result<void> for_each_value(
    std::string_view body, BodyForm form, const BodyLimits& limits,
    const std::function<Result<void>(const boost::json::value&, std::string_view path)>& on_value);

}  // namespace citadel::json
