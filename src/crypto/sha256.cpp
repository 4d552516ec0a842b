// OpenSSL marks these functions as deprecated; they are there in all of its versions 3, and use the same
// instructions. Its newer interface allocates for each digest and looks its algorithm up: for what the Merkle
// tree and the journal hash, a block or two at a time, that costs more than the hashing does.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/sha256.hpp"

#include <openssl/sha.h>

#include "base/check.hpp"

namespace citadel::crypto {
namespace {

void begin(SHA256_CTX& context) {
  CITADEL_CHECK(SHA256_Init(&context) == 1, "SHA-256 does not start");
}

void add(SHA256_CTX& context, Bytes bytes) {
  CITADEL_CHECK(SHA256_Update(&context, bytes.data(), bytes.size()) == 1, "SHA-256 does not go on");
}

Digest end(SHA256_CTX& context) {
  static_assert(digest_bytes == SHA256_DIGEST_LENGTH);
  Digest digest;
  CITADEL_CHECK(SHA256_Final(reinterpret_cast<unsigned char*>(digest.data()), &context) == 1,
                "SHA-256 does not end");
  return digest;
}

}  // namespace

Digest sha256(Bytes bytes) {
  return sha256_of_pieces({bytes});
}

Digest sha256_of_pieces(std::initializer_list<Bytes> pieces) {
  SHA256_CTX context;
  begin(context);
  for (const Bytes piece : pieces) add(context, piece);
  return end(context);
}

struct Sha256::State {
  SHA256_CTX context{};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  begin(state_->context);
}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

Sha256& Sha256::update(Bytes bytes) {
  add(state_->context, bytes);
  return *this;
}

Digest Sha256::finish() {
  const Digest digest = end(state_->context);
  begin(state_->context);
  return digest;
}

}  // namespace citadel::crypto
