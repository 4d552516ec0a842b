#include "crypto/aes_gcm.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "base/check.hpp"
#include "base/random.hpp"

namespace citadel::crypto {
namespace {

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
// Freed, and with it wiped, after each call: no key stays behind.
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

enum class Direction : std::uint8_t { open, seal };

const unsigned char* raw(Bytes bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(char* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

// Begins a message and takes its additional data. OpenSSL's default nonce has our length.
Context begin(const AesGcmKey& key, const GcmNonce& nonce, Bytes additional, Direction direction) {
  static EVP_CIPHER* const algorithm = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  CITADEL_CHECK(algorithm != nullptr, "OpenSSL offers no AES-256-GCM");
  CITADEL_CHECK(additional.size() <= gcm_message_bytes_max, "too much additional data for one message");
  Context context(EVP_CIPHER_CTX_new());
  CITADEL_CHECK(context != nullptr, "no memory for a cipher");
  CITADEL_CHECK(EVP_CipherInit_ex2(context.get(), algorithm, raw(key.bytes()), raw(nonce),
                                   direction == Direction::seal ? 1 : 0, nullptr) == 1,
                "AES-GCM does not start");
  int size = 0;
  CITADEL_CHECK(additional.empty() || EVP_CipherUpdate(context.get(), nullptr, &size, raw(additional),
                                                       static_cast<int>(additional.size())) == 1,
                "AES-GCM takes no additional data");
  return context;
}

void transform(EVP_CIPHER_CTX* context, Bytes from, char* to) {
  if (from.empty()) return;
  int size = 0;
  CITADEL_CHECK(EVP_CipherUpdate(context, raw(to), &size, raw(from), static_cast<int>(from.size())) == 1 &&
                    static_cast<std::size_t>(size) == from.size(),
                "AES-GCM does not go on");
}

}  // namespace

AesGcmKey::AesGcmKey(std::span<const std::byte, size_bytes> bytes) {
  std::ranges::copy(bytes, bytes_.begin());
}

AesGcmKey AesGcmKey::generate() {
  std::array<unsigned char, size_bytes> bytes;
  fill_secret_random(bytes);
  AesGcmKey key(std::as_bytes(std::span(bytes)));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return key;
}

AesGcmKey::AesGcmKey(AesGcmKey&& other) noexcept : bytes_(other.bytes_) {
  OPENSSL_cleanse(other.bytes_.data(), size_bytes);
}

AesGcmKey& AesGcmKey::operator=(AesGcmKey&& other) noexcept {
  if (this != &other) {
    bytes_ = other.bytes_;
    OPENSSL_cleanse(other.bytes_.data(), size_bytes);
  }
  return *this;
}

AesGcmKey::~AesGcmKey() {
  OPENSSL_cleanse(bytes_.data(), size_bytes);
}

std::string seal(const AesGcmKey& key, const GcmNonce& nonce, Bytes additional, Bytes plaintext) {
  CITADEL_CHECK(plaintext.size() <= gcm_message_bytes_max, "too much plaintext for one message");
  const Context context = begin(key, nonce, additional, Direction::seal);
  std::string sealed(plaintext.size() + gcm_tag_bytes, '\0');
  transform(context.get(), plaintext, sealed.data());
  char* const tag = sealed.data() + plaintext.size();
  int size = 0;
  CITADEL_CHECK(EVP_CipherFinal_ex(context.get(), raw(tag), &size) == 1 && size == 0, "AES-GCM does not end");
  CITADEL_CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, gcm_tag_bytes, tag) == 1,
                "AES-GCM gives no tag");
  return sealed;
}

Result<std::string> open(const AesGcmKey& key, const GcmNonce& nonce, Bytes additional, Bytes sealed) {
  if (sealed.size() < gcm_tag_bytes || sealed.size() > gcm_message_bytes_max + gcm_tag_bytes) {
    return fail(Code::corrupt, "what was sealed has an impossible length");
  }
  const Bytes ciphertext = sealed.first(sealed.size() - gcm_tag_bytes);
  std::array<std::byte, gcm_tag_bytes> tag;
  std::ranges::copy(sealed.last<gcm_tag_bytes>(), tag.begin());
  const Context context = begin(key, nonce, additional, Direction::open);
  std::string plaintext(ciphertext.size(), '\0');
  transform(context.get(), ciphertext, plaintext.data());
  CITADEL_CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, gcm_tag_bytes, tag.data()) == 1,
                "AES-GCM takes no tag");
  int size = 0;
  unsigned char nothing = 0;
  if (EVP_CipherFinal_ex(context.get(), &nothing, &size) != 1) {
    OPENSSL_cleanse(plaintext.data(), plaintext.size());
    return fail(Code::corrupt, "sealed with another key or other additional data, or changed since");
  }
  return plaintext;
}

std::string seal_random(const AesGcmKey& key, Bytes additional, Bytes plaintext) {
  std::array<unsigned char, gcm_nonce_bytes> drawn;
  fill_secret_random(drawn);
  const auto nonce = std::bit_cast<GcmNonce>(drawn);
  return std::string(as_text(nonce)) + seal(key, nonce, additional, plaintext);
}

Result<std::string> open_random(const AesGcmKey& key, Bytes additional, Bytes sealed) {
  if (sealed.size() < gcm_nonce_bytes) {
    return fail(Code::corrupt, "what was sealed has an impossible length");
  }
  GcmNonce nonce;
  std::ranges::copy(sealed.first<gcm_nonce_bytes>(), nonce.begin());
  return open(key, nonce, additional, sealed.subspan(gcm_nonce_bytes));
}

}  // namespace citadel::crypto
