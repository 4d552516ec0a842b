// For the tests of http: a server on loopback over two threads, a blocking socket that sends any bytes, and a
// server that answers with any.
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "aio/run.hpp"
#include "aio/runtime.hpp"
#include "aio/wait.hpp"
#include "base/file.hpp"
#include "http/client.hpp"
#include "http/problem.hpp"
#include "http/server.hpp"

namespace citadel::http {

using namespace std::chrono_literals;

inline Authenticator test_authenticator() {
  return [](std::string_view key, const Route& route, Request& request) -> Result<void> {
    if (key != "right") return fail(Code::unauthenticated, "this key is not known");
    request.principal = "tester";
    if (route.pattern == "/forbidden") return fail(Code::permission_denied, "a tester may not");
    return {};
  };
}

// Runs a server from construction to destruction, where it must stop in order.
class TestServer {
 public:
  explicit TestServer(Router router, ServerOptions options = {}, std::size_t threads = 2,
                      Authenticator authenticator = test_authenticator())
      : runtime_(threads) {
    options.listen = "127.0.0.1:0";
    std::vector<Executor> executors;
    for (std::size_t i = 0; i < runtime_.size(); ++i) executors.push_back(runtime_.executor(i));
    server_ =
        std::make_unique<Server>(executors, std::move(options), std::move(router), std::move(authenticator));
    const auto started = server_->start();
    EXPECT_TRUE(started) << started.error().to_string();
  }
  ~TestServer() {
    if (!stopped_) EXPECT_TRUE(stop(10s));
  }
  Result<void> stop(Monotonic::duration time) {
    stopped_ = true;
    return aio::run(context_, server_->stop(Deadline::after(time)));
  }
  Server& server() { return *server_; }
  const ServerStats& stats() { return server_->stats(); }
  std::uint16_t port() const { return server_->port(); }
  asio::io_context& context() { return context_; }
  Client client(std::string key = "right") {
    return Client(context_.get_executor(),
                  {.host = "127.0.0.1", .port = port(), .api_key = Secret(std::move(key))});
  }
  ClientResponse request(Client& client, ClientRequest request) {
    auto response = aio::run(context_, client.request(std::move(request), Deadline::after(20s)));
    EXPECT_TRUE(response) << response.error().to_string();
    return response ? std::move(*response) : ClientResponse{};
  }
  ClientResponse request(ClientRequest wanted) {
    auto one = client();
    return request(one, std::move(wanted));
  }

 private:
  // The other threads may still hold its executor when run() has returned, so it goes after them.
  asio::io_context context_;
  aio::Runtime runtime_;
  std::unique_ptr<Server> server_;
  bool stopped_ = false;
};

// Blocking, with 20 seconds for each read: longer is a hang, and ends as one.
class RawSocket {
 public:
  explicit RawSocket(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{20, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  // All until the peer closes; "HANG" at the end where it does not.
  std::string read_all() {
    std::string all;
    char buffer[65536];
    for (;;) {
      const auto size = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return all + "HANG";
      if (size <= 0) return all;
      all.append(buffer, static_cast<std::size_t>(size));
    }
  }
  // Until `text` has come or the connection ends.
  std::string read_until(std::string_view text) {
    std::string all;
    char c;
    while (!all.ends_with(text) && ::recv(fd_.get(), &c, 1, 0) == 1) all += c;
    return all;
  }

 private:
  UniqueFd fd_;
  bool connected_ = false;
};

inline std::string exchange(std::uint16_t port, std::string_view bytes) {
  RawSocket socket(port);
  socket.send(bytes);
  return socket.read_all();
}

// "200" of "HTTP/1.1 200 OK…"; "" where the connection closed without an answer.
inline std::string status_of(std::string_view answer) {
  return std::string(answer.starts_with("HTTP/1.1 ") ? answer.substr(9, 3) : answer);
}

// Waits for what another thread brings about.
template <class Condition>
bool eventually(Condition condition) {
  for (const auto end = Deadline::after(20s); !end.expired();) {
    if (condition()) return true;
    ::usleep(1000);  // sleep: polls, until a deadline
  }
  return false;
}

inline constexpr RouteOptions open_route{.auth = Auth::none, .body_bytes_max = 1000};

// Routes that say what they were asked.
inline Router echo_router() {
  Router router;
  router.add(Method::get, "/hello", open_route,
             [](Request&) -> Task<Response> { co_return Response::text(200, "hi"); });
  router.add(Method::post, "/echo", open_route, [](Request& request) -> Task<Response> {
    co_return Response::text(200, std::move(request.body));
  });
  router.add(Method::get, "/item/{id}", open_route, [](Request& request) -> Task<Response> {
    co_return Response::text(200, std::string(request.path_parameter("id")) + "|" +
                                      std::string(request.query("q").value_or("none")));
  });
  router.add(Method::get, "/who", {}, [](Request& request) -> Task<Response> {
    co_return Response::text(200, request.principal + " " + request.remote + " " + request.traceparent);
  });
  router.add(Method::get, "/throws", open_route, [](Request&) -> Task<Response> {
    throw std::runtime_error("inner secret");
    co_return Response{};
  });
  router.add(Method::get, "/slow", {.auth = Auth::none, .deadline = 20ms}, [](Request&) -> Task<Response> {
    co_await aio::sleep_for(1h);  // sleep: a handler that the deadline must end
    co_return Response{};
  });
  router.add(Method::get, "/deadline", {.auth = Auth::none, .deadline = 20ms},
             [](Request& request) -> Task<Response> {
               // sleep: a handler that takes all its time
               co_await aio::sleep_until(request.deadline.when());
               co_return problem_response(request, Error(Code::deadline_exceeded, "I noticed"));
             });
  return router;
}

inline std::string post(std::string_view body, std::string_view headers = "") {
  return "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(headers) + "\r\n" + std::string(body);
}
inline const std::string get_hello = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";
inline const std::string get_and_close = "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

inline std::size_t count(std::string_view text, std::string_view piece) {
  std::size_t found = 0;
  for (auto at = text.find(piece); at != std::string_view::npos; at = text.find(piece, at + 1)) ++found;
  return found;
}

// Answers one connection after the other with the given bytes, then closes each.
class CannedServer {
 public:
  explicit CannedServer(std::vector<std::string> answers) : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_.get(), 16);
    socklen_t size = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this, answers = std::move(answers)] {
      for (const auto& answer : answers) {
        UniqueFd peer(::accept(listener_.get(), nullptr, nullptr));
        char buffer[4096];
        [[maybe_unused]] const auto got = ::recv(peer.get(), buffer, sizeof buffer, 0);
        [[maybe_unused]] const auto sent = ::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
      }
    });
  }
  ~CannedServer() { thread_.join(); }
  std::uint16_t port = 0;

 private:
  UniqueFd listener_;
  std::thread thread_;
};

}  // namespace citadel::http
