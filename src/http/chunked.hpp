// ChunkedDecoder: the chunked transfer coding of RFC 9112 §7.1, as bytes come. Pure. It consumes every byte
// it is given at once, so what it says does not depend on how the network cut them; the fuzzer holds it to
// that.
//
// Strict where servers that disagree let requests be smuggled: each line ends in CRLF, a size has digits and
// at most sixteen, nothing but an extension follows it. Extensions and trailer fields are checked and
// dropped.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace citadel::http {

class ChunkedDecoder {
 public:
  enum class Step : std::uint8_t { need_more, complete, malformed, too_large };

  // `line_bytes_max` holds for a chunk's size line and for the trailer as a whole.
  explicit ChunkedDecoder(std::size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

  // Before the first byte: the chunks together have at most this many, else too_large.
  void limit_body(std::size_t size_bytes_max) { body_bytes_left_ = size_bytes_max; }

  // Appends to `body`. After complete, malformed or too_large it is not fed again; `consumed` then ends
  // behind the byte that decided.
  Step decode(std::string_view input, std::size_t& consumed, std::string& body);

  // What is malformed, for people.
  std::string_view detail() const { return detail_; }

 private:
  enum class At : std::uint8_t {
    size,
    size_space,  // "bad whitespace" before an extension's semicolon
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer,  // at the beginning of a line
    trailer_name,
    trailer_value,
    trailer_lf,
    end_lf,
  };

  Step step(char c);
  Step size_digit(char c);
  Step size_ended();
  Step go(At next);
  Step malformed(std::string_view detail);

  std::size_t line_bytes_max_;
  At at_ = At::size;
  std::uint64_t size_ = 0;
  unsigned digits_ = 0;
  std::size_t line_bytes_ = 0;
  std::size_t body_bytes_left_ = 0;
  std::string_view detail_;
};

}  // namespace citadel::http
