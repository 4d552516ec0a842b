#include "audit/cbor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/utf8.hpp"

namespace citadel::audit::cbor {
namespace {

// The additional information of an initial byte: below 24 the argument itself, then the width of what
// follows.
constexpr unsigned one_byte = 24, two_bytes = 25, four_bytes = 26, eight_bytes = 27;

constexpr std::uint64_t argument_max = std::numeric_limits<std::int64_t>::max();

unsigned number_of(Type type) {
  return static_cast<unsigned>(type);
}

}  // namespace

void Writer::head(unsigned major, std::uint64_t argument) {
  const unsigned initial = major << 5;
  if (argument < one_byte) {
    out_ += static_cast<char>(initial | argument);
    return;
  }
  const unsigned info = argument <= UINT8_MAX    ? one_byte
                        : argument <= UINT16_MAX ? two_bytes
                        : argument <= UINT32_MAX ? four_bytes
                                                 : eight_bytes;
  const std::size_t width = std::size_t{1} << (info - one_byte);
  // The argument at the end, and the initial byte right before as much of it as counts: appended at once.
  char raw[1 + sizeof argument];
  store_be(raw + 1, argument);
  char* const begin = std::end(raw) - width - 1;
  *begin = static_cast<char>(initial | info);
  out_.append(begin, width + 1);
}

Writer& Writer::number(std::uint64_t value) {
  head(number_of(Type::number), value);
  return *this;
}

Writer& Writer::integer(std::int64_t value) {
  if (value >= 0) return number(static_cast<std::uint64_t>(value));
  head(number_of(Type::negative), static_cast<std::uint64_t>(-(value + 1)));
  return *this;
}

Writer& Writer::bytes(Bytes value) {
  head(number_of(Type::bytes), value.size());
  out_ += as_text(value);
  return *this;
}

Writer& Writer::text(std::string_view value) {
  head(number_of(Type::text), value.size());
  out_ += value;
  return *this;
}

Writer& Writer::array(std::size_t count) {
  head(number_of(Type::array), count);
  return *this;
}

Writer& Writer::map(std::size_t count) {
  head(number_of(Type::map), count);
  return *this;
}

void Reader::before_item(Type type) {
  if (depth_ == 0) {
    if (ended_) fail("something follows the value");
    return;
  }
  const Open& open = open_[depth_ - 1];
  if (open.items_left == 0) return fail("more is read than a container holds");
  const bool is_key = open.is_map && open.items_left % 2 == 0;
  if (is_key && (type == Type::array || type == Type::map)) fail("a key is a container");
}

// The item that began at `start` has been read, but for what a container holds.
void Reader::after_item(std::size_t start) {
  if (depth_ == 0) {
    ended_ = true;
    return;
  }
  Open& open = open_[depth_ - 1];
  const bool is_key = open.is_map && open.items_left % 2 == 0;
  --open.items_left;
  if (is_key) check_key(open, start);
}

void Reader::check_key(Open& open, std::size_t start) {
  const auto in_order = [&] {
    // Most keys are of one byte.
    if (open.key_end - open.key_start == 1 && at_ - start == 1) return bytes_[open.key_start] < bytes_[start];
    const auto piece = [&](std::size_t from, std::size_t to) {
      return as_text(bytes_.subspan(from, to - from));
    };
    return open.key_end == 0 || piece(open.key_start, open.key_end) < piece(start, at_);
  };
  if (!in_order()) fail("the keys of a map are not in order, or one stands twice");
  open.key_start = start;
  open.key_end = at_;
}

std::uint64_t Reader::argument(unsigned info) {
  if (info < one_byte) return info;
  if (info > eight_bytes) {
    fail("a length is not definite, or a number has no width");
    return 0;
  }
  const std::size_t width = std::size_t{1} << (info - one_byte);
  if (bytes_.size() - at_ < width) {
    fail("it ends in the middle of a number");
    return 0;
  }
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i)
    value = value << 8 | std::to_integer<std::uint64_t>(bytes_[at_ + i]);
  at_ += width;
  const std::uint64_t smallest = width == 1 ? one_byte : std::uint64_t{1} << (4 * width);
  if (value < smallest) fail("a number has not its shortest form");
  return value;
}

std::uint64_t Reader::head(Type type) {
  if (!good()) return 0;
  // Before this item, containers that are full are done.
  while (depth_ > 0 && open_[depth_ - 1].items_left == 0) --depth_;
  before_item(type);
  if (good() && at_ == bytes_.size()) fail("it ends before its value does");
  if (!good()) return 0;
  const auto initial = std::to_integer<unsigned>(bytes_[at_]);
  if (initial >> 5 != number_of(type)) {
    fail("an item is of another type");
    return 0;
  }
  ++at_;
  const std::uint64_t value = argument(initial & 31);
  return good() ? value : 0;
}

std::uint64_t Reader::number() {
  const std::size_t start = at_;
  const std::uint64_t value = head(Type::number);
  if (good()) after_item(start);
  return good() ? value : 0;
}

std::int64_t Reader::integer() {
  const std::size_t start = at_;
  const bool negative = peek() == Type::negative;
  const std::uint64_t value = head(negative ? Type::negative : Type::number);
  if (good() && value > argument_max) fail("an integer is beyond 64 bits");
  if (good()) after_item(start);
  if (!good()) return 0;
  const auto magnitude = static_cast<std::int64_t>(value);
  return negative ? -magnitude - 1 : magnitude;
}

Bytes Reader::string(Type type) {
  const std::size_t start = at_;
  const std::uint64_t size = head(type);
  if (good() && size > bytes_.size() - at_) fail("it ends in the middle of a string");
  if (!good()) return {};
  const Bytes value = bytes_.subspan(at_, size);
  at_ += size;
  after_item(start);
  return good() ? value : Bytes{};
}

Bytes Reader::bytes() {
  return string(Type::bytes);
}

std::string_view Reader::text() {
  const std::string_view value = as_text(string(Type::text));
  if (!is_utf8(value)) fail("a text is not UTF-8");
  return good() ? value : std::string_view{};
}

std::size_t Reader::container(Type type) {
  const std::size_t start = at_;
  const std::uint64_t count = head(type);
  const std::uint64_t items_each = type == Type::map ? 2 : 1;
  // Each item has a byte at least: a count that cannot be true reserves no memory.
  if (good() && count > (bytes_.size() - at_) / items_each) fail("a container holds less than it says");
  if (good() && depth_ == depth_max) fail("it is nested too deep");
  if (!good()) return 0;
  after_item(start);
  open_[depth_++] = {.items_left = count * items_each, .is_map = type == Type::map};
  return count;
}

std::size_t Reader::array() {
  return container(Type::array);
}

std::size_t Reader::map() {
  return container(Type::map);
}

std::optional<Type> Reader::peek() const {
  if (!good() || at_ == bytes_.size()) return std::nullopt;
  const auto major = std::to_integer<unsigned>(bytes_[at_]) >> 5;
  if (major > number_of(Type::map)) return std::nullopt;
  return static_cast<Type>(major);
}

Result<void> Reader::finish() {
  while (depth_ > 0 && open_[depth_ - 1].items_left == 0) --depth_;
  if (good() && (depth_ > 0 || !ended_)) fail("it holds more items than are known");
  if (good() && at_ != bytes_.size()) fail("something follows the value");
  if (good()) return {};
  return citadel::fail(Code::corrupt, fmt::format("not the CBOR that is written here: {}", fault_));
}

}  // namespace citadel::audit::cbor
