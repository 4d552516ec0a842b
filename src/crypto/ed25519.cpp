#include "crypto/ed25519.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/check.hpp"
#include "base/random.hpp"

namespace citadel::crypto {
namespace {

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using Context = std::unique_ptr<EVP_MD_CTX, Free>;

const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* raw(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

Context make_context() {
  Context context(EVP_MD_CTX_new());
  CITADEL_CHECK(context != nullptr, "no memory for a signature");
  return context;
}

}  // namespace

struct PrivateKey::State {
  std::array<std::byte, seed_bytes> seed{};
  Key key;
  PublicKey public_key;

  ~State() { OPENSSL_cleanse(seed.data(), seed.size()); }
};

PrivateKey::PrivateKey(Seed seed) : state_(std::make_unique<State>()) {
  std::ranges::copy(seed, state_->seed.begin());
  state_->key.reset(
      EVP_PKEY_new_raw_private_key_ex(nullptr, "ED25519", nullptr, raw(seed.data()), seed.size()));
  CITADEL_CHECK(state_->key != nullptr, "OpenSSL takes no Ed25519 key");
  std::size_t size = PublicKey::size_bytes;
  CITADEL_CHECK(
      EVP_PKEY_get_raw_public_key(state_->key.get(), raw(state_->public_key.bytes.data()), &size) == 1 &&
          size == PublicKey::size_bytes,
      "an Ed25519 key without a public key");
}

PrivateKey PrivateKey::generate() {
  std::array<unsigned char, seed_bytes> seed;
  fill_secret_random(seed);
  PrivateKey key(std::as_bytes(std::span(seed)));
  OPENSSL_cleanse(seed.data(), seed.size());
  return key;
}

PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

const PublicKey& PrivateKey::public_key() const {
  return state_->public_key;
}

PrivateKey::Seed PrivateKey::seed() const {
  return state_->seed;
}

Signature PrivateKey::sign(Bytes message) const {
  const Context context = make_context();
  CITADEL_CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, state_->key.get()) == 1,
                "Ed25519 does not start");
  Signature signature;
  std::size_t size = Signature::size_bytes;
  CITADEL_CHECK(EVP_DigestSign(context.get(), raw(signature.bytes.data()), &size, raw(message.data()),
                               message.size()) == 1 &&
                    size == Signature::size_bytes,
                "Ed25519 does not sign");
  return signature;
}

bool verify(const PublicKey& key, Bytes message, const Signature& signature) {
  const Key parsed(EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, raw(key.bytes.data()),
                                                  PublicKey::size_bytes));
  CITADEL_CHECK(parsed != nullptr, "OpenSSL takes no Ed25519 public key");
  const Context context = make_context();
  CITADEL_CHECK(EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, parsed.get()) == 1,
                "Ed25519 does not start");
  return EVP_DigestVerify(context.get(), raw(signature.bytes.data()), Signature::size_bytes,
                          raw(message.data()), message.size()) == 1;
}

}  // namespace citadel::crypto
