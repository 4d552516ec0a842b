// The little JSON that commands write by hand.
#pragma once
#include <string>
#include <string_view>

namespace citadel::cli {

// A JSON string, quoted and escaped (RFC 8259 §7). Bytes that are not UTF-8 are passed on as they are.
std::string json_string(std::string_view text);

// The lines of `text` as an array of strings.
std::string json_lines(std::string_view text);

}  // namespace citadel::cli
