// Leaf: the exact bytes that a log entry is, and the commitments in it. Deterministic CBOR (RFC 8949 §4.2.1),
// so that one entry has one encoding:
//
//   [1, id (bstr 16), producer (bstr 16), epoch, sequence, class, time_us, retention, [[g, C_g (bstr 32)],
//   …]] C_g = SHA-256("citadel/group/v1" || g:u8 || salt_g[32] || bytes_g)
//
// The groups are in the order of their number, the envelope (0) always there. Nothing personal is in a leaf.
// Pure; thread-safe.
#pragma once
#include <array>
#include <vector>

#include "audit/catalogue.hpp"
#include "audit/event.hpp"
#include "crypto/sha256.hpp"

namespace citadel::audit {

inline constexpr std::size_t salt_bytes = 32;
using Salt = std::array<std::byte, salt_bytes>;

struct Commitment {
  Group group = Group::envelope;
  crypto::Digest digest{};
  friend bool operator==(const Commitment&, const Commitment&) = default;
};

struct Leaf {
  Uuid id;
  Uuid producer;
  std::uint64_t epoch = 0;     // from 1
  std::uint64_t sequence = 0;  // from 1, without a gap in an epoch
  ActionClass action_class = ActionClass::operation;
  WallTime time;  // microseconds
  Retention retention = Retention::standard;
  std::vector<Commitment> commitments;
};

crypto::Digest commit(Group group, const Salt& salt, Bytes bytes);

std::string encode_leaf(const Leaf& leaf);
// corrupt where the bytes are not exactly what encode_leaf makes.
Result<Leaf> decode_leaf(Bytes bytes);

}  // namespace citadel::audit
