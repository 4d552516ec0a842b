// Base64 with the standard alphabet (RFC 4648 section 4), always padded. Decoding is strict: a text has
// exactly one form that is accepted, so that what was signed or compared as text stays that text. Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace citadel {

std::string to_base64(Bytes bytes);
// nullopt for a length that is no multiple of four, a byte outside the alphabet (white space too), padding
// elsewhere than at the end, and bits behind the last byte that are not zero.
std::optional<std::string> from_base64(std::string_view text);
// The same into a buffer that is used again and again; false, with nothing useful in it, where that is
// nullopt.
bool from_base64(std::string_view text, std::string& out);

}  // namespace citadel
