// Limits: how much of everything one connection may use. A request beyond one is answered with the status
// named here, and the connection closes.
#pragma once
#include <chrono>
#include <cstddef>

#include "base/clock.hpp"

namespace citadel::http {

struct Limits {
  std::size_t target_bytes_max = 8 * 1024;   // 414
  std::size_t header_bytes_max = 16 * 1024;  // request line and fields together: 431
  std::size_t header_count_max = 100;        // 431
  std::size_t query_parameters_max = 64;     // 400
  // What is held of a chunk's size line with its extensions, or of the trailer, until its end arrives: 400.
  std::size_t chunk_header_bytes_max = 1024;
  // Answers of pipelined requests that wait to be written together.
  std::size_t answer_bytes_batched_max = 64 * 1024;
  // A streamed answer is sent in pieces of at most this size, and each has write_time.
  std::size_t stream_piece_bytes_max = 64 * 1024;
  // What is read of pipelined requests while an answer is streamed. Beyond it the rest waits in the socket,
  // and that the client has gone is noticed by the next write only.
  std::size_t stream_input_bytes_max = 64 * 1024;
  // A whole answer below this is not compressed.
  std::size_t gzip_bytes_min = 1024;

  Monotonic::duration header_time = std::chrono::seconds(10);  // from a request's first byte: 408
  Monotonic::duration body_time = std::chrono::seconds(30);    // the whole body: 408
  Monotonic::duration idle_time = std::chrono::seconds(60);    // between requests: closed without an answer
  Monotonic::duration write_time = std::chrono::seconds(30);   // one answer, or one piece of a stream: closed
  // After an answer that closes, what the client still sends is read and dropped, so that it sees the answer.
  Monotonic::duration linger_time = std::chrono::seconds(1);
};

}  // namespace citadel::http
