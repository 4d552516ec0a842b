#include "json/body.hpp"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/monotonic_resource.hpp>

#include "json/lines.hpp"
#include "json/parse.hpp"

namespace citadel::json {
namespace {

namespace bj = boost::json;

constexpr std::size_t scratch_bytes = 16 << 10;

using OnValue = std::function<Result<void>(const bj::value&, std::string_view)>;

std::unexpected<Error> too_many(const BodyLimits& limits) {
  return fail(Code::invalid_argument,
              fmt::format("the body holds more than {} {}s", limits.values_max, limits.noun));
}

Result<std::size_t> read_lines(std::string_view body, const BodyLimits& limits, const OnValue& on_value) {
  std::size_t count = 0;
  const ParseLimits parse_limits{.depth_max = limits.depth_max, .size_bytes_max = limits.line_bytes_max};
  const auto on_line = [&](std::size_t line, const bj::value& value) -> Result<void> {
    if (count == limits.values_max) return too_many(limits);
    ++count;
    auto done = on_value(value, "");
    if (!done) done.error().message = fmt::format("line {}, {}", line, done.error().message);
    return done;
  };
  CITADEL_TRY(for_each_line(body, parse_limits, std::cref(on_line)));
  return count;
}

Result<std::size_t> read_whole(std::string_view body, const BodyLimits& limits, const OnValue& on_value) {
  unsigned char scratch[scratch_bytes];
  bj::monotonic_resource memory(scratch, sizeof scratch);
  const ParseLimits parse_limits{.depth_max = limits.depth_max, .size_bytes_max = limits.body_bytes_max};
  CITADEL_ASSIGN(const auto value, parse(body, parse_limits, {}, &memory));
  const bj::array* array = value.if_array();
  if (array == nullptr) {
    CITADEL_TRY(on_value(value, ""));
    return 1;
  }
  if (array->size() > limits.values_max) return too_many(limits);
  for (std::size_t i = 0; i < array->size(); ++i) CITADEL_TRY(on_value((*array)[i], fmt::format("/{}", i)));
  return array->size();
}

}  // namespace

Result<void> for_each_value(std::string_view body, BodyForm form, const BodyLimits& limits,
                            const OnValue& on_value) {
  if (body.size() > limits.body_bytes_max) {
    return fail(Code::invalid_argument,
                fmt::format("the body has {} bytes; the limit is {}", body.size(), limits.body_bytes_max));
  }
  CITADEL_ASSIGN(const auto count, form == BodyForm::ndjson ? read_lines(body, limits, on_value)
                                                            : read_whole(body, limits, on_value));
  if (count == 0) return fail(Code::invalid_argument, fmt::format("the body holds no {}", limits.noun));
  return {};
}

}  // namespace citadel::json
