#include "http/chunked.hpp"

#include <algorithm>

#include "base/hex_digit.hpp"
#include "http/text.hpp"

namespace citadel::http {
namespace {

constexpr unsigned size_digits_max = 16;  // 64 bits

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::go(At next) {
  at_ = next;
  return Step::need_more;
}

ChunkedDecoder::Step ChunkedDecoder::malformed(std::string_view detail) {
  detail_ = detail;
  return Step::malformed;
}

ChunkedDecoder::Step ChunkedDecoder::decode(std::string_view input, std::size_t& consumed,
                                            std::string& body) {
  consumed = 0;
  while (consumed < input.size()) {
    if (at_ == At::data) {
      const auto piece = input.substr(consumed, std::min<std::uint64_t>(size_, input.size() - consumed));
      body.append(piece);
      consumed += piece.size();
      size_ -= piece.size();
      if (size_ == 0) at_ = At::data_cr;
      continue;
    }
    if (const auto done = step(input[consumed++]); done != Step::need_more) return done;
  }
  return Step::need_more;
}

// One byte of framing.
ChunkedDecoder::Step ChunkedDecoder::step(char c) {
  if (++line_bytes_ > line_bytes_max_) return malformed("a chunk's size line or the trailer is too long");
  switch (at_) {
    case At::size:
      return size_digit(c);
    case At::size_space:
      if (c == ';') return go(At::extension);
      return c == ' ' || c == '\t' ? Step::need_more : malformed("a chunk's size is followed by text");
    case At::extension:
      if (c == '\r') return go(At::size_lf);
      return is_control(c) ? malformed("a chunk extension has a control character") : Step::need_more;
    case At::size_lf:
      return c == '\n' ? size_ended() : malformed("a chunk's size line does not end in CRLF");
    case At::data_cr:
      return c == '\r' ? go(At::data_lf) : malformed("a chunk is longer than its size");
    case At::data_lf:
      if (c != '\n') return malformed("a chunk does not end in CRLF");
      line_bytes_ = digits_ = 0;
      return go(At::size);
    case At::trailer:
      if (c == '\r') return go(At::end_lf);
      return is_token_char(c) ? go(At::trailer_name) : malformed("the trailer is not header fields");
    case At::trailer_name:
      if (c == ':') return go(At::trailer_value);
      return is_token_char(c) ? Step::need_more : malformed("the trailer is not header fields");
    case At::trailer_value:
      if (c == '\r') return go(At::trailer_lf);
      return is_control(c) ? malformed("a trailer field has a control character") : Step::need_more;
    case At::trailer_lf:
      return c == '\n' ? go(At::trailer) : malformed("a line of the trailer does not end in CRLF");
    case At::end_lf:
      return c == '\n' ? Step::complete : malformed("the chunked body does not end in CRLF");
    case At::data:
      break;
  }
  return malformed("");
}

ChunkedDecoder::Step ChunkedDecoder::size_digit(char c) {
  if (const int digit = hex_digit(c); digit >= 0) {
    if (++digits_ > size_digits_max) return malformed("a chunk's size has more than 16 digits");
    size_ = size_ * 16 + static_cast<unsigned>(digit);
    return Step::need_more;
  }
  if (digits_ == 0) return malformed("a chunk's size is not a hexadecimal number");
  if (c == '\r') return go(At::size_lf);
  if (c == ';') return go(At::extension);
  return c == ' ' || c == '\t' ? go(At::size_space) : malformed("a chunk's size is followed by text");
}

ChunkedDecoder::Step ChunkedDecoder::size_ended() {
  line_bytes_ = 0;
  if (size_ == 0) return go(At::trailer);
  if (size_ > body_bytes_left_) return Step::too_large;
  body_bytes_left_ -= size_;
  return go(At::data);
}

}  // namespace citadel::http
