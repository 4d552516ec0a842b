// AnswerReader: from bytes to one answer, as they come: first its head, then the pieces of its body. Pure,
// and what it says does not depend on how the bytes were cut. Beast reads the head, once it is whole; the
// body is ours (see parser.hpp). Interim answers (1xx) are skipped.
//
//   for (;;) {
//     switch (reader.read(unread, consumed, body)) {  // then drop `consumed` bytes of `unread`
//       case Step::need_more: ...receive, or reader.finish() where the connection has ended...
//       case Step::head: ...status() and headers() are there; read on...
//       case Step::complete: ...
//       case Step::malformed: ...detail()...
//     }
//   }
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "http/chunked.hpp"
#include "http/message.hpp"

namespace citadel::http {

class AnswerReader {
 public:
  enum class Step : std::uint8_t { need_more, head, complete, malformed };
  struct Limits {
    std::size_t header_bytes_max = 64 * 1024;
    std::uint64_t body_bytes_max = 64 * 1024 * 1024;  // of the whole body, whether it is kept or not
  };

  // `method` is the request's: an answer to HEAD has no body.
  AnswerReader(Method method, const Limits& limits);

  // Bytes of the body are appended to `body`, as many as there are: never more than `input` has. After
  // complete and malformed it is not called again.
  Step read(std::string_view input, std::size_t& consumed, std::string& body);
  // The connection has ended: complete where that is the end of the answer, else need_more.
  Step finish() const;

  // From Step::head on.
  int status() const { return status_; }
  const Headers& headers() const { return headers_; }
  Headers take_headers() { return std::move(headers_); }
  // Valid after complete: whether the connection may serve another request.
  bool keep_alive() const { return keep_alive_; }

  const std::string& detail() const { return detail_; }

 private:
  enum class At : std::uint8_t { head, no_body, sized, chunked, until_close };
  Step read_head(std::string_view input, std::size_t& consumed);
  Step read_sized(std::string_view input, std::size_t& consumed, std::string& body);
  Step read_chunked(std::string_view input, std::size_t& consumed, std::string& body);
  Step malformed(std::string detail);

  Method method_;
  Limits limits_;
  At at_ = At::head;
  std::size_t scanned_ = 0;      // bytes of the head that do not hold its end
  std::uint64_t body_left_ = 0;  // of Content-Length, or of the limit
  ChunkedDecoder chunks_;
  int status_ = 0;
  Headers headers_;
  bool keep_alive_ = false;
  std::string detail_;
};

}  // namespace citadel::http
