#include "cli/api_client.hpp"

#include <fmt/format.h>

#include "aio/run.hpp"
#include "app/config.hpp"
#include "base/file.hpp"
#include "json/parse.hpp"

namespace citadel::cli {
namespace {

constexpr json::ParseLimits answer_limits{.depth_max = 64, .size_bytes_max = 64 << 20};

Code code_of(int status) {
  switch (status) {
    case 400:
    case 413:
      return Code::invalid_argument;
    case 401:
      return Code::unauthenticated;
    case 403:
      return Code::permission_denied;
    case 404:
      return Code::not_found;
    case 409:
      return Code::conflict;
    case 503:
      return Code::unavailable;
    case 504:
      return Code::deadline_exceeded;
    case 507:
      return Code::storage_full;
    default:
      return Code::internal;
  }
}

}  // namespace

Result<ApiClient> ApiClient::open(const Context& context) {
  CITADEL_ASSIGN(auto options, http::parse_url(context.url));
  auto key = read_secret_file(context.key_file);
  // One that was named is wrong use; the other is there once `citadel up` has run.
  if (!key && key.error().code == Code::not_found &&
      context.key_file != app::default_data_folder(context.environment) / "admin.key")
    key.error().code = Code::invalid_argument;
  if (!key) return std::unexpected(std::move(key).error().in("API key: --key-file or CITADEL_KEY_FILE"));
  options.api_key = Secret(*std::move(key));
  ApiClient client;
  client.url_ = context.url;
  client.who_ = fmt::format("{} with the key in {}; another: --url, --key-file", context.url,
                            context.key_file.string());
  client.context_ = std::make_unique<boost::asio::io_context>(1);
  client.client_ = std::make_unique<http::Client>(client.context_->get_executor(), std::move(options));
  return client;
}

Result<http::ClientResponse> ApiClient::call(http::Method method, std::string target, std::string body,
                                             Deadline deadline, std::vector<http::Parameter> headers) {
  auto answer = aio::run(
      *context_, client_->request(method, std::move(target), std::move(headers), std::move(body), deadline));
  if (!answer) return std::unexpected(unreached(std::move(answer).error()));
  return answer;
}

Error ApiClient::unreached(Error error) const {
  if (error.code == Code::unavailable)
    error.message += fmt::format(": does the daemon run at {}? `citadel up` starts it; another: --url", url_);
  return error;
}

Error ApiClient::refusal(const http::ClientResponse& response) const {
  auto error = error_of(response);
  return error.code == Code::unauthenticated ? std::move(error).in(who_) : error;
}

Result<boost::json::value> ApiClient::post(std::string target, std::string body, Deadline deadline,
                                           std::vector<http::Parameter> headers) {
  if (headers.empty()) headers.push_back({"Content-Type", "application/json"});
  CITADEL_ASSIGN(const auto response,
                 call(http::Method::post, std::move(target), std::move(body), deadline, std::move(headers)));
  if (response.status >= 400) return std::unexpected(refusal(response));
  return json::parse(response.body, answer_limits);
}

namespace {

Task<Result<void>> read_pieces(const ApiClient& api, http::Client& client, http::ClientRequest request,
                               Deadline deadline, Monotonic::duration patience,
                               const ApiClient::OnPiece& on_piece) {
  auto begun = co_await client.stream(std::move(request), deadline);
  if (!begun) co_return std::unexpected(api.unreached(std::move(begun).error()));
  auto& answer = *begun;
  http::ClientResponse refused;
  refused.status = answer.status();
  for (;;) {
    CITADEL_CO_ASSIGN(const auto piece, co_await answer.next(Deadline::after(patience)));
    if (!piece) break;
    if (refused.status < 400) {
      CITADEL_CO_TRY(on_piece(*piece));
    } else if (refused.body.size() < answer_limits.size_bytes_max) {
      refused.body += *piece;
    }
  }
  if (refused.status >= 400) co_return std::unexpected(api.refusal(refused));
  co_return Result<void>();
}

}  // namespace

Result<void> ApiClient::stream(std::string target, Deadline deadline, Monotonic::duration patience,
                               const OnPiece& on_piece, std::vector<http::Parameter> headers) {
  http::ClientRequest request{.target = std::move(target), .headers = std::move(headers)};
  return aio::run(*context_, read_pieces(*this, *client_, std::move(request), deadline, patience, on_piece));
}

Result<std::string> ApiClient::fetch(std::string target, Deadline deadline) {
  CITADEL_ASSIGN(auto response, call(http::Method::get, std::move(target), "", deadline));
  if (response.status >= 400) return std::unexpected(refusal(response));
  return std::move(response.body);
}

Result<boost::json::value> ApiClient::get(std::string target, Deadline deadline) {
  CITADEL_ASSIGN(const auto body, fetch(std::move(target), deadline));
  return json::parse(body, answer_limits);
}

Error error_of(const http::ClientResponse& response) {
  std::string detail = fmt::format("the daemon answered with status {}", response.status);
  Code code = code_of(response.status);
  const auto problem = json::parse(response.body, answer_limits);
  if (problem && problem->is_object()) {
    const auto* const found = problem->get_object().if_contains("detail");
    if (found != nullptr && found->is_string()) detail = found->get_string();
    // The only 500 that is an answer: the daemon's log is not as it was written.
    const auto* const type = problem->get_object().if_contains("type");
    if (type != nullptr && *type == "/problems/audit_log_corrupt") code = Code::corrupt;
    if (type == nullptr) return Error(code, std::move(detail));
    Error error(code, std::move(detail));
    error.detail = response.body;
    return error;
  }
  return Error(code, std::move(detail));
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                            c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

}  // namespace citadel::cli
