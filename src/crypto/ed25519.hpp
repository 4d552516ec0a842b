// Ed25519 signatures (RFC 8032 section 5.1), without context or pre-hash.
//
//   const PrivateKey key = PrivateKey::generate();
//   const Signature signature = key.sign(as_bytes("text"));
//   verify(key.public_key(), as_bytes("text"), signature);   // true
//
// A signature is a function of key and message alone. Nothing here fails but verify(), whose false is an
// answer; where the library has no Ed25519 or no memory the process ends (CHECK). verify() and all const
// members may be called from any thread.
#pragma once
#include <array>
#include <compare>
#include <cstddef>
#include <memory>
#include <span>

#include "base/bytes.hpp"

namespace citadel::crypto {

struct PublicKey {
  static constexpr std::size_t size_bytes = 32;
  std::array<std::byte, size_bytes> bytes{};
  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
};

struct Signature {
  static constexpr std::size_t size_bytes = 64;
  std::array<std::byte, size_bytes> bytes{};
  friend auto operator<=>(const Signature&, const Signature&) = default;
};

// The memory that holds the key is wiped when the object goes. A moved-from key is only good for assignment.
class PrivateKey {
 public:
  static constexpr std::size_t seed_bytes = 32;
  using Seed = std::span<const std::byte, seed_bytes>;

  // The 32 bytes that RFC 8032 calls the private key; the caller wipes its own copy.
  explicit PrivateKey(Seed seed);
  static PrivateKey generate();
  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  const PublicKey& public_key() const;
  Signature sign(Bytes message) const;
  // For storing the key; valid as long as this object.
  Seed seed() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// False for a signature that is not of this message by this key, and for a key that is no point of the curve.
[[nodiscard]] bool verify(const PublicKey& key, Bytes message, const Signature& signature);

}  // namespace citadel::crypto
