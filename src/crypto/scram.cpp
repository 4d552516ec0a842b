#include "crypto/scram.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/base64.hpp"
#include "base/check.hpp"
#include "crypto/hmac.hpp"

namespace citadel::crypto {

std::string scram_verifier(const Secret& password, Bytes salt, unsigned iterations) {
  const std::string_view text = password.reveal();
  CITADEL_CHECK(std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; }),
                "the password would change in SASLprep");
  CITADEL_CHECK(!salt.empty() && iterations > 0, "SCRAM needs a salt and an iteration");
  Digest salted;
  CITADEL_CHECK(
      PKCS5_PBKDF2_HMAC(text.data(), static_cast<int>(text.size()),
                        reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()),
                        static_cast<int>(iterations), EVP_sha256(), static_cast<int>(salted.size()),
                        reinterpret_cast<unsigned char*>(salted.data())) == 1,
      "OpenSSL offers no PBKDF2");
  auto client_key = hmac_sha256(salted, as_bytes("Client Key"));
  const auto server_key = hmac_sha256(salted, as_bytes("Server Key"));
  const auto stored_key = sha256(client_key);
  // Either would let whoever reads it log in.
  OPENSSL_cleanse(salted.data(), salted.size());
  OPENSSL_cleanse(client_key.data(), client_key.size());
  return fmt::format("SCRAM-SHA-256${}:{}${}:{}", iterations, to_base64(salt), to_base64(stored_key),
                     to_base64(server_key));
}

}  // namespace citadel::crypto
