// Quoting: any bytes as a JSON string (RFC 8259 §7), which is also a TOML basic string. What comes out is
// valid UTF-8 on one line: quotes, backslashes and control characters are escaped, and a byte that belongs to
// no well-formed UTF-8 sequence becomes U+FFFD. Pure.
#pragma once
#include <string>
#include <string_view>

namespace citadel {

// Appends `text` without quotes around it.
void append_escaped(std::string& to, std::string_view text);
// Appends `text`, quotes included.
void append_quoted(std::string& to, std::string_view text);

}  // namespace citadel
