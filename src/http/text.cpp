#include "http/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/hex_digit.hpp"

namespace citadel::http {
namespace {

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool all_zero(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos;
}

std::string_view trim(std::string_view text) {
  const auto begin = std::min(text.find_first_not_of(" \t"), text.size());
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

// "q=0", "q=0.000": not acceptable (RFC 9110 §12.4.2).
bool is_zero_weight(std::string_view text) {
  const auto weight = trim(text);
  return (weight.starts_with("q=0") || weight.starts_with("Q=0")) &&
         weight.find_first_not_of("0.", 2) == std::string_view::npos;
}

}  // namespace

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

Result<void> percent_decode(std::string_view text, Plus plus, std::string_view what, std::string& out) {
  const std::size_t begin = out.size();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == Plus::space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return fail(Code::invalid_argument, fmt::format("{} has a '%' without two hexadecimal digits", what));
      }
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  const auto decoded = std::string_view(out).substr(begin);
  if (has_control(decoded))
    return fail(Code::invalid_argument, fmt::format("{} has a control character", what));
  if (!is_utf8(decoded)) return fail(Code::invalid_argument, fmt::format("{} is not UTF-8", what));
  return {};
}

Result<void> parse_query(std::string_view query, std::size_t count_max, std::vector<Parameter>& out) {
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto piece = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (piece.empty()) continue;
    if (out.size() == count_max) {
      return fail(Code::invalid_argument, fmt::format("the query has more than {} parameters", count_max));
    }
    const auto equals = std::min(piece.find('='), piece.size());
    Parameter parameter;
    CITADEL_TRY(percent_decode(piece.substr(0, equals), Plus::space, "the query", parameter.name));
    CITADEL_TRY(percent_decode(piece.substr(std::min(equals + 1, piece.size())), Plus::space, "the query",
                               parameter.value));
    for (const auto& earlier : out) {
      if (earlier.name == parameter.name) {
        return fail(Code::invalid_argument,
                    fmt::format("query parameter '{}' is given twice", parameter.name));
      }
    }
    out.push_back(std::move(parameter));
  }
  return {};
}

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

bool is_traceparent(std::string_view text) {
  return text.size() == 55 && text.starts_with("00-") && text[35] == '-' && text[52] == '-' &&
         is_lower_hex(text.substr(3, 32)) && is_lower_hex(text.substr(36, 16)) &&
         is_lower_hex(text.substr(53, 2)) && !all_zero(text.substr(3, 32)) && !all_zero(text.substr(36, 16));
}

bool accepts_gzip(const Headers& headers) {
  std::optional<bool> gzip;
  bool any = false;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (!equals_ignoring_case(headers.name(i), "Accept-Encoding")) continue;
    for (auto rest = headers.value(i); !rest.empty();) {
      const auto item = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(item.size() + 1, rest.size()));
      const auto semicolon = item.find(';');
      const auto coding = trim(item.substr(0, semicolon));
      const bool wanted = semicolon == std::string_view::npos || !is_zero_weight(item.substr(semicolon + 1));
      if (equals_ignoring_case(coding, "gzip") || equals_ignoring_case(coding, "x-gzip")) {
        gzip = wanted;
      } else if (coding == "*") {
        any = wanted;
      }
    }
  }
  return gzip.value_or(any);
}

std::string http_date(std::chrono::sys_seconds time) {
  static constexpr std::string_view days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::string_view months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days[std::chrono::weekday(day).c_encoding()],
                     static_cast<unsigned>(date.day()), months[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), clock.hours().count(), clock.minutes().count(),
                     clock.seconds().count());
}

}  // namespace citadel::http
