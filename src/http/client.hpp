// Client: one HTTP/1.1 connection, kept alive and opened again when needed. For our own commands, tests and
// load generator; no TLS, no redirects, no cookies.
//
//   Client client(executor, {.host = "127.0.0.1", .port = 8480, .api_key = key});
//   CITADEL_CO_ASSIGN(auto answer, co_await client.request(Method::get, "/v1/status", {}, "",
//   Deadline::after(5s)));
//
// One call at a time, on the executor. A status of 400 and above is an answer, not an Error. Errors:
// unavailable (cannot connect; names host and port), connection_lost (the answer did not arrive whole; the
// request may have been done), deadline_exceeded, corrupt (not HTTP, or beyond a limit). A request that finds
// its kept connection closed by the server before any byte of an answer is sent once more on a new one where
// the method is GET or HEAD.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aio/task.hpp"
#include "base/deadline.hpp"
#include "base/secret.hpp"
#include "http/message.hpp"

namespace citadel::http {

struct ClientOptions {
  std::string host = "127.0.0.1";  // a name or a literal
  std::uint16_t port = 8480;
  Secret api_key = {};  // sent as Authorization: Bearer; none where empty
  std::size_t response_header_bytes_max = 64 * 1024;
  std::size_t response_body_bytes_max = 64 * 1024 * 1024;
};

// "http://HOST[:PORT][/]" with [IPv6] in brackets; the port is 80 where none is given. invalid_argument for
// anything else.
Result<ClientOptions> parse_url(std::string_view url);

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
};

struct ClientRequest {
  Method method = Method::get;
  std::string target;
  std::vector<Parameter> headers;
  std::string body;
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
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace citadel::http
