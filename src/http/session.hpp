// Session: one accepted connection, from its first byte to its close. Internal to http; Server makes them.
//
// A session is a loop over RequestParser's steps. It never sets a timer per operation: it writes down when it
// is due, and its shard's watchdog looks at all sessions a few times a second.
#pragma once
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "aio/gate.hpp"
#include "base/random.hpp"
#include "http/parser.hpp"
#include "http/serialize.hpp"
#include "http/server.hpp"

namespace citadel::http {

class Session;

// What all sessions of a server share; read-only but for `stats`. Outlives them.
struct Shared {
  ServerOptions options;
  Router router;
  Authenticator authenticator;
  ServerStats stats;
};

// The sessions of one executor; all calls come from it.
class Shard : public std::enable_shared_from_this<Shard> {
 public:
  Shard(Executor executor, std::shared_ptr<Shared> shared);

  const Executor& executor() const { return executor_; }
  void start();
  void adopt(asio::ip::tcp::socket socket);
  // From any thread: no new session, and no answer that keeps its connection alive.
  void announce_stop() { stopping_ = true; }
  // Idle connections close now, the others after the answer under way.
  void begin_stop();
  // Waits for them; what is left at the deadline is cut off, and that is deadline_exceeded.
  Task<Result<void>> finish_stop(Deadline deadline);

 private:
  friend class Session;
  Task<> watch();
  void refresh_date();

  Executor executor_;
  std::shared_ptr<Shared> shared_;
  aio::Gate sessions_gate_;
  aio::Gate background_;
  std::list<Session*> sessions_;
  SeededRandom random_;
  std::string date_;
  // Set for all shards before the first idle connection is closed, so that no answer after that promises to
  // keep its connection alive.
  std::atomic<bool> stopping_ = false;
};

class Session {
 public:
  Session(Shard& shard, asio::ip::tcp::socket socket);
  ~Session();

  static Task<> run(std::shared_ptr<Session> self);

  // The watchdog: acts where the session is due.
  void check_due(MonotonicTime now);
  void stop_when_idle();
  void abort();

 private:
  enum class Phase : std::uint8_t { idle, head, body, handling, streaming, writing, lingering };
  struct Streaming;  // what is known of the answer that is being streamed
  class Writer;      // what its body writes to

  Task<> serve();
  Task<> fill();
  Task<> begin_request();
  Task<> answer();
  Task<> call_handler(Response& response);
  Task<> refuse(int status, std::string_view name, std::string detail);
  Task<> flush();
  Task<> linger();
  std::optional<Response> route();
  std::optional<Response> authenticate();
  std::optional<Response> decode_body();
  void identify();
  // For streamed and compressed answers: session_stream.cpp.
  void prepare_stream(Response& response);
  RouteOptions::Gzip compress(Response& response);
  Task<> stream(Response& response, RouteOptions::Gzip gzip);
  Task<> run_body(Stream& stream);
  Task<> watch_client();
  Task<Result<void>> write_stream(std::string_view bytes);
  Task<Result<void>> send_piece(std::string_view piece);
  Task<> finish_stream();
  void cut_stream();
  void log_cut(const std::exception_ptr& thrown, const Result<void>& outcome);
  void stream_due(MonotonicTime now);
  void stop_stream();
  void wait_for_write();

  void append(const Response& response, bool keep_alive, Framing framing = Framing::sized);
  void report(const Response& response, const Streaming* streamed = nullptr);
  // Free bytes to read into, behind what is unread.
  asio::mutable_buffer room_to_read();
  void wait_in(Phase phase, MonotonicTime due);
  std::string_view unread() const { return std::string_view(in_).substr(in_begin_, in_end_ - in_begin_); }

  Shard& shard_;
  Shared& shared_;
  asio::ip::tcp::socket socket_;
  asio::cancellation_signal cancel_;
  std::list<Session*>::iterator place_;
  RequestParser parser_;
  Request request_;
  const Route* route_ = nullptr;
  std::optional<Response> early_;  // the answer, where the head alone decides it
  std::string in_;                 // unread bytes are [in_begin_, in_end_)
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
  std::string out_;
  std::unique_ptr<Streaming> streaming_;  // only while an answer is streamed
  std::size_t body_bytes_ = 0;
  std::size_t requests_ = 0;
  Phase phase_ = Phase::idle;
  MonotonicTime due_ = MonotonicTime::max();
  MonotonicTime read_due_ = MonotonicTime::max();  // of the head or the body that is being read
  MonotonicTime complete_at_{};
  bool open_ = true;
  bool lingers_ = false;
  bool timed_out_ = false;
  bool aborted_ = false;
};

}  // namespace citadel::http
