// HMAC-SHA-256 (RFC 2104, FIPS 198-1), and comparing in constant time. Callable from any thread; neither can
// fail (CHECK where the library has no HMAC or no memory).
#pragma once
#include "base/bytes.hpp"
#include "crypto/sha256.hpp"

namespace citadel::crypto {

// A key of any length, the empty one too; 32 random bytes are the right one.
Digest hmac_sha256(Bytes key, Bytes message);

// Whether both have the same bytes. The time depends on the lengths alone: use it for a code that a stranger
// sends.
[[nodiscard]] bool equal_in_constant_time(Bytes left, Bytes right);

}  // namespace citadel::crypto
