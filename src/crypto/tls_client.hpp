// TlsClient: the client's side of TLS, without a socket: bytes go in and come out, and the caller carries
// them. TlsTrust: whose certificates are believed, read once and shared by any number of connections.
//
// TLS 1.2 or later, with the server's name in the hello (SNI) where it is one. The server's certificate must
// be valid now, be for `host`, and go back to one that is trusted.
//
//   CITADEL_ASSIGN(auto trust, TlsTrust::load("/etc/ssl/our-ca.pem"));
//   CITADEL_ASSIGN(auto tls, TlsClient::make(trust, "witness.example"));
//   for (;;) {
//     auto done = tls.handshake();
//     ...send tls.take(), which may be an alert where it failed...
//     if (!done || *done) break;
//     ...receive, tls.put(bytes)...
//   }
//
// Errors: permission_denied (the certificate; the message says what is wrong with it and what to do),
// connection_lost (what came is not TLS, or the other side gave up), invalid_argument (a file without
// certificates, a host that is no name). A TlsTrust may be used from any thread, a TlsClient from one at a
// time.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace citadel::crypto {

class TlsTrust {
 public:
  // `ca_file` is PEM; empty: those that the system trusts. Blocking file I/O.
  static Result<TlsTrust> load(const std::filesystem::path& ca_file);

 private:
  friend class TlsClient;
  friend class TlsStream;
  struct Impl;
  explicit TlsTrust(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

class TlsClient {
 public:
  // `host` is a name or an address.
  static Result<TlsClient> make(const TlsTrust& trust, const std::string& host);
  TlsClient(TlsClient&&) noexcept;
  TlsClient& operator=(TlsClient&&) noexcept;
  ~TlsClient();

  // What came from the other side.
  void put(std::string_view bytes);
  // What is to be sent to it; empty where there is nothing.
  std::string take();

  // Whether it is done; where not, more has to come.
  Result<bool> handshake();
  // After the handshake: what take() gives then has it in it.
  Result<void> write(std::string_view bytes);

  enum class Got : std::uint8_t { bytes, need_more, ended };
  struct Read {
    Got got = Got::need_more;
    std::size_t size = 0;
  };
  // Into `into`. `ended`: the other side has said, under TLS, that nothing more comes; the end of the
  // connection without it is anybody's doing.
  Result<Read> read(std::span<char> into);

 private:
  struct Impl;
  explicit TlsClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::crypto
