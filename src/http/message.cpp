#include "http/message.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace citadel::http {
namespace {

constexpr std::size_t body_bytes_kept = 64 * 1024;

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

const Parameter* find_parameter(const std::vector<Parameter>& parameters, std::string_view name) {
  for (const auto& parameter : parameters) {
    if (parameter.name == name) return &parameter;
  }
  return nullptr;
}

}  // namespace

std::string_view to_string(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::delete_:
      return "DELETE";
    case Method::options:
      return "OPTIONS";
    case Method::other:
      break;
  }
  return "OTHER";
}

Method parse_method(std::string_view text) {
  for (const auto method : {Method::get, Method::post, Method::head, Method::put, Method::patch,
                            Method::delete_, Method::options}) {
    if (text == to_string(method)) return method;
  }
  return Method::other;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

void Headers::add(std::string_view name, std::string_view value) {
  entries_.push_back({static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(name.size()),
                      static_cast<std::uint32_t>(value.size())});
  text_.append(name).append(value);
}

void Headers::clear() {
  text_.clear();
  entries_.clear();
}

std::string_view Headers::name(std::size_t index) const {
  const auto& entry = entries_.at(index);
  return std::string_view(text_).substr(entry.begin, entry.name_size);
}

std::string_view Headers::value(std::size_t index) const {
  const auto& entry = entries_.at(index);
  return std::string_view(text_).substr(entry.begin + entry.name_size, entry.value_size);
}

std::optional<std::string_view> Headers::find(std::string_view wanted) const {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].name_size == wanted.size() && equals_ignoring_case(name(i), wanted)) return value(i);
  }
  return std::nullopt;
}

std::size_t Headers::count(std::string_view wanted) const {
  std::size_t found = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) found += equals_ignoring_case(name(i), wanted) ? 1 : 0;
  return found;
}

std::string_view Request::path() const {
  const std::string_view all = target;
  return all.substr(0, all.find('?'));
}

std::string_view Request::path_parameter(std::string_view name) const {
  const auto* found = find_parameter(path_parameters, name);
  return found ? std::string_view(found->value) : std::string_view();
}

std::optional<std::string_view> Request::query(std::string_view name) const {
  const auto* found = find_parameter(query_parameters, name);
  return found ? std::optional<std::string_view>(found->value) : std::nullopt;
}

Result<void> Request::allow_query(std::initializer_list<std::string_view> known) const {
  for (const auto& parameter : query_parameters) {
    if (std::find(known.begin(), known.end(), parameter.name) == known.end()) {
      const std::string there =
          known.size() == 0 ? "there are none" : fmt::format("there are: {}", fmt::join(known, ", "));
      return fail(Code::invalid_argument,
                  fmt::format("query parameter '{}' is not known; {}", parameter.name, there));
    }
  }
  return {};
}

std::string_view Request::trace_id() const {
  // "00-" comes first: is_traceparent() has looked at all of it.
  return traceparent.empty() ? std::string_view() : std::string_view(traceparent).substr(3, 32);
}

void Request::clear() {
  target.clear();
  route.clear();
  path_parameters.clear();
  query_parameters.clear();
  headers.clear();
  // One large body must not stay for the life of an idle connection.
  if (body.capacity() > body_bytes_kept) body = std::string();
  body.clear();
  request_id.clear();
  traceparent.clear();
  principal.clear();
  tenant.clear();
  tenant_id = 0;
  role.clear();
  key.clear();
  deadline = Deadline::at(MonotonicTime::max());
  http_1_1 = true;
}

Response Response::json(int status, std::string body) {
  return Response{status, "application/json", {}, std::move(body)};
}

Response Response::text(int status, std::string body) {
  return Response{status, "text/plain; charset=utf-8", {}, std::move(body)};
}

Response Response::streaming(std::string content_type, Stream stream) {
  return Response{200, std::move(content_type), {}, "", std::make_unique<Stream>(std::move(stream))};
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return "Unknown";
  }
}

}  // namespace citadel::http
