// Problem: every error answer, as RFC 9457 application/problem+json.
//
//   {"type":"/problems/invalid_argument","title":"The request is not valid","status":400,
//    "detail":"id: is not a UUID","instance":"<request id>","field":"id"}
//
// `type` is stable: clients decide on it. `detail` is Error::message; Error::where and Error::detail never
// leave, and neither does the message of a failure that is our own (internal, io_error, corrupt): its request
// id finds it in the log.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "http/message.hpp"

namespace citadel::http {

struct Problem {
  // An extension member: {"field", "model"}, {"limit", 65536}, {"line", 3}.
  struct Member {
    std::string name;
    std::variant<std::string, std::int64_t> value;
  };
  int status = 500;
  std::string type;  // "/problems/overloaded"
  std::string title;
  std::string detail;
  std::vector<Member> members;
  std::optional<std::chrono::seconds> retry_after;
};

// The status that a failure with this code is answered with.
int status_of(Code code);

// The problem that tells a client of `error`. 503s carry Retry-After. Of what a client sent, `field` names the
// field, parameter or header, where the message begins with it: "/3/actor/id: is missing", "line 4, /time: …",
// "limit: must …".
Problem problem_of(const Error& error);

// A problem without an Error behind it: `name` becomes the end of `type`.
Problem make_problem(int status, std::string_view name, std::string_view title, std::string detail);

// `instance` is the request id.
Response to_response(const Problem& problem, std::string_view instance);
inline Response problem_response(const Request& request, const Problem& problem) {
  return to_response(problem, request.request_id);
}
// An error of ours is logged with its reason under the request's id, which is all that the client is told.
Response problem_response(const Request& request, const Error& error);

}  // namespace citadel::http
