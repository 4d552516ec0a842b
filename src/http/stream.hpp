// Stream: an answer's body that is made while it is sent, in constant memory. A handler gives it back in
// place of a body; the server runs it on the connection's executor and sends what it writes.
//
//   Task<Response> export_rows(Request& request) {
//     CITADEL_CO_ASSIGN(...)   // ask first what can fail: once a byte of the answer is out, its status stays
//     co_return Response::streaming(
//         "application/x-ndjson", {[pages = std::move(pages)](StreamWriter& out) mutable ->
//         Task<Result<void>> {
//           while (auto page = co_await pages.next()) CITADEL_CO_TRY(co_await out.write(*page));
//           co_return Result<void>();
//         }});
//   }
//
// The end. A body that returns success is whole. One that fails, throws, lets the client wait longer than
// `idle_time`, or runs longer than its route's `stream_time_max`, is cut: the client sees an answer that
// breaks off, never one that looks whole (over HTTP/1.0, too: its connection is reset), and the reason is
// logged. Where the client goes away or takes nothing for Limits::write_time, the body is cancelled.
//
// To be cancelled is what it is for any coroutine: the await under way fails with operation_aborted or what
// it makes of that, the next one throws, and destructors run. A client that closes its sending side counts
// as gone.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "aio/task.hpp"
#include "base/clock.hpp"

namespace citadel::http {

// What a body writes to; tests may make their own.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  // Returns once the bytes were handed to the system, so a body that waits for it is never ahead of its
  // client by more than the socket's buffers. `bytes` stay valid until then. One call at a time, from the
  // connection's executor (CHECK): do not pass a writer into aio::run_on. cancelled where nobody wants more:
  // end then.
  virtual Task<Result<void>> write(std::string_view bytes) = 0;
};

// Kept until its coroutine has ended, so that may use its captures. The Request lives as long.
using StreamBody = std::move_only_function<Task<Result<void>>(StreamWriter&)>;

struct Stream {
  // What the server does with it when it stops, and at stream_time_max.
  enum class Kind : std::uint8_t {
    finite,   // means something as a whole only: may end until the stop's deadline; cut at stream_time_max
    endless,  // whole after each write: ended in order at both. What is written goes out at once, gzip or not
  };
  StreamBody body;
  Kind kind = Kind::finite;
  // The longest wait for the next write; the body is then cancelled and the answer cut.
  Monotonic::duration idle_time = std::chrono::seconds(30);
};

}  // namespace citadel::http
