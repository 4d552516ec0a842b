#include "crypto/tls_stream.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>

#include <algorithm>
#include <csignal>

#include "base/socket.hpp"
#include "crypto/tls_openssl.hpp"

namespace citadel::crypto {

struct TlsStream::Impl {
  UniqueFd socket;
  TlsTrust trust;
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
      return tls_failure(*ssl, what);
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
  CITADEL_ASSIGN(auto trust, TlsTrust::load(options.ca_file));
  CITADEL_ASSIGN(auto ssl, make_ssl(*trust.impl_->context, options.host));
  if (SSL_set_fd(ssl.get(), socket.get()) != 1) return fail(Code::internal, openssl_text());
  TlsStream stream(std::make_unique<Impl>(std::move(socket), std::move(trust), std::move(ssl)));
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
