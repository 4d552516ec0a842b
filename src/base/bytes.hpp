// Bytes: fixed-width integers to and from memory, hexadecimal text, and CRC-32C. Pure; nothing allocates but
// to_hex.
#pragma once
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace citadel {

using Bytes = std::span<const std::byte>;

inline Bytes as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

namespace detail {
template <std::integral T>
T swap_if(T value, bool swap) {
  return swap ? std::byteswap(value) : value;
}
}  // namespace detail

// The caller has made sure that sizeof(T) bytes are there.
template <std::integral T>
T load_le(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return detail::swap_if(value, std::endian::native != std::endian::little);
}
template <std::integral T>
T load_be(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return detail::swap_if(value, std::endian::native != std::endian::big);
}
template <std::integral T>
void store_le(void* to, T value) {
  value = detail::swap_if(value, std::endian::native != std::endian::little);
  std::memcpy(to, &value, sizeof value);
}
template <std::integral T>
void store_be(void* to, T value) {
  value = detail::swap_if(value, std::endian::native != std::endian::big);
  std::memcpy(to, &value, sizeof value);
}
template <std::integral T>
void append_le(std::string& to, T value) {
  char raw[sizeof(T)];
  store_le(raw, value);
  to.append(raw, sizeof raw);
}
template <std::integral T>
void append_be(std::string& to, T value) {
  char raw[sizeof(T)];
  store_be(raw, value);
  to.append(raw, sizeof raw);
}

// Lower-case hexadecimal.
std::string to_hex(Bytes bytes);
// Two digits a byte, either case; nullopt for anything else.
std::optional<std::string> from_hex(std::string_view text);

// CRC-32C (Castagnoli, RFC 3720 appendix B.4); `seed` is the checksum of what came before, 0 at the start.
std::uint32_t crc32c(Bytes bytes, std::uint32_t seed = 0);

}  // namespace citadel
