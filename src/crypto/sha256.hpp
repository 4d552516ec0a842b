// SHA-256 (FIPS 180-4), of one piece or of many.
//
//   Digest all = sha256(bytes);
//   Sha256 hash;
//   hash.update(first).update(second);
//   Digest same = hash.finish();
//   Digest again = sha256_of_pieces({first, second});   // of pieces at hand, without an object
//
// The functions allocate nothing after a thread's first call. They may be called from any thread; one Sha256
// object belongs to one thread at a time. Nothing here can fail: where the library has no SHA-256 or no
// memory the process ends (CHECK), since no promise that rests on it could be kept.
#pragma once
#include <array>
#include <cstddef>
#include <initializer_list>
#include <memory>

#include "base/bytes.hpp"

namespace citadel::crypto {

inline constexpr std::size_t digest_bytes = 32;
using Digest = std::array<std::byte, digest_bytes>;

Digest sha256(Bytes bytes);
Digest sha256_of_pieces(std::initializer_list<Bytes> pieces);

class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();

  Sha256& update(Bytes bytes);
  // The digest of all that was given; the object then begins anew.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace citadel::crypto
