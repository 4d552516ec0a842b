// The server and the client over real loopback sockets. Limits: server_limits_test.cpp; streams:
// stream_test.cpp.
#include "http/server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "http/gzip.hpp"
#include "http/http_testing.hpp"
#include "http/problem.hpp"

namespace citadel::http {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(HttpServer, AnswersAndKeepsAlive) {
  TestServer server(echo_router());
  auto client = server.client();
  for (int i = 0; i < 3; ++i) {
    const auto response = server.request(client, {Method::get, "/item/a%20b?q=x+y", {}, ""});
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "a b|x y");
    EXPECT_EQ(response.headers.get("Content-Type"), "text/plain; charset=utf-8");
    EXPECT_EQ(response.headers.get("X-Request-Id").size(), 36u);
    EXPECT_THAT(std::string(response.headers.get("Date")), testing::EndsWith(" GMT"));
  }
  EXPECT_EQ(server.stats().connections_accepted, 1u);
  EXPECT_EQ(server.stats().requests, 3u);
}

TEST(HttpServer, RoutesWrongPathsMethodsAndQueries) {
  TestServer server(echo_router());
  auto client = server.client();
  const auto missing = server.request(client, {Method::get, "/missing", {}, ""});
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.headers.get("Content-Type"), "application/problem+json");
  EXPECT_THAT(missing.body, HasSubstr("\"instance\":\"" + std::string(missing.headers.get("X-Request-Id"))));
  const auto wrong = server.request(client, {Method::put, "/hello", {}, ""});
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.get("Allow"), "GET, HEAD, OPTIONS");
  const auto options = server.request(client, {Method::options, "/hello", {}, ""});
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.headers.get("Allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(server.request(client, {Method::options, "*", {}, ""}).status, 204);
  const auto head = server.request(client, {Method::head, "/hello", {}, ""});
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.get("Content-Length"), "2");
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(server.request(client, {Method::get, "/item/x?a=1&a=2", {}, ""}).status, 400);
  EXPECT_EQ(server.request(client, {Method::get, "/item/%ff", {}, ""}).status, 400);
  EXPECT_EQ(server.stats().connections_accepted, 1u) << "these answers keep the connection";
}

TEST(HttpServer, ChecksTheKey) {
  TestServer server(echo_router());
  auto anonymous = server.client("");
  const auto without = server.request(anonymous, {Method::get, "/who", {}, ""});
  EXPECT_EQ(without.status, 401);
  EXPECT_THAT(std::string(without.headers.get("WWW-Authenticate")), HasSubstr("Bearer"));
  EXPECT_EQ(server.request(anonymous, {Method::get, "/who", {{"Authorization", "Basic right"}}, ""}).status,
            401);
  EXPECT_EQ(server.request(anonymous, {Method::get, "/who", {{"Authorization", "Bearer "}}, ""}).status, 401);
  EXPECT_EQ(server.request(anonymous, {Method::get, "/who", {{"X-Api-Key", "wrong"}}, ""}).status, 401);
  EXPECT_EQ(server.request(anonymous, {Method::get, "/who", {{"X-Api-Key", "right"}}, ""}).status, 200);
  EXPECT_EQ(server.request(anonymous, {Method::get, "/who", {{"authorization", "bearer right"}}, ""}).status,
            200);
  const std::string trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const auto right = server.request({Method::get, "/who", {{"traceparent", trace}}, ""});
  EXPECT_EQ(right.body, "tester 127.0.0.1 " + trace);
}

// Who it was is known to whoever records it.
TEST(HttpServer, WhoMayNotCallARouteIsToldBeforeTheBodyIsRead) {
  std::string principal;
  std::latch reported(1);
  ServerOptions options;
  options.on_request = [&](const RequestSummary& summary) {
    principal = summary.principal;
    reported.count_down();
  };
  auto router = echo_router();
  router.add(Method::post, "/forbidden", {}, [](Request&) -> Task<Response> {
    ADD_FAILURE() << "a handler was asked by who may not call it";
    co_return Response{};
  });
  TestServer server(std::move(router), options);
  RawSocket raw(server.port());
  raw.send("POST /forbidden HTTP/1.1\r\nHost: x\r\nX-Api-Key: right\r\nContent-Length: 100\r\n\r\n");
  EXPECT_THAT(raw.read_until("\r\n"), HasSubstr("HTTP/1.1 403"));
  reported.wait();
  EXPECT_EQ(principal, "tester");
}

// Hours may have passed since its head was looked at.
TEST(HttpServer, AStreamEndsWhenWhoAskedForItMayNotAnyMore) {
  std::atomic<bool> allowed = true;
  Router router;
  router.add(Method::get, "/ticks", {.stream_time_max = 5s}, [](Request&) -> Task<Response> {
    co_return Response::streaming("text/plain", {[](StreamWriter& out) -> Task<Result<void>> {
                                                   for (;;) {
                                                     CITADEL_CO_TRY(co_await out.write("x"));
                                                     co_await aio::sleep_for(20ms);  // sleep: a source's pace
                                                   }
                                                 },
                                                 Stream::Kind::finite, 20s});
  });
  TestServer server(std::move(router), {}, 2,
                    [&](std::string_view, const Route&, Request& request) -> Result<void> {
                      request.principal = "tester";
                      if (allowed) return {};
                      return fail(Code::unauthenticated, "this key was revoked");
                    });
  testing::internal::CaptureStderr();
  RawSocket raw(server.port());
  raw.send("GET /ticks HTTP/1.1\r\nHost: x\r\nX-Api-Key: k\r\n\r\n");
  EXPECT_THAT(raw.read_until("x\r\n"), HasSubstr("200 OK"));
  allowed = false;
  const auto rest = raw.read_all();
  EXPECT_THAT(rest, testing::Not(HasSubstr("HANG")));
  EXPECT_THAT(rest, testing::Not(testing::EndsWith("0\r\n\r\n"))) << "it must be seen to be cut";
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("may not any more"));
}

// A gateway's subrequest has the query and the coding of somebody else's request, and no body.
TEST(HttpServer, ARouteThatReadsTheHeadLooksAtNothingElse) {
  auto router = echo_router();
  router.add(Method::post, "/head/{path...}", {.reads = RouteOptions::Reads::head},
             [](Request& request) -> Task<Response> {
               co_return Response::text(200, std::string(request.path_parameter("path")));
             });
  TestServer server(std::move(router));
  for (const std::string_view target : {"/head/a?x=1&x=2", "/head/a?q=100%"}) {
    RawSocket raw(server.port());
    raw.send(
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nX-Api-Key: right\r\nContent-Encoding: br\r\n"
                    "Connection: close\r\nContent-Length: 0\r\n\r\n",
                    target));
    EXPECT_THAT(raw.read_all(), testing::AllOf(HasSubstr("HTTP/1.1 200"), testing::EndsWith("\r\na")))
        << target;
  }
  RawSocket twice(server.port());
  twice.send(
      "POST /head/a HTTP/1.1\r\nHost: x\r\nX-Api-Key: right\r\nX-Api-Key: wrong\r\nContent-Length: "
      "0\r\n\r\n");
  EXPECT_THAT(twice.read_until("\r\n"), HasSubstr("HTTP/1.1 400"));
}

TEST(HttpServer, TakesOrMakesRequestIds) {
  TestServer server(echo_router());
  auto client = server.client();
  const auto taken = server.request(client, {Method::get, "/hello", {{"X-Request-Id", "mine-1"}}, ""});
  EXPECT_EQ(taken.headers.get("X-Request-Id"), "mine-1");
  const auto made = server.request(client, {Method::get, "/hello", {{"X-Request-Id", "not \"mine\""}}, ""});
  EXPECT_EQ(made.headers.get("X-Request-Id").size(), 36u);
}

TEST(HttpServer, AThrowingHandlerIs500AndSaysNothing) {
  TestServer server(echo_router());
  auto client = server.client();
  const auto response = server.request(client, {Method::get, "/throws", {}, ""});
  EXPECT_EQ(response.status, 500);
  EXPECT_THAT(response.body, Not(HasSubstr("secret")));
  EXPECT_EQ(server.request(client, {Method::get, "/hello", {}, ""}).status, 200);
}

TEST(HttpServer, AHandlerBeyondItsDeadlineIs504) {
  TestServer server(echo_router());
  auto client = server.client();
  EXPECT_THAT(server.request(client, {Method::get, "/deadline", {}, ""}).body, HasSubstr("I noticed"));
  const auto response = server.request(client, {Method::get, "/slow", {}, ""});
  EXPECT_EQ(response.status, 504);
  EXPECT_EQ(server.stats().timeouts, 1u);
  EXPECT_EQ(server.request(client, {Method::get, "/hello", {}, ""}).status, 200);
}

TEST(HttpServer, PipelinesInOrder) {
  TestServer server(echo_router());
  std::string bytes;
  for (int i = 0; i < 100; ++i) {
    bytes += i % 3 == 0 ? post("body " + std::to_string(i))
                        : "GET /item/" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
  }
  const auto answers = exchange(server.port(), bytes + get_and_close);
  EXPECT_EQ(count(answers, "HTTP/1.1 200 OK"), 101u);
  std::size_t at = 0;
  for (int i = 0; i < 100; ++i) {
    const auto next =
        answers.find(i % 3 == 0 ? "body " + std::to_string(i) : "\n" + std::to_string(i) + "|none", at);
    ASSERT_NE(next, std::string::npos) << i;
    at = next;
  }
}

TEST(HttpServer, ClientPipelines) {
  TestServer server(echo_router());
  auto client = server.client();
  std::vector<ClientRequest> requests;
  for (int i = 0; i < 50; ++i) requests.push_back({Method::post, "/echo", {}, std::to_string(i)});
  requests.push_back({Method::head, "/hello", {}, ""});
  const auto responses = aio::run(server.context(), client.pipeline(requests, Deadline::after(20s)));
  ASSERT_TRUE(responses) << responses.error().to_string();
  ASSERT_EQ(responses->size(), 51u);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ((*responses)[i].body, std::to_string(i));
  const auto tally = aio::run(
      server.context(), client.pipeline_raw(get_hello + get_hello + "GET /no HTTP/1.1\r\nHost: h\r\n\r\n", 3,
                                            Deadline::after(20s)));
  ASSERT_TRUE(tally);
  EXPECT_EQ(tally->by_class[1], 2u);
  EXPECT_EQ(tally->by_class[3], 1u);
}

TEST(HttpServer, AnswersThatWaitTogetherAreBoundedAndWhole) {
  Router router;
  router.add(Method::get, "/big", {.auth = Auth::none, .waits = RouteOptions::Waits::no},
             [](Request&) -> Task<Response> { co_return Response::text(200, std::string(100'000, 'x')); });
  TestServer server(std::move(router));
  std::string bytes;
  for (int i = 0; i < 200; ++i) bytes += "GET /big HTTP/1.1\r\nHost: h\r\n\r\n";
  bytes += "GET /end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  const auto answers = exchange(server.port(), bytes);
  EXPECT_EQ(count(answers, "HTTP/1.1 200 OK"), 200u);
  EXPECT_GT(answers.size(), 20'000'000u);
  EXPECT_EQ(count(answers, "HTTP/1.1 404"), 1u);
}

TEST(HttpServer, SpeaksHttp10) {
  TestServer server(echo_router());
  const auto once = exchange(server.port(), "GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_THAT(once, HasSubstr("Connection: close"));
  EXPECT_THAT(once, testing::EndsWith("hi"));
  const auto kept = exchange(
      server.port(), "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\n\r\n");
  EXPECT_EQ(count(kept, "Connection: keep-alive"), 1u);
  EXPECT_EQ(count(kept, "Connection: close"), 1u);
}

TEST(HttpServer, Expect100IsAnsweredBeforeTheBody) {
  TestServer server(echo_router());
  RawSocket socket(server.port());
  socket.send(
      "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\nExpect: "
      "100-continue\r\n\r\n");
  EXPECT_EQ(socket.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  socket.send("body");
  EXPECT_THAT(socket.read_all(), testing::EndsWith("body"));
  EXPECT_EQ(status_of(exchange(
                server.port(),
                "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4000\r\nExpect: 100-continue\r\n\r\n")),
            "413");
}

TEST(HttpServer, MalformedIsRefusedAndCloses) {
  TestServer server(echo_router());
  const std::pair<const char*, std::string> cases[] = {
      {"400", "GET /hello HTTP/1.1\r\n\r\n"},
      {"400", std::string("\0\0\0\0", 4)},
      {"400", "GET /hello HTTP/1.1\nHost: h\n\n"},
      {"400",
       "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"400", "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n"},
      {"505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {"501", "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
      {"415", post("x", "Content-Encoding: br\r\nConnection: close\r\n")},
      {"400", post("not gzip", "Content-Encoding: gzip\r\nConnection: close\r\n")},
  };
  for (const auto& [expected, bytes] : cases) {
    const auto answer = exchange(server.port(), bytes);
    EXPECT_EQ(status_of(answer), expected) << bytes;
    EXPECT_THAT(answer, HasSubstr("Connection: close")) << bytes;
    EXPECT_THAT(answer, HasSubstr("application/problem+json")) << bytes;
    EXPECT_EQ(count(answer, "Content-Length"), 1u) << bytes;
  }
}

TEST(HttpServer, GunzipsBodiesWithinTheLimit) {
  TestServer server(echo_router());
  auto client = server.client();
  const std::vector<Parameter> gzipped{{"Content-Encoding", "gzip"}};
  EXPECT_EQ(server.request(client, {Method::post, "/echo", gzipped, gzip("a") + gzip("b")}).body, "ab");
  EXPECT_EQ(server.request(client, {Method::post, "/echo", gzipped, gzip(std::string(1000, 'a'))}).status,
            200);
  const auto bomb = server.request(client, {Method::post, "/echo", gzipped, gzip(std::string(100'000, 'a'))});
  EXPECT_EQ(bomb.status, 413);
  EXPECT_THAT(bomb.body, HasSubstr("\"limit\":1000"));
  EXPECT_EQ(server.request(client, {Method::post, "/echo", gzipped, gzip("abc").substr(0, 12)}).status, 400);
}

// A handler that waits until the test lets it go.
struct Gated {
  std::atomic<bool> entered = false;
  std::atomic<bool> released = false;
  Router router() {
    Router router;
    router.add(Method::get, "/wait", {.auth = Auth::none, .deadline = 60s},
               [this](Request&) -> Task<Response> {
                 entered = true;
                 // sleep: polls what the test sets from another thread
                 while (!released) co_await aio::sleep_for(1ms);
                 co_return Response::text(200, "finished");
               });
    return router;
  }
};

TEST(HttpServer, StopFinishesRequestsUnderWayAndClosesIdleOnes) {
  Gated gated;
  TestServer server(gated.router());
  RawSocket idle(server.port());
  RawSocket busy(server.port());
  busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return gated.entered && server.stats().connections_open == 2; }));
  std::thread stopper([&] { EXPECT_TRUE(server.stop(20s)); });
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_FALSE(RawSocket(server.port()).connected());
  gated.released = true;
  const auto answer = busy.read_all();
  EXPECT_THAT(answer, HasSubstr("finished"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  stopper.join();
}

TEST(HttpServer, StopCutsOffWhatDoesNotEnd) {
  Gated gated;
  TestServer server(gated.router());
  RawSocket busy(server.port());
  busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return gated.entered.load(); }));
  const auto stopped = server.stop(50ms);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::deadline_exceeded);
  EXPECT_EQ(busy.read_all(), "");
}

TEST(HttpServer, ReportsEachRequestByPattern) {
  std::mutex mutex;
  std::vector<std::string> seen;
  ServerOptions options;
  options.on_request = [&](const RequestSummary& summary) {
    const std::lock_guard lock(mutex);
    seen.push_back(std::string(to_string(summary.method)) + " " + std::string(summary.route) + " " +
                   std::to_string(summary.status) + " " + std::to_string(summary.request_bytes));
  };
  TestServer server(echo_router(), options);
  auto client = server.client();
  server.request(client, {Method::get, "/item/7", {}, ""});
  server.request(client, {Method::post, "/echo", {}, "abc"});
  server.request(client, {Method::get, "/no", {}, ""});
  exchange(server.port(), "nonsense\r\n\r\n");
  const std::lock_guard lock(mutex);
  EXPECT_THAT(seen,
              testing::ElementsAre("GET /item/{id} 200 0", "POST /echo 200 3", "GET  404 0", "GET  400 0"));
}

TEST(HttpServer, ListenFailuresSayWhatToDo) {
  TestServer server(echo_router());
  aio::Runtime runtime(1);
  const auto failure = [&](const std::string& listen) {
    Server second({runtime.executor(0)}, {.listen = listen}, echo_router(), test_authenticator());
    const auto started = second.start();
    const auto asked = check_listen(listen);
    EXPECT_EQ(asked ? "none" : asked.error().to_string(), started ? "none" : started.error().to_string());
    return started ? "none" : started.error().to_string();
  };
  EXPECT_THAT(failure("127.0.0.1:" + std::to_string(server.port())),
              testing::AllOf(HasSubstr("conflict"), HasSubstr(std::to_string(server.port())),
                             HasSubstr("http.listen")));
  EXPECT_THAT(failure("192.0.2.1:0"), HasSubstr("cannot listen"));
  for (const auto* bad : {"", "8480", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:1x", "::1:80",
                          "[127.0.0.1]:1", "host:1"}) {
    EXPECT_THAT(failure(bad), HasSubstr("invalid_argument")) << bad;
  }
}

TEST(HttpServer, ListensOnIPv6AndLocalhost) {
  for (const auto* listen : {"[::1]:0", "localhost:0"}) {
    asio::io_context context;
    aio::Runtime runtime(1);
    Server server({runtime.executor(0)}, {.listen = listen}, echo_router(), test_authenticator());
    const auto started = server.start();
    if (!started && std::string_view(listen).starts_with('[')) GTEST_SKIP() << "this machine has no IPv6";
    ASSERT_TRUE(started) << started.error().to_string();
    Client client(context.get_executor(),
                  {.host = listen[0] == '[' ? "::1" : "localhost", .port = server.port()});
    const auto response =
        aio::run(context, client.request(Method::get, "/hello", {}, "", Deadline::after(20s)));
    EXPECT_TRUE(response) << response.error().to_string();
    EXPECT_TRUE(aio::run(context, server.stop(Deadline::after(10s))));
  }
}

}  // namespace
}  // namespace citadel::http
