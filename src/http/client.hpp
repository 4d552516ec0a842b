// Client: one HTTP/1.1 connection, kept alive and opened again when needed, by TLS where it is told whom to
// trust. For our own commands, witnesses, tests and the load generator; no redirects, no cookies.
//
//   Client client(executor, {.host = "127.0.0.1", .port = 8480, .api_key = key});
//   CITADEL_CO_ASSIGN(auto answer, co_await client.request(Method::get, "/v1/status", {}, "",
//   Deadline::after(5s)));
//
// One call at a time, on the executor. A status of 400 and above is an answer, not an Error. Errors:
// unavailable (cannot connect; names host and port), connection_lost (the answer did not arrive whole; the
// request may have been done), deadline_exceeded, corrupt (not HTTP, or beyond a limit), permission_denied
// (the server's certificate; see crypto/tls_client.hpp). A request that finds its kept connection closed by
// the server before any byte of an answer is sent once more on a new one where the method is GET or HEAD.
//
// A body that is large or endless is read piece by piece, in constant memory:
//
//   CITADEL_CO_ASSIGN(auto answer, co_await client.stream({.target = "/v1/audit/tail"},
//   Deadline::after(5s))); for (;;) {
//     CITADEL_CO_ASSIGN(auto piece, co_await answer.next(Deadline::after(60s)));
//     if (!piece) break;   // the whole answer has come
//     ...
//   }
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aio/task.hpp"
#include "base/deadline.hpp"
#include "base/secret.hpp"
#include "crypto/tls_client.hpp"
#include "http/message.hpp"

namespace citadel::http {

struct ClientOptions {
  std::string host = "127.0.0.1";  // a name or a literal
  std::uint16_t port = 8480;
  std::optional<crypto::TlsTrust> tls = {};  // https, with certificates of `host` that this one believes
  Secret api_key = {};                       // sent as Authorization: Bearer; none where empty
  std::size_t response_header_bytes_max = 64 * 1024;
  std::size_t response_body_bytes_max = 64 * 1024 * 1024;
};

// "http://HOST[:PORT][/]" with [IPv6] in brackets; the port is 80 where none is given. invalid_argument for
// anything else.
Result<ClientOptions> parse_url(std::string_view url);
// The same, or with https://, where the port is 443 if none is given, and ClientOptions::tls is still to be
// set.
struct UrlPlace {
  bool https = false;
  std::string host;
  std::uint16_t port = 0;
};
Result<UrlPlace> parse_http_or_https_url(std::string_view url);

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
};

struct ClientRequest {
  Method method = Method::get;
  std::string target;
  std::vector<Parameter> headers = {};
  std::string body = {};
};

// An answer whose body is still to be read. It uses the client's connection: the client's next call ends it,
// and to destroy it before its end closes the connection.
class AnswerStream {
 public:
  // No answer: only assigned to or destroyed.
  AnswerStream();
  AnswerStream(AnswerStream&&) noexcept;
  AnswerStream& operator=(AnswerStream&&) noexcept;
  ~AnswerStream();

  int status() const;
  const Headers& headers() const;

  // What has come of the body since the last call, never empty, or nullopt once all of it was given. A body
  // that broke off is connection_lost and never nullopt. After an error it is not called again (CHECK).
  Task<Result<std::optional<std::string>>> next(Deadline deadline);

 private:
  friend class Client;
  struct Reading;
  explicit AnswerStream(std::unique_ptr<Reading> reading);
  std::unique_ptr<Reading> reading_;
};

class Client {
 public:
  Client(Executor executor, ClientOptions options);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  Task<Result<ClientResponse>> request(ClientRequest request, Deadline deadline);
  Task<Result<ClientResponse>> request(Method method, std::string target, std::vector<Parameter> headers,
                                       std::string body, Deadline deadline);

  // Sends it and reads the head of its answer by the deadline `head`. response_body_bytes_max does not hold:
  // a piece is at most 64 KiB, and how many there may be is the caller's to say.
  Task<Result<AnswerStream>> stream(ClientRequest request, Deadline head);

  // Sends all in one write and reads the answers in order. Never sent again.
  Task<Result<std::vector<ClientResponse>>> pipeline(std::vector<ClientRequest> requests, Deadline deadline);

  // Sends `bytes`, which hold `count` whole requests, as they are, and counts answers by status class (index
  // 0 is 1xx). The cheapest way to load a server.
  struct Tally {
    std::size_t by_class[5] = {};
  };
  Task<Result<Tally>> pipeline_raw(std::string_view bytes, std::size_t count, Deadline deadline);

  // The bytes that request() would send.
  std::string encode(const ClientRequest& request) const;

  void close();

 private:
  friend class AnswerStream;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace citadel::http
