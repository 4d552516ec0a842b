// for_each_line: newline-delimited JSON. One value a line, lines ended by LF or CR LF, the last one's end
// optional; lines with nothing but white space are passed over. Lines count from 1, empty ones too.
#pragma once
#include <boost/json/value.hpp>
#include <functional>

#include "base/error.hpp"
#include "json/parse.hpp"

namespace citadel::json {

// Stops at the first error: one of parse(), whose place is given in the whole text, or one of `on_value`,
// returned as it is. `limits.size_bytes_max` bounds each line. A value lives during its call only.
Result<void> for_each_line(
    std::string_view text, const ParseLimits& limits,
    const std::function<Result<void>(std::size_t line, const boost::json::value&)>& on_value);

}  // namespace citadel::json
