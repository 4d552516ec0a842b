// Streamed answers over real loopback sockets: how they are sent, and how they end.
#include "http/stream.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "base/log.hpp"
#include "http/http_testing.hpp"

namespace citadel::http {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

// What a test and the bodies of its streams know of each other.
struct Watched {
  std::atomic<int> running = 0;     // bodies
  std::atomic<bool> go_on = false;  // set by the test
  std::atomic<std::size_t> written = 0;
};

// In a body's frame: `running` falls when the body has ended, however it did.
struct Running {
  explicit Running(Watched& s) : watched(s) { ++watched.running; }
  ~Running() { --watched.running; }
  Running(const Running&) = delete;
  Watched& watched;
};

Task<> wait_for_test(Watched& watched) {
  // sleep: polls what the test sets from another thread
  while (!watched.go_on) co_await aio::sleep_for(1ms);
}

Handler streaming(StreamBody (*make)(Watched&), Watched& watched, Stream::Kind kind = Stream::Kind::finite,
                  Monotonic::duration idle_time = 20s) {
  return [=, &watched](Request&) -> Task<Response> {
    co_return Response::streaming("text/plain", {make(watched), kind, idle_time});
  };
}

// "one", nothing, "two".
StreamBody two_pieces(Watched& watched) {
  return [&watched](StreamWriter& out) -> Task<Result<void>> {
    const Running running(watched);
    for (const auto* piece : {"one", "", "two"}) CITADEL_CO_TRY(co_await out.write(piece));
    co_return Result<void>();
  };
}

// "begun", then whatever the test lets happen, then "ended".
StreamBody waits(Watched& watched) {
  return [&watched](StreamWriter& out) -> Task<Result<void>> {
    const Running running(watched);
    CITADEL_CO_TRY(co_await out.write("begun"));
    co_await wait_for_test(watched);
    co_return co_await out.write("ended");
  };
}

StreamBody fails(Watched& watched) {
  return [&watched](StreamWriter& out) -> Task<Result<void>> {
    const Running running(watched);
    CITADEL_CO_TRY(co_await out.write("begun"));
    co_return fail(Code::unavailable, "the source broke");
  };
}

StreamBody throws(Watched& watched) {
  return [&watched](StreamWriter& out) -> Task<Result<void>> {
    const Running running(watched);
    CITADEL_CO_TRY(co_await out.write("begun"));
    throw std::runtime_error("the source threw up");
  };
}

// Never ends by itself, and never waits.
StreamBody floods(Watched& watched) {
  return [&watched](StreamWriter& out) -> Task<Result<void>> {
    const Running running(watched);
    const std::string piece(10'000, 'x');
    for (;;) {
      CITADEL_CO_TRY(co_await out.write(piece));
      watched.written += piece.size();
    }
  };
}

Router stream_router(Watched& watched) {
  auto router = echo_router();
  const auto open = [](Monotonic::duration time_max) {
    return RouteOptions{.auth = Auth::none, .stream_time_max = time_max};
  };
  using enum Stream::Kind;
  router.add(Method::get, "/two", open(60s), streaming(two_pieces, watched));
  router.add(Method::get, "/waits", open(60s), streaming(waits, watched));
  router.add(Method::get, "/endless", open(60s), streaming(waits, watched, endless));
  router.add(Method::get, "/floods", open(60s), streaming(floods, watched));
  router.add(Method::get, "/fails", open(60s), streaming(fails, watched));
  router.add(Method::get, "/throws-later", open(60s), streaming(throws, watched));
  router.add(Method::get, "/idle", open(60s), streaming(waits, watched, finite, 50ms));
  router.add(Method::get, "/short", open(50ms), streaming(waits, watched));
  router.add(Method::get, "/short-flood", open(50ms), streaming(floods, watched));
  router.add(Method::get, "/short-endless", open(50ms), streaming(waits, watched, endless));
  return router;
}

std::string get(std::string_view path, std::string_view version = "1.1") {
  return "GET " + std::string(path) + " HTTP/" + std::string(version) + "\r\nHost: h\r\n\r\n";
}

constexpr std::string_view begun = "\r\n\r\n5\r\nbegun\r\n";
constexpr std::string_view last = "\r\n0\r\n\r\n";

TEST(Stream, IsSentInChunksAndTheConnectionGoesOn) {
  Watched watched;
  TestServer server(stream_router(watched));
  const auto answers = exchange(server.port(), get("/two") + get("/two") + get_and_close);
  EXPECT_EQ(count(answers, "\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"), 2u);
  EXPECT_EQ(count(answers, "Transfer-Encoding: chunked\r\n"), 2u);
  EXPECT_EQ(count(answers, "Content-Length"), 1u);
  EXPECT_THAT(answers, EndsWith("\r\n\r\nhi"));
  EXPECT_EQ(server.stats().streams_started, 2u);
  EXPECT_EQ(server.stats().streams_cut, 0u);
  EXPECT_EQ(server.stats().streams_open, 0);
  EXPECT_EQ(watched.running, 0);
}

TEST(Stream, IsClosedByTheConnectionInHttp10) {
  Watched watched;
  TestServer server(stream_router(watched));
  const auto answer = exchange(server.port(), "GET /two HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("Transfer-Encoding")));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nonetwo"));
}

TEST(Stream, IsNotBegunForHead) {
  Watched watched;
  TestServer server(stream_router(watched));
  const auto answers = exchange(server.port(), "HEAD /floods HTTP/1.1\r\nHost: h\r\n\r\n" + get_and_close);
  EXPECT_EQ(count(answers, "HTTP/1.1 200 OK"), 2u);
  EXPECT_THAT(answers, HasSubstr("Transfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK")) << "no body";
  EXPECT_EQ(server.stats().streams_started, 0u);
  EXPECT_EQ(server.stats().streams_cut, 0u);
  EXPECT_THAT(exchange(server.port(), "HEAD /floods HTTP/1.0\r\n\r\n"), EndsWith("close\r\n\r\n"));
}

TEST(Stream, IsNeverAheadOfItsClient) {
  Watched watched;
  TestServer server(stream_router(watched));
  RawSocket socket(server.port());
  const int small = 64 * 1024;
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  socket.send(get("/floods"));
  // It stands still once the socket's buffers are full.
  std::size_t before = 1;
  ASSERT_TRUE(eventually([&] {
    ::usleep(100'000);  // sleep: time enough to write on, if it did
    return std::exchange(before, watched.written.load()) == watched.written && before > 0;
  }));
  EXPECT_LT(before, 16'000'000u);
  char buffer[65536];
  for (std::size_t got = 0; got < 2 * before;) {
    const auto size = ::recv(socket.fd(), buffer, sizeof buffer, 0);
    ASSERT_GT(size, 0);
    got += static_cast<std::size_t>(size);
  }
  EXPECT_GT(watched.written, before);
  EXPECT_EQ(watched.running, 1);
}

TEST(Stream, LetsOthersOnItsThreadRun) {
  std::atomic<bool> released = false;
  auto router = echo_router();
  router.add(Method::get, "/spins", open_route, [&](Request&) -> Task<Response> {
    co_return Response::streaming("", {[&](StreamWriter& out) -> Task<Result<void>> {
                                    while (!released) CITADEL_CO_TRY(co_await out.write(""));
                                    co_return Result<void>();
                                  }});
  });
  router.add(Method::get, "/release", open_route, [&](Request&) -> Task<Response> {
    released = true;
    co_return Response::text(200, "released");
  });
  TestServer server(std::move(router), {}, 1);
  RawSocket spins(server.port());
  spins.send(get("/spins"));
  EXPECT_THAT(spins.read_until("\r\n\r\n"), HasSubstr("200 OK"));
  EXPECT_EQ(server.request({Method::get, "/release", {}, ""}).body, "released");
  EXPECT_EQ(spins.read_until("0\r\n\r\n"), "0\r\n\r\n");
}

TEST(Stream, EndsWhenItsClientGoesWhileItWaits) {
  Watched watched;
  TestServer server(stream_router(watched));
  for (const bool reset : {false, true}) {
    RawSocket socket(server.port());
    socket.send(get("/waits"));
    EXPECT_THAT(socket.read_until(begun), EndsWith(begun));
    EXPECT_EQ(server.stats().streams_open, 1);
    const linger abort_on_close{1, 0};
    if (reset) ::setsockopt(socket.fd(), SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof abort_on_close);
    socket.close();
    const auto closed_at = Monotonic::now();
    EXPECT_TRUE(eventually([&] { return watched.running == 0 && server.stats().connections_open == 0; }));
    EXPECT_LT(Monotonic::now() - closed_at, 5s);
  }
  EXPECT_EQ(server.stats().streams_open, 0);
  EXPECT_EQ(server.stats().streams_cut, 2u);
}

TEST(Stream, EndsWhenItsClientGoesWhileItWrites) {
  Watched watched;
  TestServer server(stream_router(watched));
  RawSocket socket(server.port());
  socket.send(get("/floods"));
  socket.read_until("xxxx");
  socket.close();
  EXPECT_TRUE(eventually([&] { return watched.running == 0 && server.stats().connections_open == 0; }));
  EXPECT_EQ(server.stats().streams_cut, 1u);
}

TEST(Stream, EndsWhenItsClientDoesNotRead) {
  Watched watched;
  ServerOptions options;
  options.limits.write_time = 100ms;
  TestServer server(stream_router(watched), options);
  log::configure(log::Level::debug, log::Format::text);
  testing::internal::CaptureStderr();
  RawSocket socket(server.port());
  socket.send(get("/floods"));
  EXPECT_TRUE(eventually([&] { return server.stats().streams_cut == 1; }));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("the client takes nothing"));
  log::configure(log::Level::info, log::Format::text);
  EXPECT_EQ(server.stats().timeouts, 1u);
  EXPECT_EQ(watched.running, 0);
  const auto answer = socket.read_all();
  EXPECT_THAT(answer, Not(HasSubstr("HANG")));
  EXPECT_THAT(answer, Not(EndsWith(last)));
}

TEST(Stream, ThatFailsDoesNotLookWhole) {
  Watched watched;
  TestServer server(stream_router(watched));
  testing::internal::CaptureStderr();
  for (const auto* path : {"/fails", "/throws-later"}) {
    const auto answer = exchange(server.port(), get(path) + get_hello);
    EXPECT_THAT(answer, EndsWith(begun)) << "neither the last chunk nor another answer";
    // In HTTP/1.0 an end of the connection would be the end of the body; so it is reset.
    RawSocket old(server.port());
    old.send(get(path, "1.0"));
    while (true) {
      char c;
      const auto size = ::recv(old.fd(), &c, 1, 0);
      if (size > 0) continue;
      EXPECT_EQ(size, -1) << path;
      EXPECT_EQ(errno, ECONNRESET) << path;
      break;
    }
    auto client = server.client();
    const auto response =
        aio::run(server.context(), client.request(Method::get, path, {}, "", Deadline::after(20s)));
    ASSERT_FALSE(response);
    EXPECT_EQ(response.error().code, Code::connection_lost);
  }
  EXPECT_EQ(server.stats().streams_cut, 6u);
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("the source broke"));
  EXPECT_THAT(log, HasSubstr("the source threw up"));
  EXPECT_THAT(log, HasSubstr("request_id="));
}

TEST(Stream, ThatIsIdleOrTooLongIsCut) {
  Watched watched;
  TestServer server(stream_router(watched));
  testing::internal::CaptureStderr();
  EXPECT_THAT(exchange(server.port(), get("/idle")), EndsWith(begun));
  EXPECT_THAT(exchange(server.port(), get("/short")), EndsWith(begun));
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("wrote nothing for too long"));
  EXPECT_THAT(log, HasSubstr("longer than its route allows"));
  const auto flood = exchange(server.port(), get("/short-flood"));
  EXPECT_THAT(flood, EndsWith("xx\r\n")) << "cut between two pieces";
  EXPECT_THAT(flood, Not(EndsWith(last)));
  EXPECT_EQ(server.stats().streams_cut, 3u);
  EXPECT_EQ(watched.running, 0);
}

TEST(Stream, ThatIsEndlessEndsInOrderAtItsTime) {
  Watched watched;
  TestServer server(stream_router(watched));
  const auto answers = exchange(server.port(), get("/short-endless") + get_and_close);
  EXPECT_THAT(answers, HasSubstr(std::string(begun) + "0\r\n\r\nHTTP/1.1 200 OK"));
  EXPECT_THAT(answers, EndsWith("hi")) << "the connection and its coroutine go on";
  EXPECT_EQ(server.stats().streams_cut, 0u);
}

TEST(Stream, BeyondTheLimitIsRefused) {
  Watched watched;
  ServerOptions options;
  options.streams_max = 1;
  TestServer server(stream_router(watched), options);
  RawSocket first(server.port());
  first.send(get("/waits"));
  first.read_until(begun);
  auto client = server.client();
  const auto refused = server.request(client, {Method::get, "/two", {}, ""});
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.get("Retry-After"), "5");
  EXPECT_THAT(refused.body, HasSubstr("/problems/overloaded"));
  EXPECT_EQ(server.request(client, {Method::head, "/two", {}, ""}).status, 200) << "HEAD streams nothing";
  EXPECT_EQ(server.stats().streams_refused, 1u);
  EXPECT_EQ(server.stats().streams_open, 1);
  watched.go_on = true;
  EXPECT_EQ(first.read_until(last), "5\r\nended" + std::string(last));
  ASSERT_TRUE(eventually([&] { return server.stats().streams_open == 0; }));
  EXPECT_EQ(server.request(client, {Method::get, "/two", {}, ""}).body, "onetwo");
  EXPECT_EQ(server.stats().connections_accepted, 2u);
}

TEST(Stream, RequestsThatCameMeanwhileAreAnswered) {
  Watched watched;
  ServerOptions options;
  options.limits.stream_input_bytes_max = 1000;
  TestServer server(stream_router(watched), options);
  RawSocket socket(server.port());
  socket.send(get("/waits"));
  socket.read_until(begun);
  // More than is read during a stream.
  std::string more;
  for (int i = 0; i < 200; ++i) more += get("/item/" + std::to_string(i));
  socket.send(more + get_and_close);
  ::usleep(50'000);  // sleep: so that they have come before the stream ends
  EXPECT_EQ(watched.running, 1);
  watched.go_on = true;
  const auto answers = socket.read_all();
  EXPECT_EQ(count(answers, "HTTP/1.1 200 OK"), 201u);
  EXPECT_THAT(answers, HasSubstr("199|none"));
}

TEST(Stream, ReadsNoMoreRequestsMeanwhileThanItsLimit) {
  Watched watched;
  ServerOptions options;
  options.limits.stream_input_bytes_max = 1000;
  TestServer server(stream_router(watched), options);
  RawSocket socket(server.port());
  socket.send(get("/waits"));
  socket.read_until(begun);
  socket.send(std::string(5000, 'x'));
  socket.close();
  ::usleep(100'000);  // sleep: time enough to read all and the end, if it did
  EXPECT_EQ(watched.running, 1) << "the end lies behind what is not read";
  watched.go_on = true;
  EXPECT_TRUE(eventually([&] { return server.stats().connections_open == 0; }));
}

TEST(Stream, SendsALargeWriteInPieces) {
  Watched watched;
  ServerOptions options;
  options.limits.stream_piece_bytes_max = 4;
  TestServer server(stream_router(watched), options);
  watched.go_on = true;
  EXPECT_THAT(exchange(server.port(), get("/waits") + get_and_close),
              HasSubstr("\r\n\r\n4\r\nbegu\r\n1\r\nn\r\n4\r\nende\r\n1\r\nd\r\n0\r\n\r\n"));
}

TEST(Stream, IsReportedAtItsEnd) {
  Watched watched;
  std::mutex mutex;
  std::vector<std::string> seen;
  ServerOptions options;
  options.on_request = [&](const RequestSummary& summary) {
    const std::lock_guard lock(mutex);
    const bool whole = summary.end == RequestSummary::End::whole;
    seen.push_back(std::string(summary.route) + " " + std::to_string(summary.status) + " " +
                   std::to_string(summary.response_bytes) + (whole ? " whole" : " cut"));
    EXPECT_EQ(summary.streamed == 0s, summary.route == "/hello");
    if (summary.route == "/short") EXPECT_GE(summary.streamed, 50ms);
  };
  TestServer server(stream_router(watched), options);
  exchange(server.port(), get("/two") + get_and_close);
  exchange(server.port(), get("/short"));
  exchange(server.port(), get("/fails"));
  ASSERT_TRUE(eventually([&] { return server.stats().connections_open == 0; }));
  // A cut one is reported after its client saw the end, perhaps on another thread than the next.
  const std::lock_guard lock(mutex);
  EXPECT_THAT(seen, testing::UnorderedElementsAre("/two 200 6 whole", "/hello 200 2 whole",
                                                  "/short 200 5 cut", "/fails 200 5 cut"));
}

TEST(StreamStop, EndsEndlessOnesInOrder) {
  Watched watched;
  TestServer server(stream_router(watched));
  RawSocket socket(server.port());
  socket.send(get("/endless"));
  socket.read_until(begun);
  const auto began = Monotonic::now();
  EXPECT_TRUE(server.stop(20s));
  EXPECT_LT(Monotonic::now() - began, 5s);
  EXPECT_EQ(socket.read_all(), "0\r\n\r\n");
  EXPECT_EQ(watched.running, 0);
  EXPECT_EQ(server.stats().streams_cut, 0u);
}

TEST(StreamStop, LetsAWriteUnderWayBeWhole) {
  Watched watched;
  auto router = echo_router();
  router.add(Method::get, "/floods", open_route, streaming(floods, watched, Stream::Kind::endless));
  TestServer server(std::move(router));
  RawSocket socket(server.port());
  socket.send(get("/floods"));
  std::size_t before = 1;
  ASSERT_TRUE(eventually([&] {
    ::usleep(100'000);  // sleep: until the socket's buffers are full
    return std::exchange(before, watched.written.load()) == watched.written && before > 0;
  }));
  std::thread stopper([&] { EXPECT_TRUE(server.stop(20s)); });
  ::usleep(50'000);  // sleep: so that the stop finds the write under way
  const auto answer = socket.read_all();
  EXPECT_THAT(answer, EndsWith("xx\r\n0\r\n\r\n"));
  stopper.join();
  EXPECT_EQ(server.stats().streams_cut, 0u);
}

TEST(StreamStop, LetsFiniteOnesFinish) {
  Watched watched;
  TestServer server(stream_router(watched));
  RawSocket socket(server.port());
  socket.send(get("/waits"));
  socket.read_until(begun);
  std::thread stopper([&] { EXPECT_TRUE(server.stop(20s)); });
  EXPECT_TRUE(eventually([&] { return !RawSocket(server.port()).connected(); }));
  EXPECT_EQ(watched.running, 1);
  watched.go_on = true;
  EXPECT_EQ(socket.read_all(), "5\r\nended" + std::string(last));
  stopper.join();
}

TEST(StreamStop, CutsWhatDoesNotEndByTheDeadline) {
  Watched watched;
  TestServer server(stream_router(watched));
  RawSocket waits(server.port());
  waits.send(get("/waits"));
  waits.read_until(begun);
  RawSocket writes(server.port());
  writes.send(get("/floods"));
  writes.read_until("xxx");
  const auto stopped = server.stop(50ms);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::deadline_exceeded);
  EXPECT_EQ(waits.read_all(), "") << "no last chunk";
  EXPECT_THAT(writes.read_all(), Not(EndsWith(last)));
  EXPECT_EQ(watched.running, 0);
  EXPECT_EQ(server.stats().streams_open, 0);
}

TEST(StreamStop, AnEndlessOneThatBeginsAfterItIsEmpty) {
  Watched watched;
  std::atomic<bool> entered = false;
  auto router = echo_router();
  router.add(Method::get, "/late", open_route, [&](Request&) -> Task<Response> {
    entered = true;
    co_await wait_for_test(watched);
    co_return Response::streaming("", {waits(watched), Stream::Kind::endless});
  });
  TestServer server(std::move(router));
  RawSocket idle(server.port());
  RawSocket socket(server.port());
  socket.send(get("/late"));
  ASSERT_TRUE(eventually([&] { return entered.load() && server.stats().connections_open == 2; }));
  std::thread stopper([&] { EXPECT_TRUE(server.stop(20s)); });
  EXPECT_EQ(idle.read_all(), "") << "whoever is idle is closed first, once all know of the stop";
  watched.go_on = true;
  const auto answer = socket.read_all();
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n0\r\n\r\n"));
  stopper.join();
}

}  // namespace
}  // namespace citadel::http
