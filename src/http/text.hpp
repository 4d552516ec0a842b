// Text: the small grammars of HTTP that we read ourselves: percent-encoding, queries, request ids, trace
// context. Pure; every function takes any bytes.
#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "http/message.hpp"

namespace citadel::http {

// RFC 9110 §5.6.2.
bool is_token_char(char c);

enum class Plus : std::uint8_t { literal, space };

// Decodes %XX, appending to `out`. invalid_argument where an escape is not two hexadecimal digits, or where
// the result holds a control character or is not UTF-8. `what` stands in the message.
Result<void> percent_decode(std::string_view text, Plus plus, std::string_view what, std::string& out);

// "a=1&b=x%20y" without the '?'. Empty pieces are skipped; a name twice, or more than `count_max`, is
// refused.
Result<void> parse_query(std::string_view query, std::size_t count_max, std::vector<Parameter>& out);

// 1..64 characters of A-Z a-z 0-9 . _ -
bool is_request_id(std::string_view text);

// W3C trace context, version 00: "00-<32 hex>-<16 hex>-<2 hex>", lower-case, neither id all zero.
bool is_traceparent(std::string_view text);

// RFC 9110 §12.5.3: whether an answer may be sent with gzip. No Accept-Encoding means no: clients that say
// nothing often understand nothing.
bool accepts_gzip(const Headers& headers);

// RFC 9110 §5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string http_date(std::chrono::sys_seconds time);

}  // namespace citadel::http
