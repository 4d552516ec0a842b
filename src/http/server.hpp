// Server: HTTP/1.1 on one TCP port, over the executors it is given.
//
//   Server server({runtime.executor(0), runtime.executor(1)}, {.listen = "127.0.0.1:8480"}, router,
//                 authenticator);
//   CITADEL_TRY(server.start());  // bound and listening; server.port() is known
//   CITADEL_CO_TRY(co_await server.stop(Deadline::after(10s)));
//
// start() and stop() are called once each, from any thread; stop() must have ended before destruction
// (CHECK). Handlers run on the executor of their connection, one after the other in a connection. A handler
// that has not ended at its route's deadline is cancelled (terminal) and answered with 504; so it should wait
// only on operations that can be cancelled. An exception becomes 500 and a log entry. A handler may give back
// a body that is made while it is sent: stream.hpp, sse.hpp.
//
// Refused without asking a handler: malformed or ambiguous framing (400), HTTP versions other than 1.0
// and 1.1 (505), and whatever passes a limit of ServerOptions. After such an answer the connection closes.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "aio/task.hpp"
#include "http/limits.hpp"
#include "http/message.hpp"
#include "http/router.hpp"

namespace citadel::http {

// Whether who shows this key, `Authorization: Bearer KEY` or `X-Api-Key: KEY`, may call this route, before
// the body is read. Fills the request's principal and tenant as soon as it knows them, also where it refuses:
// unauthenticated, permission_denied, or unavailable where it cannot know. Called on any executor, at once:
// it must not block.
using Authenticator = std::function<Result<void>(std::string_view key, const Route& route, Request& request)>;

// What one finished request was, for metrics and the audit trail. Views are valid during the call.
struct RequestSummary {
  Method method;
  std::string_view route;  // the pattern; "" where none matched
  int status;
  std::size_t request_bytes;   // the body, as received
  std::size_t response_bytes;  // the body, as sent: after gzip, without the framing of chunks
  Monotonic::duration took;    // from the request's last byte to its answer; of a stream, to its head
  // Of a streamed answer, which is reported at its end.
  Monotonic::duration streamed = {};
  enum class End : std::uint8_t { whole, cut } end = End::whole;
  std::string_view remote = {}, request_id = {}, path = {};
  std::string_view principal = {};         // "" where nobody knows who it was; also of a key that was refused
  std::string_view key = {}, tenant = {};  // the principal's, as of the request
};

// Counters that any thread may read while the server runs.
struct ServerStats {
  std::atomic<std::int64_t> connections_open = 0;
  std::atomic<std::uint64_t> connections_accepted = 0;
  std::atomic<std::uint64_t> connections_refused = 0;  // beyond connections_max
  std::atomic<std::uint64_t> requests = 0;
  std::atomic<std::uint64_t> requests_malformed = 0;  // refused by the parser or a limit
  std::atomic<std::uint64_t> timeouts = 0;            // 408, 504 and writes that did not end
  std::atomic<std::int64_t> streams_open = 0;
  std::atomic<std::uint64_t> streams_started = 0;
  std::atomic<std::uint64_t> streams_refused = 0;  // beyond streams_max
  std::atomic<std::uint64_t> streams_cut = 0;      // ended before they were whole, whoever's doing it was
};

struct ServerOptions {
  std::string listen = "127.0.0.1:8480";  // an IPv4 or [IPv6] literal or localhost, and a port; 0 picks one
  Limits limits = {};
  std::size_t connections_max = 10'000;
  std::size_t requests_per_connection_max = 1'000'000;
  std::size_t streams_max = 256;  // streamed answers at once; one more is answered with 503 and Retry-After
  Monotonic::duration slow = std::chrono::seconds(1);  // slower answers are logged at warning
  // Called on the connection's executor after each request; it must not block.
  std::function<void(const RequestSummary&)> on_request = {};
};

// Whether `listen` could be listened on now; the errors are those of Server::start().
Result<void> check_listen(const std::string& listen);

class Server {
 public:
  Server(std::vector<Executor> executors, ServerOptions options, Router router, Authenticator authenticator);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // invalid_argument for a listen address that cannot be read, conflict for a port in use, permission_denied,
  // …; each message says what to do.
  Result<void> start();
  // The port that is listened on.
  std::uint16_t port() const;
  const ServerStats& stats() const;

  // Closes the listener and idle connections at once, ends endless streams in order, lets requests under way
  // and finite streams finish until the deadline, then closes what is left and says so (deadline_exceeded).
  Task<Result<void>> stop(Deadline deadline);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace citadel::http
