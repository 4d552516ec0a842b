#include "http/problem.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.hpp"
#include "base/quote.hpp"

namespace citadel::http {
namespace {

std::string_view title_of(Code code) {
  switch (code) {
    case Code::invalid_argument:
      return "The request is not valid";
    case Code::not_found:
      return "Not found";
    case Code::conflict:
      return "It exists already with other content";
    case Code::constraint:
      return "A rule of the data refuses it";
    case Code::unauthenticated:
      return "No valid key";
    case Code::permission_denied:
      return "The key does not allow this";
    case Code::deadline_exceeded:
      return "Not done by the deadline";
    case Code::cancelled:
      return "Ended before it was done";
    case Code::overloaded:
      return "Too busy now";
    case Code::unavailable:
      return "A dependency is not available";
    case Code::connection_lost:
      return "The connection to the database broke";
    case Code::commit_unknown:
      return "Whether it was committed is not known";
    case Code::serialization_failure:
      return "Concurrent changes got in the way";
    case Code::deadlock:
      return "Concurrent changes got in the way";
    case Code::statement_timeout:
      return "The database did not answer in time";
    case Code::storage_full:
      return "No storage left";
    case Code::unsupported:
      return "Not supported";
    case Code::io_error:
    case Code::corrupt:
    case Code::internal:
      break;
  }
  return "An error of ours";
}

// What we ourselves broke says nothing of use to a client, and may say too much.
bool is_ours(Code code) {
  return code == Code::internal || code == Code::io_error || code == Code::corrupt;
}

// Whatever bytes a client has sent, an echo of them is a JSON string.
std::string quoted(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}

// "" where the message names none.
std::string_view field_of(std::string_view message) {
  if (const auto line = message.find(", /"); message.starts_with("line ") && line < 20)
    message.remove_prefix(line + 2);
  // What http::Request says of one that is not known, or is there twice.
  constexpr std::string_view parameter = "query parameter '";
  if (message.starts_with(parameter)) {
    message.remove_prefix(parameter.size());
    return message.substr(0, message.find('\''));
  }
  const auto field = message.substr(0, std::min(message.find(": "), message.size()));
  const bool is_one = field.size() < message.size() && field.find(' ') == std::string_view::npos;
  return is_one ? field : std::string_view();
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format(",{}:{}", quoted(name), quoted(value));
}

}  // namespace

int status_of(Code code) {
  switch (code) {
    case Code::invalid_argument:
      return 400;
    case Code::not_found:
      return 404;
    case Code::conflict:
      return 409;
    case Code::constraint:
      return 422;
    case Code::unauthenticated:
      return 401;
    case Code::permission_denied:
      return 403;
    case Code::deadline_exceeded:
    case Code::statement_timeout:
      return 504;
    case Code::cancelled:
    case Code::overloaded:
    case Code::unavailable:
    case Code::connection_lost:
    case Code::commit_unknown:
    case Code::serialization_failure:
    case Code::deadlock:
      return 503;
    case Code::storage_full:
      return 507;
    case Code::unsupported:
      return 501;
    case Code::io_error:
    case Code::corrupt:
    case Code::internal:
      break;
  }
  return 500;
}

Problem problem_of(const Error& error) {
  const int status = status_of(error.code);
  auto problem =
      make_problem(status, is_ours(error.code) ? "internal" : to_string(error.code), title_of(error.code),
                   is_ours(error.code) ? "The log has the reason under this request id." : error.message);
  const bool clients = error.code == Code::invalid_argument || error.code == Code::conflict ||
                       error.code == Code::permission_denied;
  if (const auto field = field_of(error.message); clients && !field.empty())
    problem.members.push_back({"field", std::string(field)});
  // A commit of unknown outcome must be looked up, not sent again after a pause.
  if (status == 503 && error.code != Code::commit_unknown) problem.retry_after = std::chrono::seconds(1);
  return problem;
}

Problem make_problem(int status, std::string_view name, std::string_view title, std::string detail) {
  return Problem{status,      fmt::format("/problems/{}", name), std::string(title), std::move(detail), {},
                 std::nullopt};
}

Response to_response(const Problem& problem, std::string_view instance) {
  std::string body = fmt::format("{{\"type\":{},\"title\":{},\"status\":{}", quoted(problem.type),
                                 quoted(problem.title), problem.status);
  if (!problem.detail.empty()) append_member(body, "detail", problem.detail);
  if (!instance.empty()) append_member(body, "instance", instance);
  for (const auto& [name, value] : problem.members) {
    if (const auto* text = std::get_if<std::string>(&value)) {
      append_member(body, name, *text);
    } else {
      body += fmt::format(",{}:{}", quoted(name), std::get<std::int64_t>(value));
    }
  }
  body += "}\n";
  Response response{problem.status, "application/problem+json", {}, std::move(body)};
  if (problem.retry_after)
    response.headers.push_back({"Retry-After", std::to_string(problem.retry_after->count())});
  if (problem.status == 401) {
    response.headers.push_back({"WWW-Authenticate", "Bearer realm=\"citadel\""});
  }
  return response;
}

Response problem_response(const Request& request, const Error& error) {
  if (is_ours(error.code)) {
    log::error("http", "a request failed by an error of ours",
               {{"request_id", request.request_id},
                {"trace_id", request.trace_id()},
                {"path", request.path()},
                {"error", error}});
  }
  return to_response(problem_of(error), request.request_id);
}

}  // namespace citadel::http
