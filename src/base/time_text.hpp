// RFC 3339 times: how the API reads and prints a moment. UTC inside; offsets are accepted and converted.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"

namespace citadel {

// "2026-11-25T00:41:07.123456Z", or "2026-11-25T00:41:07Z" when the fraction is zero.
std::string format_time(WallTime time);

// RFC 3339 §5.6: date, 'T' or 't' or one space, time with up to nine digits of fraction (truncated to
// microseconds), then 'Z', 'z' or an offset. A leap second (:60) is refused, and so is a moment outside the
// years 1970 to 9999 of UTC. nullopt where the text is anything else.
std::optional<WallTime> parse_time(std::string_view text);

// The same, or a bare day like "2026-11-25", which is its midnight UTC: the bound of a range that people
// give.
std::optional<WallTime> parse_day_or_time(std::string_view text);

}  // namespace citadel
