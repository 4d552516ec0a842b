#include "http/answer_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace citadel::http {
namespace {

namespace beast = boost::beast;
using boost::system::error_code;

constexpr std::size_t chunk_line_bytes_max = 16 * 1024;
constexpr std::string_view head_end = "\r\n\r\n";

class Reader final : public beast::http::basic_parser<false> {
 public:
  explicit Reader(Headers& headers) : headers_(headers) {}
  int status = 0;

 private:
  void on_request_impl(beast::http::verb, beast::string_view, beast::string_view, int, error_code&) override {
  }
  void on_response_impl(int code, beast::string_view, int, error_code&) override { status = code; }
  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value,
                     error_code&) override {
    headers_.add(name, value);
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  // The body never comes here: no more than the head is put in.
  std::size_t on_body_impl(beast::string_view body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, error_code&) override {
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  Headers& headers_;
};

}  // namespace

AnswerReader::AnswerReader(Method method, const Limits& limits)
    : method_(method), limits_(limits), chunks_(chunk_line_bytes_max) {}

AnswerReader::Step AnswerReader::malformed(std::string detail) {
  detail_ = std::move(detail);
  return Step::malformed;
}

AnswerReader::Step AnswerReader::read(std::string_view input, std::size_t& consumed, std::string& body) {
  consumed = 0;
  switch (at_) {
    case At::head:
      return read_head(input, consumed);
    case At::no_body:
      return Step::complete;
    case At::chunked:
      return read_chunked(input, consumed, body);
    case At::sized:
    case At::until_close:
      break;
  }
  return read_sized(input, consumed, body);
}

AnswerReader::Step AnswerReader::read_head(std::string_view input, std::size_t& consumed) {
  for (;;) {
    const auto rest = input.substr(consumed);
    const auto end = rest.find(head_end, scanned_);
    // Of what has come, up to three bytes may belong to the end.
    const auto bytes =
        end != std::string_view::npos ? end : rest.size() - std::min<std::size_t>(rest.size(), 3);
    if (bytes > limits_.header_bytes_max) {
      return malformed(fmt::format("its header is over {} bytes", limits_.header_bytes_max));
    }
    if (end == std::string_view::npos) {
      scanned_ = bytes;
      return Step::need_more;
    }
    scanned_ = 0;
    headers_.clear();
    Reader reader(headers_);
    const auto size = end + head_end.size();
    reader.header_limit(static_cast<std::uint32_t>(size + 1));
    reader.body_limit(boost::none);
    error_code error;
    reader.put(asio::buffer(rest.data(), size), error);
    if ((error && error != beast::http::error::need_more) || !reader.is_header_done()) {
      return malformed(error.message());
    }
    consumed += size;
    status_ = reader.status;
    if (status_ / 100 == 1) continue;
    const bool bodiless = method_ == Method::head || status_ == 204 || status_ == 304;
    const auto length = reader.content_length();
    at_ = bodiless ? At::no_body : reader.chunked() ? At::chunked : length ? At::sized : At::until_close;
    keep_alive_ = reader.keep_alive() && at_ != At::until_close;
    body_left_ = at_ == At::sized ? *length : limits_.body_bytes_max;
    chunks_.limit_body(limits_.body_bytes_max);
    if (body_left_ > limits_.body_bytes_max) {
      return malformed(fmt::format("its body is over {} bytes", limits_.body_bytes_max));
    }
    return Step::head;
  }
}

AnswerReader::Step AnswerReader::read_sized(std::string_view input, std::size_t& consumed,
                                            std::string& body) {
  consumed = std::min<std::uint64_t>(body_left_, input.size());
  body.append(input.substr(0, consumed));
  body_left_ -= consumed;
  if (at_ == At::sized) return body_left_ == 0 ? Step::complete : Step::need_more;
  if (consumed == input.size()) return Step::need_more;
  return malformed(fmt::format("its body is over {} bytes", limits_.body_bytes_max));
}

AnswerReader::Step AnswerReader::read_chunked(std::string_view input, std::size_t& consumed,
                                              std::string& body) {
  switch (chunks_.decode(input, consumed, body)) {
    case ChunkedDecoder::Step::need_more:
      return Step::need_more;
    case ChunkedDecoder::Step::complete:
      return Step::complete;
    case ChunkedDecoder::Step::too_large:
      return malformed(fmt::format("its body is over {} bytes", limits_.body_bytes_max));
    case ChunkedDecoder::Step::malformed:
      break;
  }
  return malformed(std::string(chunks_.detail()));
}

AnswerReader::Step AnswerReader::finish() const {
  return at_ == At::until_close ? Step::complete : Step::need_more;
}

}  // namespace citadel::http
