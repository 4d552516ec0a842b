#include "http/session.hpp"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "base/log.hpp"
#include "base/uuid.hpp"
#include "http/gzip.hpp"
#include "http/problem.hpp"
#include "http/session_streaming.hpp"
#include "http/text.hpp"

namespace citadel::http {
namespace {

constexpr std::size_t in_bytes_start = 4 * 1024;
constexpr std::size_t in_bytes_step_max = 64 * 1024;
// A handler sees its deadline first and answers better than we can.
constexpr auto handler_grace = std::chrono::milliseconds(250);
constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";

const auto tuple = asio::as_tuple(asio::use_awaitable);

}  // namespace

Session::Session(Shard& shard, asio::ip::tcp::socket socket)
    : shard_(shard), shared_(*shard.shared_), socket_(std::move(socket)), parser_(shared_.options.limits) {
  boost::system::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket_.non_blocking(true, ignored);
  const auto peer = socket_.remote_endpoint(ignored);
  request_.remote = peer.address().to_string();
  place_ = shard_.sessions_.insert(shard_.sessions_.end(), this);
  wait_in(Phase::idle, Monotonic::now() + shared_.options.limits.idle_time);
}

Session::~Session() {
  shard_.sessions_.erase(place_);
  --shared_.stats.connections_open;
}

// serve() has a cancellation signal of its own, so that the watchdog can end a handler and keep the
// connection's coroutine.
Task<> Session::run(std::shared_ptr<Session> self) {
  co_await asio::co_spawn(self->socket_.get_executor(), self->serve(),
                          asio::bind_cancellation_slot(self->cancel_.slot(), asio::use_awaitable));
}

Task<> Session::serve() {
  while (open_) {
    std::size_t consumed = 0;
    const auto step = parser_.parse(unread(), consumed, request_);
    in_begin_ += consumed;
    switch (step) {
      case RequestParser::Step::need_more:
        co_await fill();
        break;
      case RequestParser::Step::head:
        co_await begin_request();
        break;
      case RequestParser::Step::complete:
        co_await answer();
        break;
      case RequestParser::Step::refused: {
        const auto refusal = parser_.refusal();
        co_await refuse(refusal.status, refusal.name, refusal.detail);
      }
    }
  }
  if (!aborted_) co_await flush();
  if (lingers_ && !aborted_) co_await linger();
  boost::system::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
}

void Session::wait_in(Phase phase, MonotonicTime due) {
  phase_ = phase;
  due_ = due;
}

// Reads once. Answers that wait go out first: the client may be waiting for them before it sends more.
Task<> Session::fill() {
  co_await flush();
  const auto& limits = shared_.options.limits;
  const bool idle = parser_.in_head() && in_begin_ == in_end_;
  if (!open_ || (idle && shard_.stopping_)) {
    open_ = false;
    co_return;
  }
  const auto room = room_to_read();
  if (idle) {
    wait_in(Phase::idle, Monotonic::now() + limits.idle_time);
  } else {
    wait_in(parser_.in_head() ? Phase::head : Phase::body, read_due_);
  }
  const auto [error, size] = co_await socket_.async_read_some(room, tuple);
  if (timed_out_ && !idle) {
    timed_out_ = false;
    ++shared_.stats.timeouts;
    co_return co_await refuse(408, "request_timeout", "the request did not arrive whole in time");
  }
  if (error || timed_out_) {
    open_ = false;
    co_return;
  }
  if (idle) read_due_ = Monotonic::now() + limits.header_time;
  in_end_ += size;
}

asio::mutable_buffer Session::room_to_read() {
  if (in_begin_ > 0) {
    in_.erase(0, in_begin_);
    in_end_ -= in_begin_;
    in_begin_ = 0;
  }
  if (in_end_ + in_bytes_start > in_.size())
    in_.resize(in_end_ + std::clamp(in_end_, in_bytes_start, in_bytes_step_max));
  return asio::buffer(in_.data() + in_end_, in_.size() - in_end_);
}

// The head is complete: who asks for what, and may the body come?
Task<> Session::begin_request() {
  ++requests_;
  identify();
  early_ = route();
  if (!early_ && route_->options.auth == Auth::required) early_ = authenticate();
  if (!parser_.has_body()) co_return;
  if (early_) {
    // The body is not wanted, and where it ends may be far away.
    complete_at_ = Monotonic::now();
    open_ = false;
    lingers_ = true;
    append(*early_, false);
    report(*early_);
    co_return;
  }
  if (!parser_.limit_body(route_->options.body_bytes_max)) {
    const auto refusal = parser_.refusal();
    co_return co_await refuse(refusal.status, refusal.name, refusal.detail);
  }
  read_due_ = Monotonic::now() + shared_.options.limits.body_time;
  if (parser_.expects_continue() && in_begin_ == in_end_) {
    out_ += continue_line;
    co_await flush();
  }
}

void Session::identify() {
  const auto& headers = request_.headers;
  if (const auto id = headers.find("X-Request-Id"); id && is_request_id(*id)) {
    request_.request_id = *id;
  } else {
    request_.request_id = new_uuid7(system_clock().wall(), shard_.random_).to_string();
  }
  if (const auto trace = headers.find("traceparent"); trace && is_traceparent(*trace))
    request_.traceparent = *trace;
}

std::optional<Response> Session::route() {
  route_ = nullptr;
  const auto match = shared_.router.match(request_);
  if (!match) return problem_response(request_, match.error());
  if (const auto* wrong = std::get_if<Router::WrongMethod>(&*match)) {
    if (request_.method == Method::options) return Response{204, "", {{"Allow", wrong->allow}}, ""};
    auto response =
        problem_response(request_, make_problem(405, "method_not_allowed", "The method is not allowed",
                                                fmt::format("{} takes {}", request_.path(), wrong->allow)));
    response.headers.push_back({"Allow", wrong->allow});
    return response;
  }
  if (std::holds_alternative<Router::NotFound>(*match)) {
    if (request_.method == Method::options && request_.target == "*") return Response{204, "", {}, ""};
    return problem_response(request_,
                            make_problem(404, "not_found", "Not found", "nothing is served at this path"));
  }
  route_ = std::get<const Route*>(*match);
  const std::string_view target = request_.target;
  if (route_->options.reads == RouteOptions::Reads::head) return std::nullopt;
  if (const auto query = target.find('?'); query != std::string_view::npos) {
    const auto parsed = parse_query(target.substr(query + 1), shared_.options.limits.query_parameters_max,
                                    request_.query_parameters);
    if (!parsed) return problem_response(request_, parsed.error());
  }
  return std::nullopt;
}

std::optional<Response> Session::authenticate() {
  std::string_view key;
  constexpr std::string_view scheme = "Bearer ";
  for (const std::string_view name : {"Authorization", "X-Api-Key"}) {
    if (request_.headers.count(name) > 1) {
      return problem_response(request_,
                              Error(Code::invalid_argument, fmt::format("a request has one {}", name)));
    }
  }
  if (const auto bearer = request_.headers.find("Authorization")) {
    if (bearer->size() > scheme.size() && equals_ignoring_case(bearer->substr(0, scheme.size()), scheme)) {
      key = bearer->substr(scheme.size());
    }
  } else {
    key = request_.headers.get("X-Api-Key");
  }
  if (key.empty()) {
    return problem_response(request_, Error(Code::unauthenticated,
                                            "send a key as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'"));
  }
  const auto may = shared_.authenticator ? shared_.authenticator(key, *route_, request_)
                                         : Result<void>(fail(Code::unauthenticated, "no key is valid here"));
  if (!may) return problem_response(request_, may.error());
  return std::nullopt;
}

std::optional<Response> Session::decode_body() {
  body_bytes_ = request_.body.size();
  if (route_ && route_->options.reads == RouteOptions::Reads::head) return std::nullopt;
  const auto coding = request_.headers.find("Content-Encoding");
  if (!coding || coding->empty() || equals_ignoring_case(*coding, "identity")) return std::nullopt;
  if (request_.headers.count("Content-Encoding") > 1 ||
      !(equals_ignoring_case(*coding, "gzip") || equals_ignoring_case(*coding, "x-gzip"))) {
    auto response =
        problem_response(request_, make_problem(415, "unsupported_encoding", "Not a known encoding",
                                                "the only Content-Encoding is gzip"));
    response.headers.push_back({"Accept-Encoding", "gzip"});
    return response;
  }
  auto text = gunzip(request_.body, route_->options.body_bytes_max);
  if (text) {
    request_.body = std::move(*text);
    return std::nullopt;
  }
  if (text.error().code != Code::overloaded) return problem_response(request_, text.error());
  auto problem = make_problem(413, "body_too_large", "The body is too large", text.error().message);
  problem.members.push_back({"limit", static_cast<std::int64_t>(route_->options.body_bytes_max)});
  return problem_response(request_, problem);
}

Task<> Session::answer() {
  complete_at_ = Monotonic::now();
  if (!early_) early_ = decode_body();
  Response response;
  if (early_) {
    response = std::move(*early_);
    early_.reset();
  } else {
    co_await call_handler(response);
    if (aborted_) {
      open_ = false;
      co_return;
    }
  }
  open_ = open_ && parser_.keep_alive() && !shard_.stopping_ &&
          requests_ < shared_.options.requests_per_connection_max;
  if (response.stream) prepare_stream(response);
  auto gzip = route_ ? route_->options.gzip : RouteOptions::Gzip::no;
  if (gzip == RouteOptions::Gzip::accepted) gzip = compress(response);
  if (response.stream) {
    co_await stream(response, gzip);
  } else {
    append(response, open_);
    report(response);
  }
  parser_.reset();
  request_.clear();
  read_due_ = Monotonic::now() + shared_.options.limits.header_time;
  if (out_.size() >= shared_.options.limits.answer_bytes_batched_max) co_await flush();
}

Task<> Session::call_handler(Response& response) {
  if (route_->options.waits == RouteOptions::Waits::yes) co_await flush();
  request_.deadline = Deadline::at(complete_at_ + route_->options.deadline);
  wait_in(Phase::handling, request_.deadline.when() + handler_grace);
  bool failed = false;
  try {
    response = co_await route_->handler(request_);
  } catch (const std::exception& thrown) {
    failed = true;
    if (!timed_out_ && !aborted_) {
      log::error("http", "a handler threw",
                 {{"request_id", request_.request_id}, {"route", request_.route}, {"error", thrown.what()}});
    }
  }
  due_ = MonotonicTime::max();
  if (aborted_) co_return;
  if (timed_out_) {
    timed_out_ = false;
    ++shared_.stats.timeouts;
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    if (failed) {
      response =
          problem_response(request_, Error(Code::deadline_exceeded, "the answer was not ready in time"));
      open_ = false;
    }
  } else if (failed) {
    response = problem_response(request_, problem_of(Error(Code::internal, "a handler threw")));
  }
}

// An answer to what cannot be read as a request: where the next one begins is not known either, so it is the
// last.
Task<> Session::refuse(int status, std::string_view name, std::string detail) {
  ++shared_.stats.requests_malformed;
  complete_at_ = Monotonic::now();
  if (request_.request_id.empty()) identify();
  const auto response =
      problem_response(request_, make_problem(status, name, reason_phrase(status), std::move(detail)));
  append(response, false);
  report(response);
  open_ = false;
  lingers_ = true;
  co_return;
}

void Session::append(const Response& response, bool keep_alive, Framing framing) {
  append_answer(response,
                {.keep_alive = keep_alive,
                 .http_1_1 = request_.http_1_1,
                 .head_only = request_.method == Method::head,
                 .request_id = request_.request_id,
                 .date = shard_.date_,
                 .framing = framing},
                out_);
}

void Session::report(const Response& response, const Streaming* streamed) {
  ++shared_.stats.requests;
  const auto now = Monotonic::now();
  const auto took = (streamed ? streamed->began_at : now) - complete_at_;
  const auto& options = shared_.options;
  if (options.on_request) {
    RequestSummary summary{request_.method, request_.route,       response.status,
                           body_bytes_,     response.body.size(), took};
    if (streamed) {
      summary.response_bytes = streamed->bytes;
      summary.streamed = now - streamed->began_at;
      summary.end = streamed->whole ? RequestSummary::End::whole : RequestSummary::End::cut;
    }
    summary.remote = request_.remote;
    summary.request_id = request_.request_id;
    summary.path = request_.path();
    summary.principal = request_.principal;
    summary.key = request_.key;
    summary.tenant = request_.tenant;
    options.on_request(summary);
  }
  body_bytes_ = 0;
  // 501 and 505 are the client's doing. What is away or full (503, 507) logs it once, where it is noticed; a
  // line for each request that meets it would fill the disk when it is needed most.
  const int status = response.status;
  const bool ours = status >= 500 && status != 501 && status != 505;
  const bool refused = status == 503 || status == 507;
  const bool notable = !refused && (ours || took >= options.slow);
  if (!notable && !log::enabled(log::Level::debug)) return;
  // The path alone: a query may hold what is nobody's business.
  log::write(notable ? log::Level::warning : log::Level::debug, "http", "request",
             {{"method", to_string(request_.method)},
              {"path", request_.path()},
              {"status", response.status},
              {"took_ms", std::chrono::duration<double, std::milli>(took).count()},
              {"request_id", request_.request_id},
              {"trace_id", request_.trace_id()},
              {"remote", request_.remote},
              {"principal", request_.principal}});
}

Task<> Session::flush() {
  if (out_.empty()) co_return;
  boost::system::error_code error;
  // The socket nearly always takes it at once, and then no round through the event loop is needed.
  std::size_t written = socket_.write_some(asio::buffer(out_), error);
  if (error == asio::error::would_block || (!error && written < out_.size())) {
    wait_in(Phase::writing, Monotonic::now() + shared_.options.limits.write_time);
    const auto [failure, size] = co_await asio::async_write(
        socket_, asio::buffer(out_.data() + written, out_.size() - written), tuple);
    due_ = MonotonicTime::max();
    error = failure;
  }
  if (out_.capacity() > 2 * shared_.options.limits.answer_bytes_batched_max) out_ = std::string();
  out_.clear();
  if (error) {
    open_ = lingers_ = false;
    aborted_ = true;
  }
}

Task<> Session::linger() {
  boost::system::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  wait_in(Phase::lingering, Monotonic::now() + shared_.options.limits.linger_time);
  in_.resize(in_bytes_step_max);
  for (;;) {
    const auto [error, size] = co_await socket_.async_read_some(asio::buffer(in_), tuple);
    if (error || timed_out_) co_return;
  }
}

void Session::check_due(MonotonicTime now) {
  if (now < due_) return;
  due_ = MonotonicTime::max();
  timed_out_ = true;
  boost::system::error_code ignored;
  switch (phase_) {
    case Phase::idle:
    case Phase::head:
    case Phase::body:
    case Phase::lingering:
      socket_.cancel(ignored);
      break;
    case Phase::handling:
      cancel_.emit(asio::cancellation_type::terminal);
      break;
    case Phase::streaming:
      timed_out_ = false;
      stream_due(now);
      break;
    case Phase::writing:
      ++shared_.stats.timeouts;
      if (streaming_) streaming_->end_by(Streaming::End::client_slow);
      socket_.close(ignored);
      break;
  }
}

void Session::stop_when_idle() {
  boost::system::error_code ignored;
  // Bytes that have arrived are still read: a request that was sent before we stopped is answered.
  if (phase_ == Phase::idle) socket_.shutdown(asio::ip::tcp::socket::shutdown_receive, ignored);
  if (streaming_) stop_stream();
}

void Session::abort() {
  aborted_ = true;
  open_ = false;
  boost::system::error_code ignored;
  socket_.close(ignored);
  if (streaming_) streaming_->end_by(Streaming::End::stop);
  cancel_.emit(asio::cancellation_type::terminal);
}

}  // namespace citadel::http
