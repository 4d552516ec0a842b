// The HTTP API for commands: one blocking call at a time, with the key and the URL of the global options.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <memory>
#include <string>

#include "cli/context.hpp"
#include "http/client.hpp"

namespace citadel::cli {

class ApiClient {
 public:
  // invalid_argument for a URL that is none; the key file's own error where it cannot be read.
  static Result<ApiClient> open(const Context& context);

  // The answer, whatever its status. unavailable where nobody listens.
  Result<http::ClientResponse> call(http::Method method, std::string target, std::string body,
                                    Deadline deadline, std::vector<http::Parameter> headers = {});

  // GET; a body of any length, in pieces, as they come. The deadline is for the head, and each piece has
  // `patience`. The errors are those of get(), and of `on_piece`; connection_lost where the body broke off.
  using OnPiece = std::function<Result<void>(std::string_view piece)>;
  Result<void> stream(std::string target, Deadline deadline, Monotonic::duration patience,
                      const OnPiece& on_piece, std::vector<http::Parameter> headers = {});

  // POST of JSON, and the JSON of the answer.
  Result<boost::json::value> post(std::string target, std::string body, Deadline deadline,
                                  std::vector<http::Parameter> headers = {});

  // GET, and the bytes of the answer. The errors are those of get().
  Result<std::string> fetch(std::string target, Deadline deadline);

  // GET, and its JSON. A status of 400 and above is an Error with the problem's detail: 401 unauthenticated,
  // 404 not_found, 400 invalid_argument, 503 unavailable, else internal.
  Result<boost::json::value> get(std::string target, Deadline deadline);

  // error_of() an answer of this client's; where the key was refused, with the URL and the key's file.
  Error refusal(const http::ClientResponse& response) const;
  // Where nobody answered, what to look at.
  Error unreached(Error error) const;

 private:
  ApiClient() = default;
  std::string url_;
  std::string who_;  // the URL and the file of the key
  std::unique_ptr<boost::asio::io_context> context_;
  std::unique_ptr<http::Client> client_;
};

// What an answer with a status of 400 and above says. The error's `detail` is the problem (RFC 9457) as the
// daemon sent it, where it sent one.
Error error_of(const http::ClientResponse& response);

// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
std::string percent_encode(std::string_view text);

}  // namespace citadel::cli
