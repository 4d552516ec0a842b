// Answers read piece by piece: the reader over every way to cut one, and the client over real connections.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.hpp"
#include "http/answer_reader.hpp"
#include "http/http_testing.hpp"

namespace citadel::http {
namespace {

using testing::HasSubstr;

struct Read {
  int status = 0;
  std::string headers;
  std::string body;
  std::string end;  // "complete", "malformed", "unfinished", or "closed" where the connection's end ends it
  std::string rest;
  bool keep_alive = false;
  friend bool operator==(const Read&, const Read&) = default;
  friend void PrintTo(const Read& read, std::ostream* out) {
    *out << read.status << " [" << read.headers << "] '" << read.body << "' " << read.end << " rest '"
         << read.rest << "'";
  }
};

template <class Size>
Read read(std::string_view text, Size next_size, Method method = Method::get,
          AnswerReader::Limits limits = {.header_bytes_max = 100, .body_bytes_max = 50}) {
  using Step = AnswerReader::Step;
  AnswerReader reader(method, limits);
  Read read;
  std::size_t begin = 0;
  std::size_t end = 0;
  for (;;) {
    std::size_t consumed = 0;
    const auto before = read.body.size();
    const auto step = reader.read(text.substr(begin, end - begin), consumed, read.body);
    EXPECT_LE(consumed, end - begin);
    EXPECT_LE(read.body.size() - before, end - begin);
    begin += consumed;
    if (step == Step::head) {
      read.status = reader.status();
      for (std::size_t i = 0; i < reader.headers().size(); ++i) {
        read.headers.append(reader.headers().name(i))
            .append("=")
            .append(reader.headers().value(i))
            .append(";");
      }
    }
    // How much of it was read before depends on the cuts.
    if (step == Step::malformed) return Read{0, "", "", "malformed", "", false};
    if (step == Step::complete) {
      read.end = "complete";
      read.keep_alive = reader.keep_alive();
      read.rest = text.substr(begin);
      return read;
    }
    if (step == Step::need_more && end == text.size()) {
      read.end = reader.finish() == Step::complete ? "closed" : "unfinished";
      return read;
    }
    if (step == Step::need_more) end = std::min(text.size(), end + next_size());
  }
}
Read read_whole(std::string_view text, Method method = Method::get) {
  return read(text, [&] { return text.size(); }, method);
}

const std::string answers[] = {
    "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nrest",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: v\r\n\r\nrest",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 204 No "
    "Content\r\n\r\nrest",
    "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nrest",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
    "HTTP/1.1 200 OK\r\nContent-Length: 51\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n33\r\n",
    "HTTP/1.0 200 OK\r\n\r\n" + std::string(51, 'x'),
    "HTTP/1.0 200 OK\r\n\r\n" + std::string(50, 'x'),
    "HTTP/1.1 200 OK\r\nX: " + std::string(81, 'x') + "\r\n\r\n",  // 101 bytes of header
    "HTTP/1.1 200 OK\r\nX: " + std::string(80, 'x') + "\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: " + std::string(500, 'x'),
    "not http at all\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "",
};

TEST(AnswerReader, ReadsAnswers) {
  const std::string ends[] = {"complete",  "complete",  "complete",   "unfinished", "malformed",
                              "complete",  "closed",    "complete",   "complete",   "malformed",
                              "malformed", "malformed", "closed",     "malformed",  "closed",
                              "malformed", "malformed", "unfinished", "unfinished"};
  static_assert(std::size(ends) == std::size(answers));
  for (std::size_t i = 0; i < std::size(answers); ++i)
    EXPECT_EQ(read_whole(answers[i]).end, ends[i]) << answers[i];
  EXPECT_EQ(read_whole(answers[0]),
            (Read{200, "A=b;Content-Length=5;", "hello", "complete", "HTTP/1.1", true}));
  EXPECT_EQ(read_whole(answers[2]),
            (Read{200, "Transfer-Encoding=chunked;", "abcde", "complete", "rest", true}));
  EXPECT_EQ(read_whole(answers[5]), (Read{204, "", "", "complete", "rest", true}));
  EXPECT_EQ(read_whole(answers[6]), (Read{200, "", "until the end", "closed", "", false}));
  EXPECT_EQ(read_whole(answers[0], Method::head).body, "");
  EXPECT_FALSE(read_whole(answers[8]).keep_alive);
}

TEST(AnswerReader, ReadsTheSameHoweverItIsCut) {
  for (const auto method : {Method::get, Method::head}) {
    for (const auto& text : answers) {
      const auto whole = read_whole(text, method);
      for (std::size_t first = 1; first <= text.size(); ++first) {
        std::size_t next = first;
        EXPECT_EQ(read(text, [&] { return std::exchange(next, text.size()); }, method), whole) << first;
      }
      for (const std::size_t piece : {1, 2, 3, 7})
        EXPECT_EQ(read(text, [&] { return piece; }, method), whole);
    }
  }
}

TEST(AnswerReader, ReadsTheSameHoweverRandomBytesAreCut) {
  const auto seed = random_seed();
  SCOPED_TRACE(seed);
  SeededRandom random(seed);
  for (int round = 0; round < 5000; ++round) {
    std::string text = answers[random.below(std::size(answers))];
    for (auto changes = random.below(4); changes > 0 && !text.empty(); --changes) {
      text[random.below(text.size())] = "\r\n :;0a\0"[random.below(8)];
    }
    EXPECT_EQ(read(text, [&] { return 1 + random.below(9); }), read_whole(text)) << text;
  }
}

// Each piece of a streamed answer, then how it ended.
Task<std::vector<std::string>> pieces(Client& client, ClientRequest request,
                                      Monotonic::duration piece_time = 20s) {
  std::vector<std::string> all;
  auto answer = co_await client.stream(std::move(request), Deadline::after(20s));
  if (!answer) co_return std::vector{std::string(to_string(answer.error().code))};
  for (;;) {
    auto piece = co_await answer->next(Deadline::after(piece_time));
    if (!piece) all.emplace_back(to_string(piece.error().code));
    if (piece && !*piece) all.push_back("END " + std::to_string(answer->status()));
    if (!piece || !*piece) co_return all;
    EXPECT_FALSE((*piece)->empty());
    all.push_back(std::move(**piece));
  }
}

std::string joined(const std::vector<std::string>& pieces) {
  std::string all;
  for (const auto& piece : pieces) all += piece;
  return all;
}

TEST(ClientStream, ReadsEachKindOfAnswerToItsEnd) {
  CannedServer canned(
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.0 200 OK\r\n\r\nto the end",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
       "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
       "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab", "nothing like it\r\n\r\n"});
  asio::io_context context;
  const auto ask = [&] {
    Client client(context.get_executor(), {.port = canned.port});
    return joined(aio::run(context, pieces(client, {})));
  };
  EXPECT_EQ(ask(), "abcEND 200");
  EXPECT_EQ(ask(), "to the endEND 200");
  EXPECT_EQ(ask(), "abcEND 200");
  EXPECT_EQ(ask(), "END 204");
  EXPECT_EQ(ask(), "abconnection_lost");
  EXPECT_EQ(ask(), "abconnection_lost");
  EXPECT_EQ(ask(), "corrupt");
  EXPECT_EQ(ask(), "corrupt");
}

Router large_router() {
  auto router = echo_router();
  router.add(Method::get, "/large", open_route, [](Request&) -> Task<Response> {
    co_return Response::streaming("", {[](StreamWriter& out) -> Task<Result<void>> {
                                    const std::string piece(1'000'000, 'x');
                                    for (int i = 0; i < 100; ++i) CITADEL_CO_TRY(co_await out.write(piece));
                                    co_return Result<void>();
                                  }});
  });
  router.add(Method::get, "/pause", open_route, [](Request&) -> Task<Response> {
    co_return Response::streaming(
        "", {[](StreamWriter& out) -> Task<Result<void>> {
          CITADEL_CO_TRY(co_await out.write("begun"));
          co_await aio::sleep_for(1h);  // sleep: a stream in which nothing more comes
          co_return Result<void>();
        }});
  });
  return router;
}

TEST(ClientStream, ReadsALargeAnswerInSmallPiecesOverAConnectionThatIsKept) {
  TestServer server(large_router());
  auto client = server.client();
  for (int i = 0; i < 2; ++i) {
    const auto all = aio::run(server.context(), pieces(client, {.target = "/large"}));
    std::size_t size = 0;
    for (std::size_t p = 0; p + 1 < all.size(); ++p) {
      EXPECT_LE(all[p].size(), 64u * 1024);
      size += all[p].size();
    }
    EXPECT_EQ(size, 100'000'000u);
    EXPECT_EQ(all.back(), "END 200");
  }
  EXPECT_EQ(server.request(client, {Method::get, "/hello", {}, ""}).body, "hi");
  EXPECT_EQ(server.stats().connections_accepted, 1u);
}

TEST(ClientStream, EachPieceHasItsDeadline) {
  TestServer server(large_router());
  auto client = server.client();
  EXPECT_EQ(joined(aio::run(server.context(), pieces(client, {.target = "/pause"}, 50ms))),
            "begundeadline_exceeded");
  EXPECT_EQ(server.request(client, {Method::get, "/hello", {}, ""}).body, "hi");
  EXPECT_TRUE(eventually([&] { return server.stats().streams_open == 0; }));
}

TEST(ClientStream, IsGivenUpByTheNextCallAndByItsDestruction) {
  TestServer server(large_router());
  auto client = server.client();
  auto given_up = aio::run(server.context(), client.stream({.target = "/pause"}, Deadline::after(20s)));
  ASSERT_TRUE(given_up);
  EXPECT_EQ(given_up->status(), 200);
  EXPECT_EQ(server.request(client, {Method::get, "/hello", {}, ""}).body, "hi");
  EXPECT_TRUE(eventually([&] { return server.stats().streams_open == 0; }));
  {
    auto destroyed = aio::run(server.context(), client.stream({.target = "/pause"}, Deadline::after(20s)));
    ASSERT_TRUE(destroyed);
    EXPECT_EQ(server.stats().streams_open, 1);
  }
  EXPECT_TRUE(eventually([&] { return server.stats().streams_open == 0; }));
  EXPECT_EQ(server.request(client, {Method::get, "/hello", {}, ""}).body, "hi");
}

TEST(ClientStream, ABeginningOnAClosedConnectionIsMadeAgain) {
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
  CannedServer canned({answer, answer});
  asio::io_context context;
  Client client(context.get_executor(), {.port = canned.port});
  EXPECT_EQ(joined(aio::run(context, pieces(client, {}))), "aEND 200");
  EXPECT_EQ(joined(aio::run(context, pieces(client, {}))), "aEND 200");
}

}  // namespace
}  // namespace citadel::http
