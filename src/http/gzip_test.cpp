// Compressed answers, whole and streamed.
#include "http/gzip.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.hpp"
#include "http/answer_reader.hpp"
#include "http/http_testing.hpp"
#include "http/text.hpp"

namespace citadel::http {
namespace {

constexpr std::size_t text_bytes_max = 10'000'000;

std::string unpacked(std::string_view bytes) {
  const auto text = gunzip(bytes, text_bytes_max);
  return text ? *text : text.error().to_string();
}

TEST(GzipWriter, WritesOneMemberHoweverItIsFed) {
  const auto seed = random_seed();
  SCOPED_TRACE(seed);
  SeededRandom random(seed);
  for (int round = 0; round < 50; ++round) {
    GzipWriter writer;
    std::string text, packed;
    for (auto pieces = random.below(8); pieces > 0; --pieces) {
      std::string piece(random.below(100'000), 'a');
      // Every other one cannot be compressed.
      if (pieces % 2 == 0) {
        for (auto& c : piece) c = static_cast<char>(random.next());
      }
      text += piece;
      writer.add(piece, random.below(2) == 0 ? GzipWriter::Flush::now : GzipWriter::Flush::later, packed);
    }
    writer.finish(packed);
    EXPECT_EQ(unpacked(packed), text);
  }
}

TEST(GzipWriter, FlushedNowCanBeReadNow) {
  GzipWriter writer;
  std::string packed;
  writer.add("an event\n", GzipWriter::Flush::now, packed);
  EXPECT_THAT(gunzip(packed, text_bytes_max).error().message, testing::HasSubstr("cut off"));
  GzipWriter later;
  std::string none;
  later.add("an event\n", GzipWriter::Flush::later, none);
  EXPECT_LT(none.size(), packed.size());
  writer.add("", GzipWriter::Flush::now, packed);
  writer.finish(packed);
  EXPECT_EQ(unpacked(packed), "an event\n");
}

TEST(AcceptEncoding, IsRead) {
  const auto accepts = [](std::initializer_list<std::string_view> values) {
    Headers headers;
    for (const auto value : values) headers.add("accept-encoding", value);
    return accepts_gzip(headers);
  };
  for (const auto* yes : {"gzip", "GZIP", "x-gzip", "br, gzip", "deflate;q=1,\tgzip;q=0.5 ,br", "*",
                          "identity;q=0, *;q=0.1", "gzip;q=0.001", "*;q=0, gzip"}) {
    EXPECT_TRUE(accepts({yes})) << yes;
  }
  for (const auto* no :
       {"", "br", "gzip;q=0", "gzip; q=0.000", "*, gzip;q=0", "*;q=0", "gzipp", "identity", ",;,"}) {
    EXPECT_FALSE(accepts({no})) << no;
  }
  EXPECT_FALSE(accepts({}));
  EXPECT_TRUE(accepts({"br", "gzip"})) << "in two fields";
}

Router packing_router() {
  Router router;
  const RouteOptions packing{.auth = Auth::none, .gzip = RouteOptions::Gzip::accepted};
  router.add(Method::get, "/size/{size}", packing, [](Request& request) -> Task<Response> {
    co_return Response::text(200, std::string(std::stoul(std::string(request.path_parameter("size"))), 'a'));
  });
  router.add(Method::get, "/packed", packing, [](Request&) -> Task<Response> {
    auto response = Response::text(200, gzip(std::string(100'000, 'a')));
    response.headers.push_back({"content-encoding", "gzip"});
    co_return response;
  });
  router.add(Method::get, "/never", open_route,
             [](Request&) -> Task<Response> { co_return Response::text(200, std::string(2000, 'a')); });
  router.add(Method::get, "/stream", packing, [](Request&) -> Task<Response> {
    co_return Response::streaming("text/plain", {[](StreamWriter& out) -> Task<Result<void>> {
                                    for (int i = 0; i < 1000; ++i) {
                                      CITADEL_CO_TRY(co_await out.write("line " + std::to_string(i) + "\n"));
                                    }
                                    co_return co_await out.write(std::string(1'000'000, 'z'));
                                  }});
  });
  router.add(Method::get, "/events", packing, [](Request&) -> Task<Response> {
    co_return Response::streaming("text/plain", {[](StreamWriter& out) -> Task<Result<void>> {
                                                   CITADEL_CO_TRY(co_await out.write("now"));
                                                   co_await aio::sleep_for(1h);  // sleep: no more comes
                                                   co_return Result<void>();
                                                 },
                                                 Stream::Kind::endless});
  });
  return router;
}

const std::vector<Parameter> accept_gzip{{"Accept-Encoding", "gzip"}};

TEST(GzipAnswer, IsSentToThoseWhoAcceptIt) {
  TestServer server(packing_router());
  auto client = server.client();
  const auto packed = server.request(client, {Method::get, "/size/5000", accept_gzip, ""});
  EXPECT_EQ(packed.headers.get("Content-Encoding"), "gzip");
  EXPECT_EQ(packed.headers.get("Vary"), "Accept-Encoding");
  EXPECT_LT(packed.body.size(), 100u);
  EXPECT_EQ(unpacked(packed.body), std::string(5000, 'a'));
  const auto head = server.request(client, {Method::head, "/size/5000", accept_gzip, ""});
  EXPECT_EQ(head.headers.get("Content-Length"), std::to_string(packed.body.size()));
  const auto plain = server.request(client, {Method::get, "/size/5000", {}, ""});
  EXPECT_FALSE(plain.headers.find("Content-Encoding"));
  EXPECT_EQ(plain.headers.get("Vary"), "Accept-Encoding") << "a cache must know";
  EXPECT_EQ(plain.body, std::string(5000, 'a'));
  const auto small = server.request(client, {Method::get, "/size/1023", accept_gzip, ""});
  EXPECT_FALSE(small.headers.find("Content-Encoding"));
  EXPECT_FALSE(server.request(client, {Method::get, "/never", accept_gzip, ""}).headers.find("Vary"));
  const auto before = server.request(client, {Method::get, "/packed", accept_gzip, ""});
  EXPECT_EQ(unpacked(before.body), std::string(100'000, 'a')) << "not packed twice";
  EXPECT_EQ(before.headers.count("Content-Encoding"), 1u);
}

TEST(GzipAnswer, IsStreamed) {
  std::atomic<std::size_t> reported = 0;
  ServerOptions options;
  options.on_request = [&](const RequestSummary& summary) { reported = summary.response_bytes; };
  TestServer server(packing_router(), options);
  auto client = server.client();
  const auto plain = server.request(client, {Method::get, "/stream", {}, ""});
  EXPECT_FALSE(plain.headers.find("Content-Encoding"));
  const auto packed = server.request(client, {Method::get, "/stream", accept_gzip, ""});
  EXPECT_EQ(packed.headers.get("Content-Encoding"), "gzip");
  EXPECT_LT(packed.body.size(), plain.body.size() / 50);
  EXPECT_EQ(unpacked(packed.body), plain.body);
  EXPECT_TRUE(eventually([&] { return reported == packed.body.size(); }));
  const auto old = exchange(server.port(), "GET /stream HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
  EXPECT_EQ(unpacked(std::string_view(old).substr(old.find("\r\n\r\n") + 4)), plain.body);
  EXPECT_EQ(
      server.request(client, {Method::head, "/stream", accept_gzip, ""}).headers.get("Content-Encoding"),
      "gzip");
}

TEST(GzipAnswer, OfAnEndlessStreamGoesOutAtOnce) {
  TestServer server(packing_router());
  auto client = server.client();
  const auto piece = aio::run(server.context(), [&]() -> Task<Result<std::string>> {
    CITADEL_CO_ASSIGN(
        auto answer, co_await client.stream({Method::get, "/events", accept_gzip, ""}, Deadline::after(20s)));
    CITADEL_CO_ASSIGN(auto first, co_await answer.next(Deadline::after(20s)));
    co_return first.value_or("");
  }());
  ASSERT_TRUE(piece) << piece.error().to_string();
  GzipWriter same;
  std::string expected;
  same.add("now", GzipWriter::Flush::now, expected);
  EXPECT_EQ(*piece, expected);
}

}  // namespace
}  // namespace citadel::http
