// Router: from method and path to a handler. Pure: no socket, no clock; read-only once the server has
// started, so any thread may match.
//
//   Router router;
//   router.add(Method::get, "/v1/requests/{id}", {.deadline = 5s}, get_request);
//
// The last segment of a pattern may be {name...}: it takes the rest of the path behind its '/', which may be
// empty, as it was sent: nothing in it is decoded. A fixed segment wins over a {parameter}. A path with a
// trailing slash is another path. HEAD is answered by GET's handler, without the body; OPTIONS and wrong
// methods are answered by the server from `allow`.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "aio/task.hpp"
#include "http/message.hpp"

namespace citadel::http {

using Handler = std::function<Task<Response>(Request&)>;

enum class Auth : std::uint8_t { required, none };

struct RouteOptions {
  Auth auth = Auth::required;
  std::size_t body_bytes_max = 64 * 1024;  // as received, and again after gunzip
  Monotonic::duration deadline = std::chrono::seconds(10);
  // A handler that never waits lets the server send several pipelined answers in one write.
  enum class Waits : std::uint8_t { yes, no } waits = Waits::yes;
  // Whether answers, whole or streamed, are sent with gzip to clients that accept it. A whole one is
  // compressed in one go on the connection's thread, so what is large should be a stream.
  enum class Gzip : std::uint8_t { no, accepted } gzip = Gzip::no;
  // head: neither the query nor the body's coding is looked at, for a route that is asked about a request of
  // somebody else's.
  enum class Reads : std::uint8_t { all, head } reads = Reads::all;
  Monotonic::duration stream_time_max = std::chrono::minutes(10);  // of a streamed answer, as a whole
};

struct Route {
  Method method;
  std::string pattern;
  RouteOptions options;
  Handler handler;
};

class Router {
 public:
  Router();
  ~Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;

  // A pattern is '/' and segments that are literals, {name} or, at its end, {name...}; a malformed or
  // repeated one is a bug (CHECK).
  void add(Method method, std::string_view pattern, RouteOptions options, Handler handler);

  struct NotFound {};
  struct WrongMethod {
    std::string allow;  // "GET, HEAD, OPTIONS"
  };
  using Match = std::variant<const Route*, NotFound, WrongMethod>;

  // Fills `path_parameters` and `route` of the request, whose target is a path with or without a query.
  // invalid_argument where a segment's percent-encoding, or what it decodes to, is not valid.
  Result<Match> match(Request& request) const;

  // Every route, in the order added; for documentation and metrics.
  std::vector<const Route*> routes() const;

 private:
  struct Node;
  std::unique_ptr<Node> root_;
  std::vector<std::unique_ptr<Route>> routes_;
};

}  // namespace citadel::http
