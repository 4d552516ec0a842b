#include "http/parser.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace citadel::http {
namespace {

using Step = RequestParser::Step;

struct Outcome {
  std::string text;  // "complete", "refused STATUS" or "need_more"
  Request request;
  std::size_t left = 0;
};

// Feeds `bytes` in pieces of `piece` bytes, as a session does.
Outcome feed(std::string_view bytes, std::size_t piece, std::size_t body_max, const Limits& limits = {}) {
  RequestParser parser(limits);
  Outcome outcome;
  std::size_t begin = 0;
  std::size_t end = 0;
  for (;;) {
    std::size_t consumed = 0;
    const auto step = parser.parse(bytes.substr(begin, end - begin), consumed, outcome.request);
    begin += consumed;
    outcome.left = bytes.size() - begin;
    if (step == Step::complete) outcome.text = "complete";
    if (step == Step::refused) outcome.text = "refused " + std::to_string(parser.refusal().status);
    if (step == Step::head && !parser.limit_body(body_max)) {
      outcome.text = "refused " + std::to_string(parser.refusal().status);
    }
    if (!outcome.text.empty()) return outcome;
    if (step != Step::need_more) continue;
    if (end == bytes.size()) {
      outcome.text = "need_more";
      return outcome;
    }
    end = std::min(end + piece, bytes.size());
  }
}

std::string outcome_of(std::string_view bytes, std::size_t body_max = 1000, const Limits& limits = {}) {
  const auto whole = feed(bytes, bytes.size(), body_max, limits);
  for (const std::size_t piece : {1, 2, 7}) {
    const auto pieces = feed(bytes, piece, body_max, limits);
    EXPECT_EQ(pieces.text, whole.text) << "in pieces of " << piece << ": " << bytes;
    if (whole.text == "complete") {
      EXPECT_EQ(pieces.request.body, whole.request.body);
    }
  }
  return whole.text;
}

struct Case {
  const char* name;
  std::string bytes;
  const char* expected;
};

std::string get(std::string_view headers) {
  return "GET / HTTP/1.1\r\nHost: h\r\n" + std::string(headers) + "\r\n";
}
std::string chunked(std::string_view body) {
  return "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(body);
}

// long: the corpus is one table.
TEST(RequestParser, Corpus) {
  const std::string nul(1, '\0');
  const Case cases[] = {
      {"plain", get(""), "complete"},
      {"HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "complete"},
      {"one empty line before", "\r\n" + get(""), "complete"},
      {"two empty lines before", "\r\n\r\n" + get(""), "refused 400"},
      {"absolute form", "GET http://h/x?y HTTP/1.1\r\nHost: h\r\n\r\n", "complete"},
      {"asterisk", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "complete"},
      {"asterisk with GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "complete"},
      {"body too short", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab", "need_more"},
      {"chunks", chunked("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"), "complete"},
      {"chunks with a trailer", chunked("3\r\nabc\r\n0\r\nX: y\r\n\r\n"), "complete"},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", "refused 400"},
      {"two Hosts", get("Host: g\r\n"), "refused 400"},
      {"HTTP/0.9", "GET /\r\n\r\n", "refused 400"},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "refused 505"},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", "refused 505"},
      {"HTTP/11", "GET / HTTP/11\r\nHost: h\r\n\r\n", "refused 400"},
      {"lower-case version", "GET / http/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"TLS", "\x16\x03\x01\x02", "refused 400"},
      {"NUL at the start", nul, "refused 400"},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"space at the end", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", "refused 400"},
      {"space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"no slash", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"fragment", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"NUL in the target", "GET /a" + nul + " HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"raw UTF-8 in the target", "GET /\xC3\xA9 HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"tab in the target", "GET /\ta HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
      {"bare LF", "GET / HTTP/1.1\nHost: h\n\n", "refused 400"},
      {"bare LF in the fields", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "refused 400"},
      {"bare CR in a value", get("X: a\rb\r\n"), "refused 400"},
      {"obs-fold", get("X: a\r\n b\r\n"), "refused 400"},
      {"obs-fold by tab", get("X: a\r\n\tb\r\n"), "refused 400"},
      {"NUL in a value", get("X: a" + nul + "b\r\n"), "refused 400"},
      {"NUL in a name", get("X" + nul + ": b\r\n"), "refused 400"},
      {"space before the colon", get("X : b\r\n"), "refused 400"},
      {"no colon", get("Xb\r\n"), "refused 400"},
      {"empty name", get(": b\r\n"), "refused 400"},
      {"both lengths", get("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), "refused 400"},
      {"both lengths, other order", get("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
       "refused 400"},
      {"Content-Length twice", get("Content-Length: 3\r\nContent-Length: 3\r\n"), "refused 400"},
      {"Content-Length list", get("Content-Length: 3, 3\r\n"), "refused 400"},
      {"Content-Length -1", get("Content-Length: -1\r\n"), "refused 400"},
      {"Content-Length +1", get("Content-Length: +1\r\n"), "refused 400"},
      {"Content-Length 0x1", get("Content-Length: 0x1\r\n"), "refused 400"},
      {"Content-Length empty", get("Content-Length: \r\n"), "refused 400"},
      {"Content-Length of 2^64", get("Content-Length: 18446744073709551616\r\n"), "refused 400"},
      {"Content-Length of 2^64-1", get("Content-Length: 18446744073709551615\r\n"), "refused 413"},
      {"Transfer-Encoding gzip, chunked", get("Transfer-Encoding: gzip, chunked\r\n"), "refused 501"},
      {"Transfer-Encoding identity", get("Transfer-Encoding: identity\r\n"), "refused 501"},
      {"Transfer-Encoding xchunked", get("Transfer-Encoding: xchunked\r\n"), "refused 501"},
      {"Transfer-Encoding twice", get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
       "refused 400"},
      {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "refused 400"},
      {"chunk size not hexadecimal", chunked("x\r\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk size empty", chunked("\r\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk size negative", chunked("-1\r\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk size beyond 64 bits", chunked("11111111111111111\r\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk size of 2^64-1", chunked("ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), "refused 413"},
      {"chunk longer than its size", chunked("3\r\nabcd\r\n0\r\n\r\n"), "refused 400"},
      {"chunk with bare LF", chunked("3\nabc\n0\n\n"), "refused 400"},
      {"chunk size with a sign", chunked("+3\r\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk size with 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk size, then text", chunked("3 x\r\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk size, then CR alone", chunked("3\rabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk ends in LF", chunked("3\r\nabc\n0\r\n\r\n"), "refused 400"},
      {"chunk ends in CR alone", chunked("3\r\nabc\r0\r\n\r\n"), "refused 400"},
      {"chunk size in capitals", chunked("A\r\n0123456789\r\n0\r\n\r\n"), "complete"},
      {"chunk extension after a space", chunked("3 ;x\r\nabc\r\n0;y=\"z\"\r\n\r\n"), "complete"},
      {"chunk extension with NUL", chunked("3;" + nul + "\r\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"chunk extension with bare LF", chunked("3;x\nabc\r\n0\r\n\r\n"), "refused 400"},
      {"last chunk without the last line", chunked("3\r\nabc\r\n0\r\n"), "need_more"},
      {"trailer without a colon", chunked("0\r\nX\r\n\r\n"), "refused 400"},
      {"trailer folded", chunked("0\r\nX: y\r\n z\r\n\r\n"), "refused 400"},
      {"trailer with bare LF", chunked("0\r\nX: y\n\r\n"), "refused 400"},
      {"trailer with NUL", chunked("0\r\nX: " + nul + "\r\n\r\n"), "refused 400"},
      {"end with CR alone", chunked("0\r\n\rx"), "refused 400"},
      {"Expect unknown", get("Expect: tea\r\n"), "refused 417"},
      {"method that is no token", "G(T / HTTP/1.1\r\nHost: h\r\n\r\n", "refused 400"},
  };
  for (const auto& [name, bytes, expected] : cases) {
    SCOPED_TRACE(name);
    EXPECT_EQ(outcome_of(bytes), expected);
  }
}

TEST(RequestParser, ReadsTheParts) {
  const auto got =
      feed("PUT /a%20b?c=d HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\nContent-Length: 3\r\n\r\nabcGET /", 1000, 3);
  EXPECT_EQ(got.text, "complete");
  EXPECT_EQ(got.request.method, Method::put);
  EXPECT_EQ(got.request.target, "/a%20b?c=d");
  EXPECT_EQ(got.request.path(), "/a%20b");
  EXPECT_EQ(got.request.headers.get("x-y"), "z");
  EXPECT_EQ(got.request.body, "abc");
  EXPECT_EQ(got.left, 5u);
}

TEST(RequestParser, AbsoluteFormBecomesAPath) {
  EXPECT_EQ(feed("GET http://h:1/x?y HTTP/1.1\r\nHost: h\r\n\r\n", 1000, 3).request.target, "/x?y");
  EXPECT_EQ(feed("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", 1000, 3).request.target, "/");
  EXPECT_EQ(feed("GET http://h?y HTTP/1.1\r\nHost: h\r\n\r\n", 1000, 3).request.target, "/?y");
}

TEST(RequestParser, ATrailerIsDropped) {
  const auto got = feed(chunked("3\r\nabc\r\n0\r\nX-Api-Key: y\r\n\r\n"), 1000, 3);
  EXPECT_EQ(got.text, "complete");
  EXPECT_FALSE(got.request.headers.find("X-Api-Key"));
  EXPECT_EQ(got.request.body, "abc");
}

TEST(RequestParser, EachLimitIsExact) {
  Limits limits;
  limits.target_bytes_max = 20;
  limits.header_bytes_max = 200;
  limits.header_count_max = 4;
  limits.chunk_header_bytes_max = 32;
  const auto target = [](std::size_t size) {
    return "GET /" + std::string(size - 1, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n";
  };
  EXPECT_EQ(outcome_of(target(20), 10, limits), "complete");
  EXPECT_EQ(outcome_of(target(21), 10, limits), "refused 414");
  EXPECT_EQ(outcome_of("GET /" + std::string(300, 'a'), 10, limits), "refused 414");
  const auto head = [](std::size_t size) {
    return get("X: " + std::string(size - get("X: \r\n").size(), 'a') + "\r\n");
  };
  ASSERT_EQ(head(200).size(), 200u);
  EXPECT_EQ(outcome_of(head(200), 10, limits), "complete");
  EXPECT_EQ(outcome_of(head(201), 10, limits), "refused 431");
  EXPECT_EQ(outcome_of(get("X: " + std::string(300, 'a')), 10, limits), "refused 431");
  EXPECT_EQ(outcome_of(get("A: 1\r\nB: 2\r\nC: 3\r\n"), 10, limits), "complete");
  EXPECT_EQ(outcome_of(get("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n"), 10, limits), "refused 431");
  EXPECT_EQ(outcome_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789", 10, limits),
            "complete");
  EXPECT_EQ(outcome_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", 10, limits),
            "refused 413");
  EXPECT_EQ(outcome_of(chunked("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"), 10, limits), "complete");
  EXPECT_EQ(outcome_of(chunked("5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n"), 10, limits), "refused 413");
  EXPECT_EQ(outcome_of(chunked("0;" + std::string(28, 'a') + "\r\n\r\n"), 10, limits), "complete");
  EXPECT_EQ(outcome_of(chunked("0;" + std::string(29, 'a') + "\r\n\r\n"), 10, limits), "refused 400");
  EXPECT_EQ(outcome_of(chunked("1;" + std::string(100, 'a')), 10, limits), "refused 400");
  EXPECT_EQ(outcome_of(chunked("0\r\nX: " + std::string(100, 'a')), 10, limits), "refused 400");
}

TEST(RequestParser, IsReadyForTheNextAfterReset) {
  const Limits limits;
  RequestParser parser(limits);
  for (int i = 0; i < 3; ++i) {
    Request request;
    std::size_t consumed = 0;
    const auto bytes = get("");
    EXPECT_EQ(parser.parse(bytes, consumed, request), Step::head);
    EXPECT_FALSE(parser.has_body());
    EXPECT_TRUE(parser.keep_alive());
    EXPECT_EQ(parser.parse("", consumed, request), Step::complete);
    parser.reset();
    EXPECT_TRUE(parser.in_head());
  }
}

}  // namespace
}  // namespace citadel::http
