#include "http/parser.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <optional>

#include "base/check.hpp"
#include "http/text.hpp"

namespace citadel::http {

namespace beast = boost::beast;
using beast::error_code;

namespace {

// A body's Content-Length is a promise; more memory than this waits for the bytes themselves.
constexpr std::uint64_t body_bytes_reserved_max = 1024 * 1024;

// What Beast's callbacks found, for one request.
struct Found {
  Request* request = nullptr;
  std::size_t content_lengths = 0;
  std::size_t hosts = 0;
  bool expects_continue = false;
  int status = 0;  // of a refusal
  std::string_view name;
  std::string_view detail;
};

class Reader final : public beast::http::basic_parser<true> {
 public:
  explicit Reader(Found& found, const Limits& limits) : found_(found), limits_(limits) {}

 private:
  void refuse(int status, std::string_view name, std::string_view detail, error_code& ec) {
    found_.status = status;
    found_.name = name;
    found_.detail = detail;
    ec = beast::http::error::bad_field;
  }

  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view raw, int version,
                       error_code&) override {
    std::string_view target = raw;
    auto& request = *found_.request;
    request.method = http::parse_method(method);
    request.http_1_1 = version == 11;
    // absolute-form: the authority is not ours to route by.
    if (!target.starts_with('/') && target != "*") {
      target.remove_prefix(std::string_view("http://").size());
      const auto path = target.find_first_of("/?");
      target = path == std::string_view::npos ? std::string_view() : target.substr(path);
      if (!target.starts_with('/')) request.target = "/";
    }
    request.target += target;
  }

  void on_response_impl(int, beast::string_view, int, error_code&) override {}

  void on_field_impl(beast::http::field field, beast::string_view name, beast::string_view value,
                     error_code& ec) override {
    auto& headers = found_.request->headers;
    if (headers.size() == limits_.header_count_max) {
      return refuse(431, "too_many_headers", "there are too many header fields", ec);
    }
    using enum beast::http::field;
    if (field == content_length) {
      const bool digits = std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; });
      if (++found_.content_lengths > 1 || !digits) {
        return refuse(400, "malformed", "Content-Length is not one number", ec);
      }
    } else if (field == transfer_encoding) {
      if (!equals_ignoring_case(value, "chunked")) {
        return refuse(501, "unsupported", "the only Transfer-Encoding is chunked", ec);
      }
      if (!found_.request->http_1_1) return refuse(400, "malformed", "HTTP/1.0 has no Transfer-Encoding", ec);
    } else if (field == host) {
      ++found_.hosts;
    } else if (field == expect) {
      if (!equals_ignoring_case(value, "100-continue")) {
        return refuse(417, "expectation_failed", "the only Expect is 100-continue", ec);
      }
      found_.expects_continue = found_.request->http_1_1;
    }
    headers.add(name, value);
  }

  void on_header_impl(error_code& ec) override {
    if (found_.hosts > 1 || (found_.hosts == 0 && found_.request->http_1_1)) {
      refuse(400, "malformed", "a request has one Host", ec);
    }
  }

  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}

  // The body never comes here: see RequestParser::parse_body.
  std::size_t on_body_impl(beast::string_view body, error_code&) override { return body.size(); }

  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}

  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, error_code&) override {
    return body.size();
  }

  void on_finish_impl(error_code&) override {}

  Found& found_;
  const Limits& limits_;
};

}  // namespace

class RequestParser::Beast {
 public:
  explicit Beast(const Limits& limits) : limits_(limits) { reset(); }
  void reset() {
    found = {};
    reader.emplace(found, limits_);
    reader->header_limit(static_cast<std::uint32_t>(limits_.header_bytes_max + 1));
    reader->body_limit(boost::none);
  }
  Found found;
  std::optional<Reader> reader;

 private:
  const Limits& limits_;
};

RequestParser::RequestParser(const Limits& limits)
    : limits_(limits), beast_(std::make_unique<Beast>(limits)), chunks_(limits.chunk_header_bytes_max) {}
RequestParser::~RequestParser() = default;

bool RequestParser::refuse(int status, std::string_view name, std::string detail) {
  refused_ = true;
  refusal_ = {status, name, std::move(detail)};
  return false;
}

RequestParser::Step RequestParser::parse(std::string_view input, std::size_t& consumed, Request& request) {
  consumed = 0;
  CITADEL_CHECK(!refused_, "a parser that refused is not fed again");
  if (head_bytes_ == 0) return parse_head(input, consumed, request);
  return parse_body(input, consumed, request.body);
}

RequestParser::Step RequestParser::parse_head(std::string_view input, std::size_t& consumed,
                                              Request& request) {
  if (!blank_skipped_ && input == "\r") return Step::need_more;
  if (!blank_skipped_ && scanned_ == 0 && input.starts_with("\r\n")) {
    blank_skipped_ = true;
    consumed = 2;
    input.remove_prefix(2);
  }
  const auto step = scan(input);
  if (step != Step::head) return step;
  auto& found = beast_->found;
  auto& reader = beast_->reader;
  found.request = &request;
  error_code ec;
  consumed += reader->put(boost::asio::buffer(input.data(), head_bytes_), ec);
  if (found.status != 0) {
    refuse(found.status, found.name, std::string(found.detail));
  } else if (ec || !reader->is_header_done()) {
    refuse(400, "malformed", fmt::format("the head of the request is malformed: {}", ec.message()));
  }
  if (refused_) return Step::refused;
  chunked_ = reader->chunked();
  body_bytes_left_ = reader->content_length().value_or(0);
  return Step::head;
}

// Goes on where the last call stopped, so a head that arrives byte by byte is read once.
RequestParser::Step RequestParser::scan(std::string_view input) {
  if (!input.empty() && line_begin_ == 0 && !is_token_char(input[0])) {
    refuse(400, "malformed", "this is not HTTP");
    return Step::refused;
  }
  for (;;) {
    const auto end = input.find('\n', scanned_);
    if (std::min(end, input.size()) >= limits_.header_bytes_max) {
      const bool target = line_begin_ == 0 && input.find(' ') < 32;
      target ? refuse(414, "target_too_long",
                      fmt::format("the target is over {} bytes", limits_.target_bytes_max))
             : refuse(431, "headers_too_large",
                      fmt::format("request line and header are over {} bytes", limits_.header_bytes_max));
      return Step::refused;
    }
    if (end == std::string_view::npos) {
      scanned_ = input.size();
      return Step::need_more;
    }
    if (end == line_begin_ || input[end - 1] != '\r') {
      refuse(400, "malformed", "a line does not end in CRLF");
      return Step::refused;
    }
    const auto line = input.substr(line_begin_, end - 1 - line_begin_);
    const bool first = line_begin_ == 0;
    scanned_ = line_begin_ = end + 1;
    if (first) {
      if (!accept_request_line(line)) return Step::refused;
    } else if (line.empty()) {
      head_bytes_ = end + 1;
      return Step::head;
    } else if (line[0] == ' ' || line[0] == '\t') {
      refuse(400, "malformed", "a header field is folded over lines");
      return Step::refused;
    }
  }
}

bool RequestParser::accept_request_line(std::string_view line) {
  const auto method = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(method.size() + 1, line.size()));
  const auto target = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(target.size() + 1, line.size()));
  const bool version = line.size() == 8 && line.starts_with("HTTP/") && line[5] >= '0' && line[5] <= '9' &&
                       line[6] == '.' && line[7] >= '0' && line[7] <= '9';
  if (method.empty() || !std::ranges::all_of(method, is_token_char) || !version) {
    return refuse(400, "malformed", "the request line is not 'METHOD target HTTP/1.1'");
  }
  if (line != "HTTP/1.1" && line != "HTTP/1.0") {
    return refuse(505, "version_not_supported", "this server speaks HTTP/1.1 and HTTP/1.0");
  }
  return accept_target(method, target);
}

bool RequestParser::accept_target(std::string_view method, std::string_view target) {
  if (target.size() > limits_.target_bytes_max) {
    return refuse(414, "target_too_long",
                  fmt::format("the target is over {} bytes", limits_.target_bytes_max));
  }
  const bool form =
      target.starts_with('/') || target.starts_with("http://") || (target == "*" && method == "OPTIONS");
  const bool plain = std::ranges::all_of(target, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
  if (!form || !plain) return refuse(400, "malformed", "the target is not a path");
  return true;
}

bool RequestParser::limit_body(std::size_t size_bytes_max) {
  if (body_bytes_left_ > size_bytes_max) {
    return refuse(413, "body_too_large", fmt::format("the body is over {} bytes", size_bytes_max));
  }
  chunks_.limit_body(size_bytes_max);
  return true;
}

RequestParser::Step RequestParser::parse_body(std::string_view input, std::size_t& consumed,
                                              std::string& body) {
  if (!chunked_) {
    consumed = std::min<std::uint64_t>(body_bytes_left_, input.size());
    if (body.empty()) body.reserve(std::min<std::uint64_t>(body_bytes_left_, body_bytes_reserved_max));
    body.append(input.substr(0, consumed));
    body_bytes_left_ -= consumed;
    return body_bytes_left_ == 0 ? Step::complete : Step::need_more;
  }
  switch (chunks_.decode(input, consumed, body)) {
    case ChunkedDecoder::Step::need_more:
      return Step::need_more;
    case ChunkedDecoder::Step::complete:
      return Step::complete;
    case ChunkedDecoder::Step::too_large:
      refuse(413, "body_too_large", "the body is larger than this route takes");
      return Step::refused;
    case ChunkedDecoder::Step::malformed:
      break;
  }
  refuse(400, "malformed", fmt::format("the body is malformed: {}", chunks_.detail()));
  return Step::refused;
}

bool RequestParser::has_body() const {
  return chunked_ || body_bytes_left_ > 0;
}
bool RequestParser::keep_alive() const {
  return beast_->reader->keep_alive();
}
bool RequestParser::expects_continue() const {
  return beast_->found.expects_continue;
}
bool RequestParser::in_head() const {
  return head_bytes_ == 0;
}

void RequestParser::reset() {
  scanned_ = line_begin_ = head_bytes_ = 0;
  blank_skipped_ = refused_ = chunked_ = false;
  body_bytes_left_ = 0;
  chunks_ = ChunkedDecoder(limits_.chunk_header_bytes_max);
  beast_->reset();
}

}  // namespace citadel::http
