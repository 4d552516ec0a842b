#include "crypto/tls_stream.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <algorithm>
#include <csignal>

#include "base/socket.hpp"

namespace citadel::crypto {
namespace {

using ContextPtr = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using SslPtr = std::unique_ptr<SSL, decltype(&SSL_free)>;

std::string openssl_text() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "TLS failed" : reason;
}

bool is_address(const std::string& host) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, host.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

Result<ContextPtr> make_context(const TlsOptions& options) {
  ContextPtr context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1)
    return fail(Code::internal, openssl_text());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const bool loaded = options.ca_file.empty()
                          ? SSL_CTX_set_default_verify_paths(context.get()) == 1
                          : SSL_CTX_load_verify_file(context.get(), options.ca_file.c_str()) == 1;
  if (!loaded) {
    return fail(Code::invalid_argument, fmt::format("{}: no certificates can be read ({})",
                                                    options.ca_file.string(), openssl_text()));
  }
  return context;
}

}  // namespace

struct TlsStream::Impl {
  UniqueFd socket;
  ContextPtr context;
  SslPtr ssl;

  // Does `call` until it is done, waiting as TLS wants; the number that it gave, 0 where the other side has
  // ended.
  template <class F>
  Result<int> run(F call, Deadline deadline, std::string_view what) {
    for (;;) {
      ERR_clear_error();
      const int done = call(ssl.get());
      if (done > 0) return done;
      const int wants = SSL_get_error(ssl.get(), done);
      if (wants == SSL_ERROR_ZERO_RETURN) return 0;
      if (wants == SSL_ERROR_WANT_READ || wants == SSL_ERROR_WANT_WRITE) {
        CITADEL_TRY(
            wait_ready(socket.get(), wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline, what));
        continue;
      }
      const long verified = SSL_get_verify_result(ssl.get());
      if (verified != X509_V_OK) {
        return fail(Code::permission_denied,
                    fmt::format("the server's certificate: {}", X509_verify_cert_error_string(verified)));
      }
      return fail(Code::connection_lost, fmt::format("{}: {}", what, openssl_text()));
    }
  }
  // Reads until the other side's end; what comes before it is nothing to us.
  Result<void> read_end(Deadline deadline) {
    char ignored[4096];
    const auto read = [&](SSL* of) { return SSL_read(of, ignored, sizeof ignored); };
    for (int got = 1; got > 0;) {
      CITADEL_ASSIGN(got, run(read, deadline, "waiting for the other side to close"));
    }
    return {};
  }
};

TlsStream::TlsStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsStream::TlsStream(TlsStream&&) noexcept = default;
TlsStream& TlsStream::operator=(TlsStream&&) noexcept = default;
TlsStream::~TlsStream() = default;

Result<TlsStream> TlsStream::connect(UniqueFd socket, const TlsOptions& options, Deadline deadline) {
  if (::fcntl(socket.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, "make a socket non-blocking");
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  CITADEL_ASSIGN(auto context, make_context(options));
  SslPtr ssl(SSL_new(context.get()), SSL_free);
  if (!ssl || SSL_set_fd(ssl.get(), socket.get()) != 1) return fail(Code::internal, openssl_text());
  const bool named = is_address(options.host)
                         ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), options.host.c_str()) == 1
                         : SSL_set1_host(ssl.get(), options.host.c_str()) == 1 &&
                               SSL_set_tlsext_host_name(ssl.get(), options.host.c_str()) == 1;
  if (!named) return fail(Code::invalid_argument, fmt::format("{} is no host's name", options.host));
  TlsStream stream(std::make_unique<Impl>(std::move(socket), std::move(context), std::move(ssl)));
  CITADEL_ASSIGN(const int shaken, stream.impl_->run(SSL_connect, deadline, "the TLS handshake"));
  if (shaken == 0) return fail(Code::connection_lost, "the TLS handshake: the other side has closed");
  return stream;
}

Result<void> TlsStream::write(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const auto write = [&](SSL* ssl) {
      return SSL_write(ssl, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20)));
    };
    CITADEL_ASSIGN(const int written, impl_->run(write, deadline, "sending"));
    if (written == 0) return fail(Code::connection_lost, "sending: the other side has closed");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> TlsStream::finish(Deadline deadline) {
  // An end that is there before ours is no answer to it.
  const auto ended = impl_->read_end(Deadline::after(Monotonic::duration::zero()));
  if (ended) return fail(Code::connection_lost, "the other side closed before it was told of the end");
  if (ended.error().code != Code::deadline_exceeded) return ended;
  // 0 is: said, and not answered yet.
  const auto say = [](SSL* ssl) { return SSL_shutdown(ssl) < 0 ? -1 : 1; };
  CITADEL_TRY(impl_->run(say, deadline, "ending the connection"));
  // Only its word counts: the end of the TCP stream alone can be anybody's doing.
  CITADEL_TRY(impl_->read_end(deadline));
  return wait_delivered(impl_->socket.get(), deadline, "waiting for the other side to read all");
}

}  // namespace citadel::crypto
