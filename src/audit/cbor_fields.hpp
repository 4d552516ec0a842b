// Fields that leaves, envelopes and records have in common, from and to CBOR.
#pragma once
#include <cstring>

#include "audit/cbor.hpp"
#include "base/clock.hpp"
#include "base/uuid.hpp"

namespace citadel::audit {

// The years that a text can name: 1970 to 9999.
inline constexpr WallTime time_end = std::chrono::sys_days{std::chrono::year{10'000} / 1 / 1};

inline Bytes bytes_of(const Uuid& id) {
  return std::as_bytes(std::span(id.bytes));
}
inline Uuid read_uuid(cbor::Reader& in) {
  Uuid id;
  const auto raw = in.fixed<sizeof id.bytes>();
  std::memcpy(id.bytes.data(), raw.data(), raw.size());
  return id;
}
// Microseconds since 1970.
inline WallTime read_time(cbor::Reader& in) {
  const WallTime time{std::chrono::microseconds(in.integer())};
  if (time < WallTime{} || time >= time_end) in.fail("a time is not of the years 1970 to 9999");
  return in.good() ? time : WallTime{};
}

}  // namespace citadel::audit
