// What a Session knows of the answer that it streams. Internal to http.
#pragma once
#include <atomic>
#include <optional>
#include <string>

#include "http/gzip.hpp"
#include "http/session.hpp"

namespace citadel::http {

struct Session::Streaming {
  // Why the body was ended, where it did not end by itself.
  enum class End : std::uint8_t {
    none,
    client_gone,
    client_slow,  // took nothing for write_time
    idle,         // wrote nothing for idle_time
    time,         // stream_time_max
    refused,      // who asked may not any more
    stop,
  };

  explicit Streaming(const Stream& stream) : kind(stream.kind), idle_time(stream.idle_time) {}
  ~Streaming() {
    if (counter) --*counter;
  }
  Streaming(const Streaming&) = delete;
  Streaming& operator=(const Streaming&) = delete;

  void end_by(End reason) {
    if (end == End::none) end = reason;
  }
  // Whether the body may end here as if by itself.
  bool ends_in_order() const {
    return kind == Stream::Kind::endless && (end == End::stop || end == End::time) && !broken;
  }

  Stream::Kind kind;
  Monotonic::duration idle_time;
  Framing framing = Framing::chunked;
  MonotonicTime began_at = Monotonic::now();
  MonotonicTime allowed_at = began_at;           // when it was last known that who asked may
  MonotonicTime ends_at = MonotonicTime::max();  // stream_time_max
  std::atomic<std::int64_t>* counter = nullptr;  // streams_open, where this one was counted
  std::optional<GzipWriter> gzip;
  std::string packed;     // a piece after gzip
  std::size_t bytes = 0;  // of the body, sent
  End end = End::none;    // the first reason
  bool broken = false;    // a piece was not written whole
  bool whole = false;
};

}  // namespace citadel::http
