#include "crypto/hmac.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/check.hpp"

namespace citadel::crypto {
namespace {

struct FreeContext {
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MAC_CTX, FreeContext>;

// Fetched and given its digest once; each thread works with a copy of its own.
Context make_context() {
  static EVP_MAC* const algorithm = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  CITADEL_CHECK(algorithm != nullptr, "OpenSSL offers no HMAC");
  Context context(EVP_MAC_CTX_new(algorithm));
  CITADEL_CHECK(context != nullptr, "no memory for an HMAC");
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  CITADEL_CHECK(EVP_MAC_CTX_set_params(context.get(), parameters) == 1, "HMAC takes no SHA-256");
  return context;
}

const unsigned char* raw(Bytes bytes) {
  // A null key means to OpenSSL that the last one stays; an empty span may be null.
  static constexpr unsigned char nothing = 0;
  return bytes.empty() ? &nothing : reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

Digest hmac_sha256(Bytes key, Bytes message) {
  thread_local const Context context = make_context();
  CITADEL_CHECK(EVP_MAC_init(context.get(), raw(key), key.size(), nullptr) == 1, "HMAC does not start");
  CITADEL_CHECK(EVP_MAC_update(context.get(), raw(message), message.size()) == 1, "HMAC does not go on");
  Digest digest;
  std::size_t size = 0;
  CITADEL_CHECK(EVP_MAC_final(context.get(), reinterpret_cast<unsigned char*>(digest.data()), &size,
                              digest.size()) == 1 &&
                    size == digest.size(),
                "HMAC does not end");
  return digest;
}

bool equal_in_constant_time(Bytes left, Bytes right) {
  return left.size() == right.size() && CRYPTO_memcmp(raw(left), raw(right), left.size()) == 0;
}

}  // namespace citadel::crypto
