// parse: RFC 8259 JSON, read strictly, into Boost.JSON values.
//
// What is accepted means one thing only and survives being written and read again. So these are refused,
// although Boost.JSON 1.81 takes them: a key that stands twice in an object, a number that is infinite as a
// double (3e888), and an integer that neither int64 nor uint64 holds exactly. Also refused: invalid UTF-8,
// lone surrogates, comments, trailing commas, anything after the value, and more than the limits.
//
//   auto value = json::parse(body, {.depth_max = 8, .size_bytes_max = 1 << 20});
//   // "line 2, column 14 (byte 31), at /0/tokens: the key stands twice in its object"
//
// Errors are invalid_argument. Pure; thread-safe.
#pragma once
#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace citadel::json {

struct ParseLimits {
  std::size_t depth_max = 32;
  std::size_t size_bytes_max = 1 << 20;
};

// Where `text` begins in what the caller was given, so that errors name the place there.
struct ParseOrigin {
  std::size_t line = 1;
  std::size_t offset = 0;
};

// `storage` owns the memory of the value; a monotonic_resource is about twice as fast for values that are
// read and dropped.
Result<boost::json::value> parse(std::string_view text, const ParseLimits& limits, ParseOrigin origin = {},
                                 boost::json::storage_ptr storage = {});

// Appends "/token" to a JSON pointer (RFC 6901): "~" becomes "~0", "/" becomes "~1". Control characters, and
// what is beyond 64 bytes, are replaced, because pointers stand in error messages.
void append_pointer(std::string& pointer, std::string_view token);

}  // namespace citadel::json
