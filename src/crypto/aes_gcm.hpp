// AES-256-GCM (NIST SP 800-38D): encryption that also proves that neither the ciphertext nor the additional
// data were changed. The tag is 16 bytes and stands behind the ciphertext.
//
//   const AesGcmKey key = AesGcmKey::generate();
//   const std::string sealed = seal_random(key, as_bytes("row 7"), as_bytes("plaintext"));
//   const Result<std::string> plaintext = open_random(key, as_bytes("row 7"), as_bytes(sealed));
//
// A nonce is used once with a key: twice, and both texts and the key of the tag are given away. Random nonces
// are safe for 2^32 messages a key (SP 800-38D section 8.3); a key for each subject stays far below. Callable
// from any thread. Only open() and open_random() fail, with Code::corrupt, and then give nothing of the text.
#pragma once
#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace citadel::crypto {

inline constexpr std::size_t gcm_nonce_bytes = 12;
inline constexpr std::size_t gcm_tag_bytes = 16;
// What one call takes, of plaintext and of additional data (CHECK); above is a caller's bug.
inline constexpr std::size_t gcm_message_bytes_max = std::size_t{1} << 30;
using GcmNonce = std::array<std::byte, gcm_nonce_bytes>;

// Wiped when it goes, and when it is moved from: a moved-from key is all zeros, only good for assignment.
class AesGcmKey {
 public:
  static constexpr std::size_t size_bytes = 32;

  explicit AesGcmKey(std::span<const std::byte, size_bytes> bytes);
  static AesGcmKey generate();
  AesGcmKey(AesGcmKey&& other) noexcept;
  AesGcmKey& operator=(AesGcmKey&& other) noexcept;
  ~AesGcmKey();

  // For wrapping the key under another; valid as long as this object.
  std::span<const std::byte, size_bytes> bytes() const { return bytes_; }

 private:
  std::array<std::byte, size_bytes> bytes_{};
};

// ciphertext || tag
std::string seal(const AesGcmKey& key, const GcmNonce& nonce, Bytes additional, Bytes plaintext);
Result<std::string> open(const AesGcmKey& key, const GcmNonce& nonce, Bytes additional, Bytes sealed);

// nonce || ciphertext || tag, with a nonce from the kernel's generator
std::string seal_random(const AesGcmKey& key, Bytes additional, Bytes plaintext);
Result<std::string> open_random(const AesGcmKey& key, Bytes additional, Bytes sealed);

}  // namespace citadel::crypto
