// SyslogSender: framed messages over TCP (RFC 6587) or TLS (RFC 5425) to a receiver, blocking.
//
// Neither protocol has acknowledgements, and bytes that were written may never be read. finish() is the
// nearest to one that there is: we say that nothing more comes, and the receiver, having read all of it,
// closes. An end of its own that it sent before is no such word, nor is one while bytes of ours are on the
// way: that is connection_lost. What it does with what it read is its own.
//
// Errors: invalid_argument for a target that is none; unavailable where nobody listens; connection_lost,
// deadline_exceeded, permission_denied for a certificate. Not thread-safe.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/deadline.hpp"
#include "base/file.hpp"
#include "crypto/tls_stream.hpp"

namespace citadel::cli {

struct SyslogTarget {
  bool tls = false;
  std::string host;
  std::string port;
};
// tcp://HOST:PORT or tls://HOST:PORT, an IPv6 address in brackets; the ports are 601 and 6514 where none is
// given.
Result<SyslogTarget> parse_syslog_target(std::string_view text);

class SyslogSender {
 public:
  // `ca_file` is for TLS; empty: what the system trusts.
  SyslogSender(SyslogTarget target, std::filesystem::path ca_file)
      : target_(std::move(target)), ca_file_(std::move(ca_file)) {}

  Result<void> connect(Deadline deadline);
  // After connect().
  Result<void> send(std::string_view frames, Deadline deadline);
  Result<void> finish(Deadline deadline);

 private:
  Result<bool> read_end() const;

  SyslogTarget target_;
  std::filesystem::path ca_file_;
  UniqueFd socket_;
  std::optional<crypto::TlsStream> tls_;
};

}  // namespace citadel::cli
