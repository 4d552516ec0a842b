#include "crypto/sha256.hpp"

#include <openssl/evp.h>

#include "base/check.hpp"

namespace citadel::crypto {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

// Fetched once: an implicit fetch at each digest takes a lock and costs more than hashing a small frame.
const EVP_MD* algorithm() {
  static EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  CITADEL_CHECK(fetched != nullptr, "OpenSSL offers no SHA-256");
  return fetched;
}

Context make_context() {
  Context context(EVP_MD_CTX_new());
  CITADEL_CHECK(context != nullptr, "no memory for a hash");
  return context;
}

void begin(EVP_MD_CTX* context) {
  CITADEL_CHECK(EVP_DigestInit_ex2(context, algorithm(), nullptr) == 1, "SHA-256 does not start");
}

void add(EVP_MD_CTX* context, Bytes bytes) {
  CITADEL_CHECK(EVP_DigestUpdate(context, bytes.data(), bytes.size()) == 1, "SHA-256 does not go on");
}

Digest end(EVP_MD_CTX* context) {
  Digest digest;
  unsigned size = 0;
  CITADEL_CHECK(EVP_DigestFinal_ex(context, reinterpret_cast<unsigned char*>(digest.data()), &size) == 1,
                "SHA-256 does not end");
  CITADEL_CHECK(size == digest.size(), "SHA-256 has another size");
  return digest;
}

}  // namespace

Digest sha256(Bytes bytes) {
  return sha256_of_pieces({bytes});
}

Digest sha256_of_pieces(std::initializer_list<Bytes> pieces) {
  thread_local const Context context = make_context();
  begin(context.get());
  for (const Bytes piece : pieces) add(context.get(), piece);
  return end(context.get());
}

struct Sha256::State {
  Context context = make_context();
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  begin(state_->context.get());
}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

Sha256& Sha256::update(Bytes bytes) {
  add(state_->context.get(), bytes);
  return *this;
}

Digest Sha256::finish() {
  const Digest digest = end(state_->context.get());
  begin(state_->context.get());
  return digest;
}

}  // namespace citadel::crypto
