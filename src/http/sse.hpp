// Server-sent events (WHATWG HTML §9.2): a stream that serves them, and a parser for clients.
//
//   co_return event_response([after](Deadline deadline) mutable -> Task<Result<std::optional<Events>>> {
//     co_return co_await log.wait_after(after, deadline);   // what came by the deadline, or none
//   });
//
// An event source is asked again and again, each time with a Deadline; where nothing came by then, a comment
// is sent, so that proxies and clients see that the stream lives, and we see that the client does.
#pragma once
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "http/message.hpp"

namespace citadel::http {

struct Event {
  std::string id;    // written where not empty; as read, the last one that the stream gave
  std::string type;  // written where not empty; as read, "message" where the stream gave none
  std::string data;  // any number of lines; each line end becomes \n on its way
  friend bool operator==(const Event&, const Event&) = default;
};
using Events = std::vector<Event>;

// Appends. Control characters of id and type become spaces, so no value can begin another field.
void append_event(const Event& event, std::string& out);
// What a client skips.
void append_keep_alive(std::string& out);
// How long clients wait before they connect again.
void append_retry(std::chrono::milliseconds retry, std::string& out);

// The events that came by the deadline, in order; none where there were none by then; nullopt at the end of
// all. It is not asked again before these were sent, so it holds what it gives in bounds. An error cuts the
// stream.
using EventSource = std::move_only_function<Task<Result<std::optional<Events>>>(Deadline)>;

struct EventStreamOptions {
  Monotonic::duration keep_alive_time = std::chrono::seconds(15);
  Monotonic::duration source_grace = std::chrono::seconds(5);  // beyond its deadline; then the stream is cut
  std::optional<std::chrono::milliseconds> retry = {};
};

// 200 text/event-stream, not to be stored. Ends in order when the server stops and at the route's
// stream_time_max; clients then connect again with Last-Event-ID.
Response event_response(EventSource source, EventStreamOptions options = {});

// The client's Last-Event-ID; nullopt where it has none or an empty one. invalid_argument where there are
// several, where it is over 256 bytes, or holds what no id holds: control characters or bytes that are not
// UTF-8.
Result<std::optional<std::string>> last_event_id(const Request& request);

// From bytes to events, however the network cut them. Pure.
//
//   EventParser parser;
//   while (auto piece = ...) CITADEL_TRY(parser.feed(*piece, events));
class EventParser {
 public:
  // Of one event, from the end of the one before, its id and type included; comments count one line at a
  // time.
  static constexpr std::size_t event_bytes_max_default = 1024 * 1024;
  explicit EventParser(std::size_t event_bytes_max = event_bytes_max_default)
      : event_bytes_max_(event_bytes_max) {}

  // Appends the events that are complete. corrupt where one is larger than the limit; the parser is then not
  // fed again (CHECK). What follows the last blank line at the end of the stream is no event.
  Result<void> feed(std::string_view bytes, Events& out);

  // The last id of a complete event, for Last-Event-ID; "" where there was none.
  const std::string& last_id() const { return last_id_; }
  std::optional<std::chrono::milliseconds> retry() const { return retry_; }

 private:
  void end_line(Events& out);
  void take_field(std::string_view name, std::string_view value);

  std::size_t event_bytes_max_;
  std::string line_;  // what has come of it
  std::string data_;
  std::string type_;
  std::string id_;  // of the event that is being read
  std::string last_id_;
  std::optional<std::chrono::milliseconds> retry_;
  bool first_line_ = true;
  bool after_cr_ = false;  // a LF that follows belongs to it
  bool failed_ = false;
};

}  // namespace citadel::http
