#include "http/server.hpp"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>

#include "aio/gate.hpp"
#include "aio/wait.hpp"
#include "base/check.hpp"
#include "base/log.hpp"
#include "http/problem.hpp"
#include "http/serialize.hpp"
#include "http/session.hpp"
#include "http/text.hpp"

namespace citadel::http {
namespace {

using asio::ip::tcp;

// Of failures in a row, one in so many is logged: out of descriptors, each try fails.
constexpr std::size_t accept_failures_logged = 100;
constexpr auto accept_pause =
    std::chrono::milliseconds(50);                      // after a failed accept: descriptors may come free
constexpr auto cut_off_time = std::chrono::seconds(5);  // for coroutines to end after they were cancelled

// One string for every refused connection: a storm costs no allocation.
const std::string& full_answer() {
  static const std::string text = [] {
    auto problem = make_problem(503, "overloaded", "Too busy now", "there are too many connections");
    problem.retry_after = std::chrono::seconds(1);
    std::string out;
    append_answer(to_response(problem, ""), {.keep_alive = false}, out);
    return out;
  }();
  return text;
}

Result<tcp::endpoint> parse_listen(std::string_view listen) {
  const auto bad = [&] {
    return fail(
        Code::invalid_argument,
        fmt::format("listen address '{}' is not HOST:PORT with an IPv4 or [IPv6] literal or localhost, "
                    "for example 127.0.0.1:8480",
                    listen));
  };
  const auto colon = listen.rfind(':');
  if (colon == std::string_view::npos) return bad();
  auto host = listen.substr(0, colon);
  const auto digits = listen.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (failure != std::errc() || end != digits.data() + digits.size()) return bad();
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error || address.is_v6() != bracketed) return bad();
  return tcp::endpoint(address, port);
}

std::unexpected<Error> listen_failure(const boost::system::error_code& error, const std::string& listen) {
  if (error == asio::error::address_in_use) {
    return fail(Code::conflict,
                fmt::format("{} is in use: stop the program that listens there (ss -ltnp shows it), "
                            "or choose another port: http.listen, --http",
                            listen));
  }
  if (error == asio::error::access_denied) {
    return fail(Code::permission_denied,
                fmt::format("this user may not listen on {}: choose a port of 1024 or above", listen));
  }
  return fail(Code::unavailable, fmt::format("cannot listen on {}: {}; does this machine have that address?",
                                             listen, error.message()));
}

Result<void> open_listener(tcp::acceptor& acceptor, const std::string& listen) {
  CITADEL_ASSIGN(const auto endpoint, parse_listen(listen));
  boost::system::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
  if (error) return listen_failure(error, listen);
  return {};
}

}  // namespace

Result<void> check_listen(const std::string& listen) {
  asio::io_context context(1);
  tcp::acceptor acceptor(context);
  return open_listener(acceptor, listen);
}

Shard::Shard(Executor executor, std::shared_ptr<Shared> shared)
    : executor_(executor),
      shared_(std::move(shared)),
      sessions_gate_(executor),
      background_(executor),
      random_(random_seed()) {
  refresh_date();
}

void Shard::start() {
  background_.spawn("http watchdog", watch());
}

void Shard::adopt(tcp::socket socket) {
  if (stopping_) {
    --shared_->stats.connections_open;
    return;
  }
  sessions_gate_.spawn("http session", Session::run(std::make_shared<Session>(*this, std::move(socket))));
}

void Shard::refresh_date() {
  date_ = http_date(std::chrono::floor<std::chrono::seconds>(system_clock().wall()));
}

Task<> Shard::watch() {
  const auto& limits = shared_->options.limits;
  const auto shortest = std::min(
      {limits.header_time, limits.body_time, limits.idle_time, limits.write_time, limits.linger_time});
  const auto tick = std::clamp<Monotonic::duration>(shortest / 4, std::chrono::milliseconds(5),
                                                    std::chrono::milliseconds(250));
  for (;;) {
    co_await aio::sleep_for(tick);
    refresh_date();
    const auto now = Monotonic::now();
    for (auto next = sessions_.begin(); next != sessions_.end();) (*next++)->check_due(now);
  }
}

void Shard::begin_stop() {
  for (auto next = sessions_.begin(); next != sessions_.end();) (*next++)->stop_when_idle();
}

Task<Result<void>> Shard::finish_stop(Deadline deadline) {
  auto drained = co_await sessions_gate_.drain(deadline);
  if (!drained) {
    const auto left = sessions_.size();
    for (auto next = sessions_.begin(); next != sessions_.end();) (*next++)->abort();
    drained = fail(Code::deadline_exceeded, fmt::format("{} connections were cut off in a request", left));
    if (auto ended = co_await sessions_gate_.drain(Deadline::after(cut_off_time)); !ended) {
      log::error("http", "a handler does not react to cancellation", {{"error", ended.error()}});
    }
  }
  CITADEL_CO_TRY(co_await background_.close(Deadline::after(cut_off_time)));
  co_return drained;
}

struct Server::State : std::enable_shared_from_this<State> {
  State(std::vector<Executor> executors, std::shared_ptr<Shared> all)
      : shared(std::move(all)), acceptor(executors.front()), accepting(executors.front()) {
    for (auto& executor : executors) shards.push_back(std::make_shared<Shard>(executor, shared));
  }

  Result<void> listen() {
    CITADEL_TRY(open_listener(acceptor, shared->options.listen));
    boost::system::error_code error;
    port = acceptor.local_endpoint(error).port();
    return {};
  }

  Task<> accept() {
    std::size_t failures = 0;  // in a row
    for (std::size_t turn = 0;; ++turn) {
      auto& shard = shards[turn % shards.size()];
      auto [error, socket] =
          co_await acceptor.async_accept(shard->executor(), asio::as_tuple(asio::use_awaitable));
      if (error == asio::error::operation_aborted || !acceptor.is_open()) co_return;
      if (error) {
        if (failures++ % accept_failures_logged == 0) {
          log::warning("http", "connections cannot be accepted; it is tried again",
                       {{"error", error.message()}, {"failures", failures}});
        }
        co_await aio::sleep_for(accept_pause);
        continue;
      }
      failures = 0;
      if (shared->stats.connections_open >= static_cast<std::int64_t>(shared->options.connections_max)) {
        refuse(std::move(socket));
        continue;
      }
      ++shared->stats.connections_accepted;
      ++shared->stats.connections_open;
      asio::post(shard->executor(),
                 [shard, peer = std::move(socket)]() mutable { shard->adopt(std::move(peer)); });
    }
  }

  void refuse(tcp::socket socket) {
    ++shared->stats.connections_refused;
    boost::system::error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(full_answer()), ignored);
    socket.shutdown(tcp::socket::shutdown_both, ignored);
  }

  Task<Result<void>> close_listener() {
    boost::system::error_code ignored;
    acceptor.close(ignored);
    co_return co_await accepting.close(Deadline::after(cut_off_time));
  }

  static Task<Result<void>> begin_stop(std::shared_ptr<Shard> shard) {
    shard->begin_stop();
    co_return Result<void>();
  }

  std::shared_ptr<Shared> shared;
  std::vector<std::shared_ptr<Shard>> shards;
  tcp::acceptor acceptor;
  aio::Gate accepting;
  std::uint16_t port = 0;
};

Server::Server(std::vector<Executor> executors, ServerOptions options, Router router,
               Authenticator authenticator) {
  CITADEL_CHECK(!executors.empty(), "a server needs an executor");
  auto shared = std::make_shared<Shared>(std::move(options), std::move(router), std::move(authenticator));
  state_ = std::make_shared<State>(std::move(executors), std::move(shared));
}

Server::~Server() = default;

Result<void> Server::start() {
  CITADEL_TRY(state_->listen());
  for (auto& shard : state_->shards) asio::dispatch(shard->executor(), [shard] { shard->start(); });
  asio::dispatch(state_->shards.front()->executor(),
                 [state = state_] { state->accepting.spawn("http acceptor", state->accept()); });
  return {};
}

std::uint16_t Server::port() const {
  return state_->port;
}

const ServerStats& Server::stats() const {
  return state_->shared->stats;
}

Task<Result<void>> Server::stop(Deadline deadline) {
  auto state = state_;
  auto outcome = co_await aio::run_on(state->shards.front()->executor(), state->close_listener());
  for (auto& shard : state->shards) shard->announce_stop();
  for (auto& shard : state->shards) {
    CITADEL_CO_TRY(co_await aio::run_on(shard->executor(), State::begin_stop(shard)));
  }
  for (auto& shard : state->shards) {
    auto stopped = co_await aio::run_on(shard->executor(), shard->finish_stop(deadline));
    if (!stopped) outcome = std::move(stopped);
  }
  co_return outcome;
}

}  // namespace citadel::http
