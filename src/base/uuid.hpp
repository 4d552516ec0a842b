// Uuid: 128 bits in the order of RFC 9562, with version 7 (time-ordered) made and read here.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/random.hpp"

namespace citadel {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  friend auto operator<=>(const Uuid&, const Uuid&) = default;

  int version() const { return bytes[6] >> 4; }
  // The Unix time of a version 7 id, to the millisecond. Meaningless for other versions.
  std::chrono::sys_time<std::chrono::milliseconds> time() const;

  // Version 7 with the variant of RFC 9562.
  bool is_version7() const { return version() == 7 && (bytes[8] & 0xC0) == 0x80; }

  // Lower-case, with hyphens: "018bd8f5-6a3b-7cc0-8000-0123456789ab".
  std::string to_string() const;
};

// The canonical 36-character form, either case; anything else is nullopt.
std::optional<Uuid> parse_uuid(std::string_view text);

// A version 7 id from a time and 74 bits of the caller's: 12 for rand_a (low bits), 62 for rand_b (low bits).
// Deterministic: an importer derives the same id from the same input again.
Uuid make_uuid7(std::chrono::sys_time<std::chrono::milliseconds> time, std::uint16_t rand_a,
                std::uint64_t rand_b);

// A fresh random version 7 id at time `now`. Thread-safe where `random` is not shared.
Uuid new_uuid7(WallTime now, Random& random);

}  // namespace citadel

template <>
struct std::hash<citadel::Uuid> {
  std::size_t operator()(const citadel::Uuid& id) const noexcept {
    std::uint64_t halves[2];
    __builtin_memcpy(halves, id.bytes.data(), sizeof halves);
    return halves[0] * 0x9E3779B97F4A7C15u ^ halves[1];
  }
};
