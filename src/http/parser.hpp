// RequestParser: from bytes to a Request, one after the other on a connection. Pure: the session feeds it,
// tests and the fuzzer too. Beast reads the fields; in front of it stands a scan that refuses what Beast lets
// pass or waits for (bare LF, obs-fold, lists in Content-Length, codings under Transfer-Encoding, other
// versions). The body is ours: what Beast 1.81 says of a chunked one depends on how the bytes were cut, and
// it aborts on some cuts.
//
//   for (;;) {
//     switch (parser.parse(unread, consumed, request)) {  // then drop `consumed` bytes of `unread`
//       case Step::need_more: ...read...
//       case Step::head: parser.limit_body(route.body_bytes_max); break;
//       case Step::complete: ...answer...; parser.reset(); break;
//       case Step::refused: ...answer parser.refusal(), close...
//     }
//   }
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "http/chunked.hpp"
#include "http/limits.hpp"
#include "http/message.hpp"

namespace citadel::http {

class RequestParser {
 public:
  enum class Step : std::uint8_t { need_more, head, complete, refused };
  struct Refusal {
    int status = 400;
    std::string_view name;  // the end of the problem's type
    std::string detail;
  };

  // `limits` outlives the parser.
  explicit RequestParser(const Limits& limits);
  ~RequestParser();

  // `input` is everything that came after the last consumed byte. After `refused` only refusal() may be
  // called.
  Step parse(std::string_view input, std::size_t& consumed, Request& request);

  // After Step::head, before the body: at most so many bytes, chunk framing not counted. False where the head
  // already tells of more; refusal() is then set.
  bool limit_body(std::size_t size_bytes_max);

  // From here on valid after Step::head.
  bool has_body() const;
  bool keep_alive() const;
  bool expects_continue() const;

  const Refusal& refusal() const { return refusal_; }
  // Whether bytes of a request have been consumed or scanned since the last reset.
  bool in_head() const;
  void reset();

 private:
  class Beast;
  Step scan(std::string_view input);
  bool accept_request_line(std::string_view line);
  bool accept_target(std::string_view method, std::string_view target);
  Step parse_head(std::string_view input, std::size_t& consumed, Request& request);
  Step parse_body(std::string_view input, std::size_t& consumed, std::string& body);
  bool refuse(int status, std::string_view name, std::string detail);

  const Limits& limits_;
  std::unique_ptr<Beast> beast_;
  ChunkedDecoder chunks_;
  Refusal refusal_;
  std::size_t scanned_ = 0;            // bytes of the head that hold no further line end
  std::size_t line_begin_ = 0;         // where the line that is being scanned begins
  std::size_t head_bytes_ = 0;         // 0 until the blank line was found
  std::uint64_t body_bytes_left_ = 0;  // of Content-Length
  bool chunked_ = false;
  bool blank_skipped_ = false;  // RFC 9112 §2.2: one empty line before a request is tolerated
  bool refused_ = false;
};

}  // namespace citadel::http
