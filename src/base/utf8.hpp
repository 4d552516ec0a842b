// UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Pure; takes any bytes.
#pragma once
#include <string_view>

namespace citadel {

bool is_utf8(std::string_view text);

// Of ASCII: U+0000 to U+001F, or U+007F.
bool has_control(std::string_view text);

}  // namespace citadel
