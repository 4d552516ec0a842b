// What TlsStream and TlsClient have in common; for this room alone.
#pragma once
#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "base/error.hpp"
#include "crypto/tls_client.hpp"

namespace citadel::crypto {

using ContextPtr = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using SslPtr = std::unique_ptr<SSL, decltype(&SSL_free)>;

struct TlsTrust::Impl {
  ContextPtr context;
};

// OpenSSL's last error, which is taken from its queue.
std::string openssl_text();
// A session that is yet to be connected, and accepts certificates of `host` alone.
Result<SslPtr> make_ssl(SSL_CTX& context, const std::string& host);
// Why a call of OpenSSL failed: the certificate, or what OpenSSL says.
std::unexpected<Error> tls_failure(const SSL& ssl, std::string_view what);

}  // namespace citadel::crypto
