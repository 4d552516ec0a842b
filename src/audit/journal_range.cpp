#include "audit/journal_range.hpp"

#include <fmt/format.h>

#include <charconv>

namespace citadel::audit {
namespace {

constexpr std::size_t uuid_digits = 36;

struct Parts {
  Uuid producer;
  std::uint64_t epoch = 0;
};

// What stands before `separator`, or all where it is 0; taken off `text`. nullopt where that is no number.
std::optional<std::uint64_t> take_number(std::string_view& text, char separator) {
  const std::size_t end = separator == 0 ? text.size() : text.find(separator);
  if (end == std::string_view::npos) return std::nullopt;
  std::uint64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + end, value);
  if (read.ec != std::errc{} || read.ptr != text.data() + end) return std::nullopt;
  text.remove_prefix(separator == 0 ? end : end + 1);
  return value;
}

// "UUID/" and an epoch, taken off `text`.
std::optional<Parts> take_epoch(std::string_view& text) {
  if (text.size() < uuid_digits + 1 || text[uuid_digits] != '/') return std::nullopt;
  const auto producer = parse_uuid(text.substr(0, uuid_digits));
  text.remove_prefix(uuid_digits + 1);
  const auto epoch = take_number(text, '/');
  if (!producer || !epoch) return std::nullopt;
  return Parts{.producer = *producer, .epoch = *epoch};
}

}  // namespace

std::string to_string(const JournalRange& range) {
  return fmt::format("{}/{}/{}-{}", range.producer.to_string(), range.epoch, range.first, range.last);
}

std::string to_string(const JournalPosition& position) {
  return fmt::format("{}/{}/{}", position.producer.to_string(), position.epoch, position.sequence);
}

std::optional<JournalRange> parse_journal_range(std::string_view text) {
  std::string_view rest = text;
  const auto parts = take_epoch(rest);
  if (!parts) return std::nullopt;
  const auto first = take_number(rest, '-');
  const auto last = first ? take_number(rest, 0) : std::nullopt;
  if (!last || *first == 0 || *last < *first) return std::nullopt;
  const JournalRange range{parts->producer, parts->epoch, *first, *last};
  if (to_string(range) != text) return std::nullopt;  // leading zeros, other case
  return range;
}

std::optional<JournalPosition> parse_journal_position(std::string_view text) {
  std::string_view rest = text;
  const auto parts = take_epoch(rest);
  const auto sequence = parts ? take_number(rest, 0) : std::nullopt;
  if (!sequence) return std::nullopt;
  const JournalPosition position{parts->producer, parts->epoch, *sequence};
  if (to_string(position) != text) return std::nullopt;
  return position;
}

}  // namespace citadel::audit
