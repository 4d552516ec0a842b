#include "base/uuid.hpp"

#include <algorithm>

#include "base/hex_digit.hpp"

namespace citadel {
namespace {

constexpr std::size_t hyphens[] = {8, 13, 18, 23};

}  // namespace

std::chrono::sys_time<std::chrono::milliseconds> Uuid::time() const {
  std::int64_t value = 0;
  for (int i = 0; i < 6; ++i) value = value << 8 | bytes[static_cast<std::size_t>(i)];
  return std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(value));
}

std::string Uuid::to_string() const {
  static constexpr char digits[] = "0123456789abcdef";
  // Where the two digits of each byte stand between the hyphens.
  static constexpr std::uint8_t places[] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
  std::string out(36, '-');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    out[places[i]] = digits[bytes[i] >> 4];
    out[places[i] + 1u] = digits[bytes[i] & 15];
  }
  return out;
}

std::optional<Uuid> parse_uuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  std::array<char, 32> digits;
  char* to = digits.data();
  std::size_t from = 0;
  for (const auto at : hyphens) {
    if (text[at] != '-') return std::nullopt;
    to = std::copy(text.begin() + from, text.begin() + at, to);
    from = at + 1;
  }
  std::copy(text.begin() + from, text.end(), to);
  Uuid id;
  if (!read_hex({digits.data(), digits.size()}, std::as_writable_bytes(std::span(id.bytes))))
    return std::nullopt;
  return id;
}

Uuid make_uuid7(std::chrono::sys_time<std::chrono::milliseconds> time, std::uint16_t rand_a,
                std::uint64_t rand_b) {
  const auto ms = static_cast<std::uint64_t>(time.time_since_epoch().count());
  Uuid id;
  for (std::size_t i = 0; i < 6; ++i) id.bytes[i] = static_cast<std::uint8_t>(ms >> (8 * (5 - i)));
  id.bytes[6] = static_cast<std::uint8_t>(0x70 | (rand_a >> 8 & 0x0F));
  id.bytes[7] = static_cast<std::uint8_t>(rand_a);
  for (std::size_t i = 0; i < 8; ++i) id.bytes[8 + i] = static_cast<std::uint8_t>(rand_b >> (8 * (7 - i)));
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3F) | 0x80);
  return id;
}

Uuid new_uuid7(WallTime now, Random& random) {
  // One after the other: the order in which a call's arguments are drawn is the compiler's, and a seed must
  // repeat everywhere.
  const auto rand_a = static_cast<std::uint16_t>(random.next());
  const auto rand_b = random.next();
  return make_uuid7(std::chrono::floor<std::chrono::milliseconds>(now), rand_a, rand_b);
}

}  // namespace citadel
