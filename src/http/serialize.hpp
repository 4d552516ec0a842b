// Serialize: a Response as bytes, head and body in one string. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "http/message.hpp"

namespace citadel::http {

// How the client finds the end of the body.
enum class Framing : std::uint8_t {
  sized,        // Content-Length, and the body follows the head
  chunked,      // the body is appended by the caller, in chunks
  until_close,  // HTTP/1.0 for a stream: the body follows as it is
};

struct AnswerOptions {
  bool keep_alive = true;
  bool http_1_1 = true;
  bool head_only = false;  // the answer to HEAD: Content-Length of the body, without it
  std::string_view request_id = {};
  std::string_view date = {};
  Framing framing = Framing::sized;
};

// Appends. Control characters in a header's value become spaces, so no value can begin another header.
void append_answer(const Response& response, const AnswerOptions& options, std::string& out);

// What stands before and behind a chunk of `size` bytes, which is not 0: that would be the last one.
std::string chunk_head(std::size_t size);
inline constexpr std::string_view chunk_tail = "\r\n";
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

}  // namespace citadel::http
