// Streamed and compressed answers: the part of Session for stream.hpp.
//
// The body's coroutine runs beside one that watches the client; the first of them to end cancels the other,
// and the session goes on when both have. As everywhere in a session, the shard's watchdog keeps the times.
#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "base/check.hpp"
#include "base/log.hpp"
#include "http/problem.hpp"
#include "http/session_streaming.hpp"
#include "http/text.hpp"

namespace citadel::http {
namespace {

constexpr auto refused_retry_after = std::chrono::seconds(5);
// A stream may go on for hours, and a key end meanwhile.
constexpr auto allowed_time = std::chrono::seconds(1);

const auto tuple = asio::as_tuple(asio::use_awaitable);

bool has_body(const Request& request, const Response& response) {
  return request.method != Method::head && response.status != 204 && response.status != 304;
}

bool is_encoded(const Response& response) {
  return std::ranges::any_of(response.headers, [](const Parameter& header) {
    return equals_ignoring_case(header.name, "Content-Encoding");
  });
}

std::unexpected<Error> not_wanted() {
  return fail(Code::cancelled, "nobody wants more of this stream");
}

// What a body throws before its first suspension ends where what it throws later does.
Task<Result<void>> call(StreamBody& body, StreamWriter& writer) {
  co_return co_await body(writer);
}

}  // namespace

class Session::Writer final : public StreamWriter {
 public:
  explicit Writer(Session& session) : session_(session) {}
  Task<Result<void>> write(std::string_view bytes) override { return session_.write_stream(bytes); }

 private:
  Session& session_;
};

// Makes room for one more stream, or an answer that says that there is none.
void Session::prepare_stream(Response& response) {
  auto& stats = shared_.stats;
  auto state = std::make_unique<Streaming>(*response.stream);
  if (has_body(request_, response)) {
    state->counter = &stats.streams_open;
    if (++stats.streams_open > static_cast<std::int64_t>(shared_.options.streams_max)) {
      ++stats.streams_refused;
      auto problem = make_problem(503, "overloaded", "Too busy now", "there are too many streams");
      problem.retry_after = refused_retry_after;
      response = problem_response(request_, problem);
      return;
    }
    ++stats.streams_started;
  }
  if (!request_.http_1_1) state->framing = Framing::until_close;
  state->ends_at = state->began_at + route_->options.stream_time_max;
  streaming_ = std::move(state);
}

// A stream is compressed while it is sent; here it is only said.
RouteOptions::Gzip Session::compress(Response& response) {
  using enum RouteOptions::Gzip;
  if (is_encoded(response)) return no;
  if (!response.stream && response.body.size() < shared_.options.limits.gzip_bytes_min) return no;
  response.headers.push_back({"Vary", "Accept-Encoding"});
  if (!accepts_gzip(request_.headers)) return no;
  response.headers.push_back({"Content-Encoding", "gzip"});
  if (!response.stream) response.body = gzip(response.body);
  return accepted;
}

Task<> Session::stream(Response& response, RouteOptions::Gzip gzip) {
  if (!has_body(request_, response)) {
    response.stream.reset();
    append(response, open_, streaming_->framing);
    streaming_->whole = true;
  } else {
    if (streaming_->framing == Framing::until_close) open_ = false;
    if (gzip == RouteOptions::Gzip::accepted) streaming_->gzip.emplace();
    append(response, open_, streaming_->framing);
    co_await flush();
    if (aborted_) streaming_->end_by(Streaming::End::client_gone);
    if (shard_.stopping_) stop_stream();
    co_await run_body(*response.stream);
    response.stream.reset();
  }
  report(response, streaming_.get());
  streaming_.reset();
}

Task<> Session::run_body(Stream& stream) {
  std::exception_ptr thrown;
  Result<void> outcome;
  if (streaming_->end == Streaming::End::none) {
    Writer writer(*this);
    const auto executor = socket_.get_executor();
    wait_for_write();
    auto [order, failed, result, watch_failed] =
        co_await asio::experimental::make_parallel_group(
            asio::co_spawn(executor, call(stream.body, writer), asio::deferred),
            asio::co_spawn(executor, watch_client(), asio::deferred))
            .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
    due_ = MonotonicTime::max();
    thrown = failed;
    outcome = std::move(result);
    // The watchdog may have ended the body, not the connection.
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  }
  const bool by_itself = streaming_->end == Streaming::End::none && !thrown && outcome;
  if (!aborted_ && (by_itself || streaming_->ends_in_order())) co_await finish_stream();
  if (streaming_->whole) co_return;
  log_cut(thrown, outcome);
  cut_stream();
}

// Notices that the client has gone while the body waits. What it sends meanwhile are requests for later.
Task<> Session::watch_client() {
  const auto bytes_max = shared_.options.limits.stream_input_bytes_max;
  while (in_end_ - in_begin_ < bytes_max) {
    const auto [stopped] = co_await socket_.async_wait(asio::ip::tcp::socket::wait_read, tuple);
    if (stopped) co_return;
    boost::system::error_code error;
    const auto room = asio::buffer(room_to_read(), bytes_max - (in_end_ - in_begin_));
    in_end_ += socket_.read_some(room, error);
    if (!error || error == asio::error::would_block) continue;
    streaming_->end_by(Streaming::End::client_gone);
    co_return;
  }
  asio::steady_timer never(socket_.get_executor(), MonotonicTime::max());
  co_await never.async_wait(tuple);
}

void Session::wait_for_write() {
  wait_in(Phase::streaming, std::min(Monotonic::now() + streaming_->idle_time, streaming_->ends_at));
}

Task<Result<void>> Session::write_stream(std::string_view bytes) {
  CITADEL_CHECK(co_await asio::this_coro::executor == socket_.get_executor(),
                "a stream is written from its connection's executor");
  CITADEL_CHECK(phase_ == Phase::streaming, "a stream is written by one at a time");
  auto& state = *streaming_;
  const auto now = Monotonic::now();
  if (now >= state.ends_at) state.end_by(Streaming::End::time);
  if (route_->options.auth == Auth::required && now - state.allowed_at >= allowed_time) {
    state.allowed_at = now;
    if (authenticate()) state.end_by(Streaming::End::refused);
  }
  if (state.end != Streaming::End::none) co_return not_wanted();
  bool waited = false;
  while (!bytes.empty()) {
    auto piece = bytes.substr(0, shared_.options.limits.stream_piece_bytes_max);
    bytes.remove_prefix(piece.size());
    if (state.gzip) {
      const bool at_once = state.kind == Stream::Kind::endless && bytes.empty();
      state.packed.clear();
      state.gzip->add(piece, at_once ? GzipWriter::Flush::now : GzipWriter::Flush::later, state.packed);
      piece = state.packed;
    }
    if (piece.empty()) continue;
    CITADEL_CO_TRY(co_await send_piece(piece));
    waited = true;
  }
  // A body that never waits must not keep the others on this thread waiting.
  if (!waited) co_await asio::post(socket_.get_executor(), asio::use_awaitable);
  wait_for_write();
  if (state.end != Streaming::End::none) co_return not_wanted();
  co_return Result<void>();
}

// Never in one go with write_some, as flush() does: a fast client would keep the thread to itself.
Task<Result<void>> Session::send_piece(std::string_view piece) {
  const bool chunked = streaming_->framing == Framing::chunked;
  const auto head = chunked ? chunk_head(piece.size()) : std::string();
  const std::array buffers{asio::buffer(head), asio::buffer(piece),
                           asio::buffer(chunked ? chunk_tail : std::string_view())};
  wait_in(Phase::writing, Monotonic::now() + shared_.options.limits.write_time);
  const auto [error, size] = co_await asio::async_write(socket_, buffers, tuple);
  wait_for_write();
  if (error) {
    streaming_->broken = true;
    streaming_->end_by(Streaming::End::client_gone);
    co_return not_wanted();
  }
  streaming_->bytes += piece.size();
  co_return Result<void>();
}

Task<> Session::finish_stream() {
  const bool chunked = streaming_->framing == Framing::chunked;
  if (streaming_->gzip) {
    auto& packed = streaming_->packed;
    packed.clear();
    streaming_->gzip->finish(packed);
    streaming_->bytes += packed.size();
    if (chunked) out_ += chunk_head(packed.size());
    out_ += packed;
    if (chunked) out_ += chunk_tail;
  }
  if (chunked) out_ += last_chunk;
  co_await flush();
  if (aborted_) streaming_->end_by(Streaming::End::client_gone);
  streaming_->whole = !aborted_;
}

// Without its last chunk a chunked body is seen to be cut. One that ends with its connection is so only where
// the connection is reset.
void Session::cut_stream() {
  ++shared_.stats.streams_cut;
  aborted_ = true;
  open_ = lingers_ = false;
  out_.clear();
  boost::system::error_code ignored;
  if (streaming_->framing == Framing::until_close) {
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  }
  socket_.close(ignored);
}

// A client that leaves is nothing to report: it is how streams of events end.
void Session::log_cut(const std::exception_ptr& thrown, const Result<void>& outcome) {
  using End = Streaming::End;
  const auto end = streaming_->end;
  const bool ours = end == End::none || end == End::idle || end == End::time || end == End::refused;
  if (!ours && !log::enabled(log::Level::debug)) return;
  std::string reason = end == End::client_gone   ? "the client has gone"
                       : end == End::client_slow ? "the client takes nothing"
                       : end == End::idle        ? "its source wrote nothing for too long"
                       : end == End::time        ? "it took longer than its route allows"
                       : end == End::refused     ? "who asked for it may not any more"
                       : end == End::stop        ? "the server stops"
                       : outcome                 ? "its source threw"
                                                 : outcome.error().to_string();
  if (end == End::none && thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      reason = std::string("its source threw: ") + error.what();
    }
  }
  log::write(ours ? log::Level::warning : log::Level::debug, "http", "a streamed answer was cut",
             {{"reason", reason},
              {"request_id", request_.request_id},
              {"route", request_.route},
              {"bytes", streaming_->bytes}});
}

void Session::stream_due(MonotonicTime now) {
  streaming_->end_by(now >= streaming_->ends_at ? Streaming::End::time : Streaming::End::idle);
  cancel_.emit(asio::cancellation_type::terminal);
}

// While a piece is being written, that write sees it when it is done.
void Session::stop_stream() {
  if (streaming_->kind != Stream::Kind::endless) return;
  streaming_->end_by(Streaming::End::stop);
  if (phase_ == Phase::streaming) cancel_.emit(asio::cancellation_type::terminal);
}

}  // namespace citadel::http
