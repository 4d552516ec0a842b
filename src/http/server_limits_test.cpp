// What the server refuses, sheds or cuts off, over real loopback sockets.
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "http/http_testing.hpp"
#include "http/server.hpp"

namespace citadel::http {
namespace {

using testing::HasSubstr;
using testing::Not;

std::size_t open_descriptors() {
  std::size_t found = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder)) ++found;
  ::closedir(folder);
  return found;
}

TEST(HttpServer, EachSizeLimitRefuses) {
  ServerOptions options;
  options.limits.target_bytes_max = 100;
  options.limits.header_bytes_max = 1000;
  options.limits.header_count_max = 10;
  options.limits.query_parameters_max = 2;
  TestServer server(echo_router(), options);
  const auto status = [&](std::string_view bytes) { return status_of(exchange(server.port(), bytes)); };
  EXPECT_EQ(status("GET /" + std::string(200, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n"), "414");
  EXPECT_EQ(status("GET / HTTP/1.1\r\nX: " + std::string(2000, 'a')), "431");
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 10; ++i) many += "A: b\r\n";
  EXPECT_EQ(status(many + "\r\n"), "431");
  EXPECT_EQ(status("GET /item/x?a=1&b=2&c=3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "400");
  EXPECT_EQ(status(post(std::string(1000, 'b'), "Connection: close\r\n")), "200");
  EXPECT_EQ(status(post(std::string(1001, 'b'))), "413");
  std::string chunks = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 11; ++i) chunks += "64\r\n" + std::string(100, 'c') + "\r\n";
  EXPECT_EQ(status(chunks + "0\r\n\r\n"), "413");
}

TEST(HttpServer, A413LetsTheClientFinishSending) {
  ServerOptions options;
  options.limits.linger_time = 20s;
  TestServer server(echo_router(), options);
  RawSocket socket(server.port());
  // More than the socket buffers hold. A close at once would reset the connection, and most clients would
  // then report the broken pipe in place of the answer.
  std::thread sender([&] {
    EXPECT_TRUE(socket.send(post(std::string(8'000'000, 'b'))));
    socket.finish_sending();
  });
  EXPECT_EQ(status_of(socket.read_all()), "413");
  sender.join();
}

TEST(HttpServer, SlowClientsAreCutOff) {
  ServerOptions options;
  options.limits.header_time = options.limits.body_time = options.limits.idle_time = 60ms;
  TestServer server(echo_router(), options);
  EXPECT_EQ(exchange(server.port(), ""), "") << "idle: closed without an answer";
  EXPECT_EQ(status_of(exchange(server.port(), "GET /hel")), "408");
  EXPECT_EQ(
      status_of(exchange(server.port(), "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")),
      "408");
  EXPECT_EQ(server.stats().timeouts, 2u);
  // Bytes that trickle in do not move the limit.
  RawSocket socket(server.port());
  std::atomic<bool> ended = false;
  std::thread trickle([&] {
    socket.send("GET /hello HTTP/1.1\r\nX: ");
    while (!ended && socket.send("a")) ::usleep(5000);  // sleep: a client that sends slowly
  });
  EXPECT_EQ(status_of(socket.read_until("\r\n\r\n")), "408");
  ended = true;
  trickle.join();
  const auto kept = exchange(server.port(), get_hello);
  EXPECT_EQ(count(kept, "HTTP/1.1 200"), 1u);
  EXPECT_THAT(kept, Not(HasSubstr("408"))) << "idle after an answer: closed silently";
}

TEST(HttpServer, AClientThatDoesNotReadIsCutOff) {
  ServerOptions options;
  options.limits.write_time = 60ms;
  Router router;
  router.add(Method::get, "/big", open_route,
             [](Request&) -> Task<Response> { co_return Response::text(200, std::string(20'000'000, 'x')); });
  TestServer server(std::move(router), options);
  RawSocket socket(server.port());
  socket.send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(
      eventually([&] { return server.stats().connections_open == 0 && server.stats().timeouts == 1; }));
}

TEST(HttpServer, RequestsPerConnectionAreLimited) {
  ServerOptions options;
  options.requests_per_connection_max = 2;
  TestServer server(echo_router(), options);
  const auto answers = exchange(server.port(), get_hello + get_hello + get_hello);
  EXPECT_EQ(count(answers, "HTTP/1.1 200"), 2u);
  EXPECT_EQ(count(answers, "Connection: close"), 1u);
}

TEST(HttpServer, ConnectionStormIsShed) {
  const auto before = open_descriptors();
  {
    ServerOptions options;
    options.connections_max = 50;
    TestServer server(echo_router(), options);
    std::vector<std::unique_ptr<RawSocket>> sockets;
    for (int i = 0; i < 50; ++i) {
      sockets.push_back(std::make_unique<RawSocket>(server.port()));
      ASSERT_TRUE(sockets.back()->connected());
    }
    ASSERT_TRUE(eventually([&] { return server.stats().connections_open == 50; }));
    for (int i = 0; i < 2000; ++i) {
      RawSocket extra(server.port());
      ASSERT_TRUE(extra.connected()) << i;
      if (i % 100 == 0) {
        const auto answer = extra.read_all();
        EXPECT_EQ(status_of(answer), "503");
        const auto body = answer.substr(answer.find("\r\n\r\n") + 4);
        EXPECT_THAT(answer, HasSubstr("Content-Length: " + std::to_string(body.size()) + "\r\n"));
      }
    }
    EXPECT_TRUE(eventually([&] { return server.stats().connections_refused == 2000; }));
    sockets[0]->send(get_and_close);
    EXPECT_EQ(status_of(sockets[0]->read_all()), "200");
    sockets.clear();
    EXPECT_TRUE(eventually([&] { return server.stats().connections_open == 0; }));
    EXPECT_EQ(server.request({Method::get, "/hello", {}, ""}).status, 200);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(HttpServer, AClientThatLeavesInMidRequestIsForgotten) {
  TestServer server(echo_router());
  for (const auto* bytes :
       {"G", "GET /hello HTTP/1.1\r\nHo", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab"}) {
    RawSocket socket(server.port());
    socket.send(bytes);
  }
  RawSocket reset(server.port());
  const linger abort_on_close{1, 0};
  ::setsockopt(reset.fd(), SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof abort_on_close);
  reset.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
  reset.close();
  EXPECT_TRUE(eventually(
      [&] { return server.stats().connections_accepted == 4 && server.stats().connections_open == 0; }));
  EXPECT_EQ(server.stats().requests, 0u);
}

}  // namespace
}  // namespace citadel::http
