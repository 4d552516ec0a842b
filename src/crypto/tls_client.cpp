#include "crypto/tls_client.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/check.hpp"
#include "crypto/tls_openssl.hpp"

namespace citadel::crypto {
namespace {

constexpr std::size_t piece_bytes_max = 1 << 20;

bool is_address(const std::string& host) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, host.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

std::string_view what_to_do(long verified) {
  switch (verified) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "use a name that stands in it, or have one made for this name";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "have it renewed, or set this machine's clock";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "name its issuer in the file of trusted CAs, where you trust it";
    default:
      return "have another one made";
  }
}

}  // namespace

std::string openssl_text() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "TLS failed" : reason;
}

Result<SslPtr> make_ssl(SSL_CTX& context, const std::string& host) {
  SslPtr ssl(SSL_new(&context), SSL_free);
  if (!ssl) return fail(Code::internal, openssl_text());
  const bool named = is_address(host)
                         ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host.c_str()) == 1
                         : SSL_set1_host(ssl.get(), host.c_str()) == 1 &&
                               SSL_set_tlsext_host_name(ssl.get(), host.c_str()) == 1;
  if (!named) return fail(Code::invalid_argument, fmt::format("{} is no host's name", host));
  return ssl;
}

std::unexpected<Error> tls_failure(const SSL& ssl, std::string_view what) {
  const long verified = SSL_get_verify_result(&ssl);
  if (verified == X509_V_OK) return fail(Code::connection_lost, fmt::format("{}: {}", what, openssl_text()));
  ERR_clear_error();
  return fail(Code::permission_denied,
              fmt::format("the server's certificate: {}; {}", X509_verify_cert_error_string(verified),
                          what_to_do(verified)));
}

Result<TlsTrust> TlsTrust::load(const std::filesystem::path& ca_file) {
  ContextPtr context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1)
    return fail(Code::internal, openssl_text());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const bool loaded = ca_file.empty() ? SSL_CTX_set_default_verify_paths(context.get()) == 1
                                      : SSL_CTX_load_verify_file(context.get(), ca_file.c_str()) == 1;
  if (!loaded) {
    return fail(Code::invalid_argument,
                fmt::format("{}: no certificates can be read ({})", ca_file.string(), openssl_text()));
  }
  return TlsTrust(std::make_shared<Impl>(std::move(context)));
}

struct TlsClient::Impl {
  TlsTrust trust;
  SslPtr ssl;
};

TlsClient::TlsClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsClient::TlsClient(TlsClient&&) noexcept = default;
TlsClient& TlsClient::operator=(TlsClient&&) noexcept = default;
TlsClient::~TlsClient() = default;

Result<TlsClient> TlsClient::make(const TlsTrust& trust, const std::string& host) {
  CITADEL_ASSIGN(auto ssl, make_ssl(*trust.impl_->context, host));
  BIO* const in = BIO_new(BIO_s_mem());
  BIO* const out = BIO_new(BIO_s_mem());
  CITADEL_CHECK(in != nullptr && out != nullptr, "there is memory");
  SSL_set_bio(ssl.get(), in, out);  // which owns them now
  SSL_set_connect_state(ssl.get());
  return TlsClient(std::make_unique<Impl>(trust, std::move(ssl)));
}

void TlsClient::put(std::string_view bytes) {
  BIO* const in = SSL_get_rbio(impl_->ssl.get());
  while (!bytes.empty()) {
    const auto piece = bytes.substr(0, piece_bytes_max);
    CITADEL_CHECK(
        BIO_write(in, piece.data(), static_cast<int>(piece.size())) == static_cast<int>(piece.size()),
        "a BIO in memory takes everything");
    bytes.remove_prefix(piece.size());
  }
}

std::string TlsClient::take() {
  BIO* const out = SSL_get_wbio(impl_->ssl.get());
  std::string bytes(BIO_ctrl_pending(out), '\0');
  if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

Result<bool> TlsClient::handshake() {
  ERR_clear_error();
  const int done = SSL_do_handshake(impl_->ssl.get());
  if (done == 1) return true;
  if (SSL_get_error(impl_->ssl.get(), done) == SSL_ERROR_WANT_READ) return false;
  return tls_failure(*impl_->ssl, "the TLS handshake");
}

Result<void> TlsClient::write(std::string_view bytes) {
  while (!bytes.empty()) {
    ERR_clear_error();
    const auto piece = bytes.substr(0, piece_bytes_max);
    const int written = SSL_write(impl_->ssl.get(), piece.data(), static_cast<int>(piece.size()));
    if (written <= 0) return tls_failure(*impl_->ssl, "sending by TLS");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<TlsClient::Read> TlsClient::read(std::span<char> into) {
  ERR_clear_error();
  const int got =
      SSL_read(impl_->ssl.get(), into.data(), static_cast<int>(std::min(into.size(), piece_bytes_max)));
  if (got > 0) return Read{Got::bytes, static_cast<std::size_t>(got)};
  switch (SSL_get_error(impl_->ssl.get(), got)) {
    case SSL_ERROR_ZERO_RETURN:
      return Read{Got::ended, 0};
    case SSL_ERROR_WANT_READ:
      return Read{Got::need_more, 0};
    default:
      return tls_failure(*impl_->ssl, "reading by TLS");
  }
}

}  // namespace citadel::crypto
