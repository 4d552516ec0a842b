#include "audit/text_detectors.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace citadel::audit {
namespace {

struct Span {
  std::size_t begin = 0, end = 0;
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_word(char c) {
  return is_digit(c) || is_letter(c) || c == '_';
}

constexpr std::size_t card_digits_min = 13, card_digits_max = 19;

// The issuers' prefixes and lengths (ISO/IEC 7812, as the large schemes publish them). Without them one in
// ten long numbers has a right check digit by chance.
bool is_issued(std::string_view digits) {
  const auto prefix = [&](std::size_t count) {
    int value = 0;
    for (const char c : digits.substr(0, count)) value = value * 10 + (c - '0');
    return value;
  };
  const std::size_t size = digits.size();
  const int two = prefix(2), three = prefix(3), four = prefix(4);
  if (digits[0] == '4') return size == 13 || size == 16 || size == 19;                 // Visa
  if ((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720)) return size == 16;   // Mastercard
  if (two == 34 || two == 37) return size == 15;                                       // American Express
  if (four == 6011 || two == 65 || (three >= 644 && three <= 649)) return size >= 16;  // Discover
  if (four >= 3528 && four <= 3589) return size >= 16;                                 // JCB
  if ((three >= 300 && three <= 305) || two == 36 || two == 38 || two == 39)
    return size >= 14;                            // Diners Club
  if (two == 62 || two == 81) return size >= 16;  // UnionPay
  if (two == 50 || (two >= 56 && two <= 58) || two == 63 || two == 67)
    return size >= card_digits_min;  // Maestro
  return false;
}

// ISO/IEC 7812-1 annex B: every second digit from the right counts twice.
bool has_right_check_digit(std::string_view digits) {
  int sum = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    int digit = digits[digits.size() - 1 - i] - '0';
    if (i % 2 == 1) digit = digit > 4 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return sum % 10 == 0;
}

// The end of the longest card number that begins with the group of digits at `at`; groups are parted by one
// blank or hyphen, and the number ends where a group does.
std::optional<std::size_t> card_at(std::string_view text, std::size_t at) {
  std::array<char, card_digits_max> digits;
  std::size_t count = 0;
  std::optional<std::size_t> found;
  for (std::size_t i = at; i < text.size() && is_digit(text[i]);) {
    while (i < text.size() && is_digit(text[i])) {
      if (count == card_digits_max) return found;
      digits[count++] = text[i++];
    }
    const std::string_view number(digits.data(), count);
    const bool ends_here =
        i == text.size() ||
        (!is_word(text[i]) && !(text[i] == '.' && i + 1 < text.size() && is_digit(text[i + 1])));
    if (count >= card_digits_min && ends_here && is_issued(number) && has_right_check_digit(number))
      found = i;
    if (i < text.size() && (text[i] == ' ' || text[i] == '-')) ++i;
  }
  return found;
}

std::optional<Span> next_card(std::string_view text, std::size_t from) {
  for (std::size_t i = from; i < text.size(); ++i) {
    if (!is_digit(text[i])) continue;
    const bool begins_here = i == 0 || (!is_word(text[i - 1]) && text[i - 1] != '.');
    if (begins_here) {
      if (const auto end = card_at(text, i)) return Span{i, *end};
    }
    while (i + 1 < text.size() && is_digit(text[i + 1])) ++i;
  }
  return std::nullopt;
}

constexpr std::string_view bearer = "bearer";
// The shortest token that is taken for one; below it "bearer" is a word among words.
constexpr std::size_t token_bytes_min = 16;

bool is_token(char c) {
  return is_word(c) || c == '-' || c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
}

// RFC 6750 §2.1: "Bearer", blanks and a token, which is long and holds a digit.
std::optional<Span> next_bearer(std::string_view text, std::size_t from) {
  const auto same = [](char a, char b) { return (is_letter(a) ? static_cast<char>(a | 0x20) : a) == b; };
  while (true) {
    const auto at = std::ranges::search(text.substr(from), bearer, same);
    if (at.empty()) return std::nullopt;
    std::size_t begin = static_cast<std::size_t>(at.end() - text.begin());
    const std::size_t blanks = begin;
    while (begin < text.size() && text[begin] == ' ') ++begin;
    std::size_t end = begin;
    bool has_digit = false;
    for (; end < text.size() && is_token(text[end]); ++end) has_digit |= is_digit(text[end]);
    if (begin > blanks && end - begin >= token_bytes_min && has_digit) return Span{begin, end};
    from = begin;
  }
}

// RFC 7468: from "-----BEGIN … PRIVATE KEY" to the end of its END line; to the end of the text where that is
// missing, since a key that was cut is a key too.
std::optional<Span> next_private_key(std::string_view text, std::size_t from) {
  constexpr std::string_view begin_mark = "-----BEGIN ", dashes = "-----", what = "PRIVATE KEY";
  constexpr std::size_t label_bytes_max = 64;
  while (true) {
    const std::size_t begin = text.find(begin_mark, from);
    if (begin == std::string_view::npos) return std::nullopt;
    from = begin + begin_mark.size();
    const std::string_view ahead = text.substr(from, label_bytes_max);
    const std::string_view label = ahead.substr(0, ahead.find(dashes));
    if (label.size() == ahead.size() && ahead.size() == label_bytes_max) continue;
    if (label.find(what) == std::string_view::npos) continue;
    const std::string end_mark = "-----END " + std::string(label) + std::string(dashes);
    const std::size_t end = text.find(end_mark, from);
    return Span{begin, end == std::string_view::npos ? text.size() : end + end_mark.size()};
  }
}

std::optional<Span> next(Detector detector, std::string_view text, std::size_t from) {
  switch (detector) {
    case Detector::card_number:
      return next_card(text, from);
    case Detector::bearer_token:
      return next_bearer(text, from);
    case Detector::private_key:
      return next_private_key(text, from);
  }
  return std::nullopt;
}

}  // namespace

std::size_t replace(Detector detector, std::string& text, std::string_view mark) {
  std::string out;
  std::size_t count = 0, from = 0;
  while (const auto found = next(detector, text, from)) {
    out.append(text, from, found->begin - from).append(mark);
    from = found->end;
    ++count;
  }
  if (count != 0) text = out.append(text, from);
  return count;
}

}  // namespace citadel::audit
