// The client against servers that refuse, hang or answer what they should not.
#include "http/client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/http_testing.hpp"

namespace citadel::http {
namespace {

using testing::HasSubstr;

TEST(HttpClient, SaysWhereItCannotConnect) {
  asio::io_context context;
  UniqueFd holder(::socket(AF_INET, SOCK_STREAM, 0));  // bound, not listening: refused
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(holder.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  ::getsockname(holder.get(), reinterpret_cast<sockaddr*>(&address), &size);
  const auto port = ntohs(address.sin_port);
  Client client(context.get_executor(), {.port = port});
  const auto refused = aio::run(context, client.request(Method::get, "/", {}, "", Deadline::after(20s)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("127.0.0.1:" + std::to_string(port)));
  // Listening, but nobody answers.
  ASSERT_EQ(::listen(holder.get(), 4), 0);
  const auto late = aio::run(context, client.request(Method::get, "/", {}, "", Deadline::after(50ms)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::deadline_exceeded);
  EXPECT_FALSE(aio::run(context, client.pipeline({{Method::get, "/", {}, ""}}, Deadline::after(50ms))));
  EXPECT_FALSE(aio::run(context, client.pipeline_raw(get_hello, 1, Deadline::after(50ms))));
}

TEST(HttpClient, ReadsUnusualAnswersAndRefusesBadOnes) {
  CannedServer canned({"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
                       "HTTP/1.0 200 OK\r\n\r\nuntil the end",
                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                       "not http at all\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
                       "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"});
  asio::io_context context;
  const auto ask = [&] {
    Client client(context.get_executor(), {.port = canned.port, .response_body_bytes_max = 100});
    const auto response = aio::run(context, client.request(Method::get, "/", {}, "", Deadline::after(20s)));
    return response ? response->body : std::string(to_string(response.error().code));
  };
  EXPECT_EQ(ask(), "a");
  EXPECT_EQ(ask(), "until the end");
  EXPECT_EQ(ask(), "ab");
  EXPECT_EQ(ask(), "corrupt");
  EXPECT_EQ(ask(), "connection_lost");
  EXPECT_EQ(ask(), "corrupt");
}

TEST(HttpClient, AKeptConnectionThatWasClosedIsReplacedForGetOnly) {
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
  CannedServer canned({answer, answer, answer});
  asio::io_context context;
  Client client(context.get_executor(), {.port = canned.port});
  const auto ask = [&](Method method) {
    const auto response = aio::run(context, client.request(method, "/", {}, "", Deadline::after(20s)));
    return response ? response->body : std::string(to_string(response.error().code));
  };
  EXPECT_EQ(ask(Method::get), "a");
  EXPECT_EQ(ask(Method::get), "a");
  EXPECT_EQ(ask(Method::post), "connection_lost");
  EXPECT_EQ(ask(Method::post), "a");
}

TEST(HttpClient, ParsesUrls) {
  const auto place = [](std::string_view url) {
    const auto options = parse_url(url);
    return options ? options->host + "|" + std::to_string(options->port) : std::string("bad");
  };
  EXPECT_EQ(place("http://127.0.0.1:8480"), "127.0.0.1|8480");
  EXPECT_EQ(place("http://host/"), "host|80");
  EXPECT_EQ(place("http://[::1]:99"), "::1|99");
  for (const auto* bad : {"", "host:1", "https://host", "http://", "http://:80",
                          "http://host:", "http://host:x", "http://host:0", "http://host:99999",
                          "http://[::1", "http://[::1]x", "http://host/path", "http://a@b"}) {
    EXPECT_EQ(place(bad), "bad") << bad;
  }
  EXPECT_EQ(parse_http_or_https_url("https://host")->port, 443);
  EXPECT_EQ(parse_http_or_https_url("https://host:8443/")->port, 8443);
  EXPECT_TRUE(parse_http_or_https_url("https://host")->https);
  EXPECT_FALSE(parse_http_or_https_url("http://host")->https);
  for (const auto* bad : {"https://", "httpss://host", "https://host/path"})
    EXPECT_FALSE(parse_http_or_https_url(bad)) << bad;
}

TEST(HttpClient, TlsWithWhatSpeaksNoneIsAnErrorThatSaysSo) {
  CannedServer canned({"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"});
  asio::io_context context;
  Client client(context.get_executor(), {.port = canned.port, .tls = crypto::TlsTrust::load({}).value()});
  const auto refused = aio::run(context, client.request(Method::get, "/", {}, "", Deadline::after(20s)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::connection_lost);
  EXPECT_THAT(refused.error().message,
              HasSubstr("127.0.0.1:" + std::to_string(canned.port) + ": the TLS handshake"));
}

}  // namespace
}  // namespace citadel::http
