// TlsStream: the client's side of TLS over a connected socket, for commands that send: blocking, each call by
// its Deadline. TLS 1.2 or later; the server's certificate must be valid for `host` and go back to one in
// `ca_file`, or the connection is not made (permission_denied says what is wrong with it).
//
//   CITADEL_ASSIGN(auto stream, TlsStream::connect(std::move(socket), {.host = "logs.example"}, deadline));
//   CITADEL_TRY(stream.write(bytes, deadline));
//   CITADEL_TRY(stream.finish(deadline));   // the other side has read it all, and closed
//
// Errors: connection_lost, deadline_exceeded; invalid_argument for a CA file that is none. Not thread-safe.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/deadline.hpp"
#include "base/error.hpp"
#include "base/file.hpp"

namespace citadel::crypto {

struct TlsOptions {
  std::string host;               // a name or an address
  std::filesystem::path ca_file;  // PEM; empty: those that the system trusts
};

class TlsStream {
 public:
  // The socket is made non-blocking.
  static Result<TlsStream> connect(UniqueFd socket, const TlsOptions& options, Deadline deadline);
  TlsStream(TlsStream&&) noexcept;
  TlsStream& operator=(TlsStream&&) noexcept;
  ~TlsStream();

  Result<void> write(std::string_view bytes, Deadline deadline);
  // Says that nothing more comes, and waits until the other side has closed too, and has got all of it.
  // connection_lost where it had closed before: it may not have read what was on the way.
  Result<void> finish(Deadline deadline);

 private:
  struct Impl;
  explicit TlsStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::crypto
