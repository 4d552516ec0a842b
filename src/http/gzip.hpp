// Gzip: bodies that arrive compressed (RFC 1952, several members allowed). Pure.
#pragma once
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace citadel::http {

// A member may be empty, so the limit of the text does not limit their number; each costs some microseconds.
inline constexpr std::size_t gzip_members_max = 1'024;

// invalid_argument where the bytes are not whole gzip members, or too many; overloaded, as a marker for 413,
// where the text would be larger than `size_bytes_max`: a bomb costs that much memory and no more.
Result<std::string> gunzip(std::string_view compressed, std::size_t size_bytes_max);

// For clients and tests.
std::string gzip(std::string_view text);

}  // namespace citadel::http
