// Request and Response: what a handler receives and what it gives back. Plain values; the server fills a
// Request and writes a Response, and tests make both by hand.
//
//   Task<Response> get_request(Request& request) {
//     const auto id = parse_uuid(request.path_parameter("id"));
//     if (!id) co_return problem_response(request, Error(Code::invalid_argument, "id: is not a UUID"));
//     co_return Response::json(200, body);
//   }
//
// A Request lives until its handler has ended, and the stream that it gave back, where it did; so
// string_views into it may be kept across a suspension, not longer.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "base/error.hpp"
#include "http/stream.hpp"

namespace citadel::http {

enum class Method : std::uint8_t { get, head, post, put, patch, delete_, options, other };

// "GET"; "OTHER" for a method that we do not know.
std::string_view to_string(Method method);
// Methods are case-sensitive (RFC 9110 §9.1).
Method parse_method(std::string_view text);

// Letters compare without case, as names of headers do.
bool equals_ignoring_case(std::string_view a, std::string_view b);

// The fields of a message, in order. One buffer holds all text, so a cleared Headers is filled again without
// allocating.
class Headers {
 public:
  void add(std::string_view name, std::string_view value);
  void clear();
  std::size_t size() const { return entries_.size(); }
  std::string_view name(std::size_t index) const;
  std::string_view value(std::size_t index) const;
  // The first field with this name, or nullopt.
  std::optional<std::string_view> find(std::string_view name) const;
  // The first field with this name, or "".
  std::string_view get(std::string_view name) const { return find(name).value_or(std::string_view()); }
  std::size_t count(std::string_view name) const;

 private:
  struct Entry {
    std::uint32_t begin;
    std::uint32_t name_size;
    std::uint32_t value_size;
  };
  std::string text_;
  std::vector<Entry> entries_;
};

// One decoded `key=value` of the query, or a `{name}` of the path with its value.
struct Parameter {
  std::string name;
  std::string value;
};

struct Request {
  Method method = Method::get;
  std::string target;                       // as received: path and query, still percent-encoded
  std::string route;                        // the pattern that matched, "/v1/requests/{id}"
  std::vector<Parameter> path_parameters;   // percent-decoded
  std::vector<Parameter> query_parameters;  // percent-decoded; no name occurs twice
  Headers headers;
  std::string body;         // gunzipped where Content-Encoding was gzip; a handler may move it away
  std::string request_id;   // the client's X-Request-Id where it is valid, else a fresh UUIDv7
  std::string traceparent;  // W3C trace context as received, "" where there is none
  std::string remote;       // the peer's address without its port
  std::string principal;    // who the authenticator says it is; "" on routes without authentication
  std::string tenant;       // the principal's, with its number in the database
  std::int32_t tenant_id = 0;
  std::string role;  // the principal's
  std::string key;   // what tells the key from others and may be shown: its prefix
  Deadline deadline = Deadline::at(MonotonicTime::max());
  bool http_1_1 = true;

  // The 32 digits of traceparent's trace id, for log lines; "" where there is none.
  std::string_view trace_id() const;
  // The target without its query.
  std::string_view path() const;
  // "" where the pattern has no such name.
  std::string_view path_parameter(std::string_view name) const;
  std::optional<std::string_view> query(std::string_view name) const;
  // invalid_argument, naming the first parameter that is not among `known`.
  Result<void> allow_query(std::initializer_list<std::string_view> known) const;
  // For reuse on the next request of a connection; memory is kept.
  void clear();
};

struct Response {
  int status = 200;
  std::string content_type;  // none is sent where this is empty
  std::vector<Parameter> headers;
  std::string body;
  std::unique_ptr<Stream> stream = {};  // in place of `body`: see stream.hpp

  static Response json(int status, std::string body);
  static Response text(int status, std::string body);                  // text/plain; charset=utf-8
  static Response streaming(std::string content_type, Stream stream);  // 200
};

// "Not Found"; "Unknown" for a status that we never send.
std::string_view reason_phrase(int status);

}  // namespace citadel::http
