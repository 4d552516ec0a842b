#include "http/text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "http/gzip.hpp"
#include "http/problem.hpp"
#include "http/serialize.hpp"

namespace citadel::http {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string decoded(std::string_view text, Plus plus = Plus::space) {
  std::string out;
  const auto result = percent_decode(text, plus, "it", out);
  return result ? out : "ERROR " + result.error().message;
}

TEST(PercentDecode, DecodesOrSaysWhatIsWrong) {
  EXPECT_EQ(decoded("a%20b%2Fc"), "a b/c");
  EXPECT_EQ(decoded("a+b"), "a b");
  EXPECT_EQ(decoded("a+b", Plus::literal), "a+b");
  EXPECT_EQ(decoded("%C3%a9"), "\xC3\xA9");
  for (const auto* bad : {"%", "%4", "%zz", "%4g", "abc%2"}) {
    EXPECT_THAT(decoded(bad), HasSubstr("two hexadecimal digits")) << bad;
  }
  for (const auto* bad : {"%00", "%0a", "%1F", "%7f"}) EXPECT_THAT(decoded(bad), HasSubstr("control")) << bad;
  for (const auto* bad : {"%ff", "%C0%80", "%ED%A0%80", "%F4%90%80%80", "%E0%80%80", "%C3"}) {
    EXPECT_THAT(decoded(bad), HasSubstr("UTF-8")) << bad;
  }
}

TEST(Query, SplitsAndRefuses) {
  std::vector<Parameter> out;
  ASSERT_TRUE(parse_query("a=1&b=x%20y&&c&d==", 4, out));
  ASSERT_EQ(out.size(), 4u);
  EXPECT_EQ(out[1].value, "x y");
  EXPECT_EQ(out[2].name + out[2].value, "c");
  EXPECT_EQ(out[3].value, "=");
  out.clear();
  EXPECT_THAT(parse_query("a=1&%61=2", 4, out).error().message, HasSubstr("'a' is given twice"));
  out.clear();
  EXPECT_THAT(parse_query("a&b&c", 2, out).error().message, HasSubstr("more than 2"));
  out.clear();
  EXPECT_FALSE(parse_query("a=%", 2, out));
  out.clear();
  EXPECT_FALSE(parse_query("%=a", 2, out));
}

TEST(RequestId, TakesOnlyWhatIsSafeToEcho) {
  EXPECT_TRUE(is_request_id("abc-DEF_1.2"));
  EXPECT_TRUE(is_request_id(std::string(64, 'a')));
  EXPECT_FALSE(is_request_id(std::string(65, 'a')));
  for (const auto* bad : {"", "a b", "a\r\nb", "a/b", "\xC3\xA9", "a\"b"})
    EXPECT_FALSE(is_request_id(bad)) << bad;
}

TEST(Traceparent, FollowsW3C) {
  EXPECT_TRUE(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
  for (const auto* bad : {"", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                          "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                          "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                          "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                          "00-4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7-01"}) {
    EXPECT_FALSE(is_traceparent(bad)) << bad;
  }
}

TEST(Traceparent, ItsTraceIdIsForLogLines) {
  Request request;
  EXPECT_EQ(request.trace_id(), "");
  request.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  EXPECT_EQ(request.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

TEST(HttpDate, IsTheFixedForm) {
  EXPECT_EQ(http_date(std::chrono::sys_seconds(std::chrono::seconds(784111777))),
            "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(Gunzip, ReadsSeveralMembers) {
  EXPECT_EQ(gunzip(gzip("hello "), 100).value(), "hello ");
  EXPECT_EQ(gunzip(gzip("hello ") + gzip("") + gzip("world"), 11).value(), "hello world");
  const std::string large(3'000'000, 'x');
  EXPECT_EQ(gunzip(gzip(large), large.size()).value(), large);
}

TEST(Gunzip, RefusesWhatIsCutOffOrNotGzip) {
  const auto whole = gzip("hello world, hello world");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto result = gunzip(std::string_view(whole).substr(0, size), 100);
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().code, Code::invalid_argument) << size;
  }
  EXPECT_FALSE(gunzip("plain text", 100));
  EXPECT_FALSE(gunzip(whole + "trailing", 100));
  auto flipped = whole;
  flipped[flipped.size() - 5] ^= 1;  // the CRC
  EXPECT_FALSE(gunzip(flipped, 100));
}

TEST(Gunzip, MembersHaveALimit) {
  std::string body;
  for (std::size_t i = 0; i < gzip_members_max; ++i) body += gzip("");
  EXPECT_EQ(gunzip(body, 100).value(), "");
  body += gzip("");
  const auto result = gunzip(body, 100);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::invalid_argument);
}

TEST(Gunzip, ABombStopsAtTheLimit) {
  const auto bomb = gzip(std::string(50'000'000, '\0'));
  EXPECT_LT(bomb.size(), 100'000u);
  const auto result = gunzip(bomb, 1000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::overloaded);
  EXPECT_TRUE(gunzip(gzip("12345"), 5));
  EXPECT_FALSE(gunzip(gzip("12345"), 4));
  EXPECT_FALSE(gunzip(gzip("12345") + gzip("6"), 5));
}

TEST(Problem, EveryCodeHasAStatusAndHidesOurOwnFailures) {
  for (int i = 0; i <= static_cast<int>(Code::internal); ++i) {
    Error error(static_cast<Code>(i), "the sentence");
    error.detail = "row contents";
    error.where = "execute inner";
    const auto response = to_response(problem_of(error), "id-1");
    EXPECT_EQ(response.status, status_of(error.code));
    EXPECT_GE(response.status, 400);
    EXPECT_EQ(response.content_type, "application/problem+json");
    EXPECT_THAT(response.body, HasSubstr("\"instance\":\"id-1\""));
    EXPECT_THAT(response.body, Not(HasSubstr("row contents")));
    EXPECT_THAT(response.body, Not(HasSubstr("execute inner")));
    if (response.status == 500) EXPECT_THAT(response.body, Not(HasSubstr("the sentence")));
    if (response.status != 500) EXPECT_THAT(response.body, HasSubstr("the sentence"));
  }
}

TEST(Problem, NamesTheFieldThatTheClientSent) {
  const auto field = [](Code code, std::string message) {
    const auto problem = problem_of(Error(code, std::move(message)));
    return problem.members.empty() ? "" : std::get<std::string>(problem.members[0].value);
  };
  EXPECT_EQ(field(Code::invalid_argument, "/3/actor/id: is missing"), "/3/actor/id");
  EXPECT_EQ(field(Code::invalid_argument, "line 4, /time: must be a time"), "/time");
  EXPECT_EQ(field(Code::invalid_argument, "query parameter 'colour' is not known"), "colour");
  EXPECT_EQ(field(Code::conflict, "name: there is a tenant acme already"), "name");
  EXPECT_EQ(field(Code::permission_denied, "tenant: a principal sees the data of its own tenant"), "tenant");
  EXPECT_EQ(field(Code::permission_denied, "GET /v1/tenants is of all tenants: it needs more"), "");
  EXPECT_EQ(field(Code::invalid_argument, "the body is empty"), "");
  EXPECT_EQ(field(Code::unavailable, "database: is away"), "");
}

TEST(Problem, MembersHeadersAndEscapes) {
  auto problem = make_problem(400, "bad", "Bad", "a \"quote\"\n and \xFF");
  problem.members = {{"field", "model"}, {"line", std::int64_t{3}}};
  EXPECT_EQ(to_response(problem, "").body,
            "{\"type\":\"/problems/bad\",\"title\":\"Bad\",\"status\":400,"
            "\"detail\":\"a \\\"quote\\\"\\n and \xEF\xBF\xBD\",\"field\":\"model\",\"line\":3}\n");
  const auto header = [](const Response& response) {
    return response.headers.empty() ? "" : response.headers[0].name + ": " + response.headers[0].value;
  };
  EXPECT_EQ(header(to_response(problem_of(Error(Code::overloaded, "full")), "")), "Retry-After: 1");
  EXPECT_EQ(header(to_response(problem_of(Error(Code::commit_unknown, "?")), "")), "");
  EXPECT_EQ(header(to_response(problem_of(Error(Code::unauthenticated, "who")), "")),
            "WWW-Authenticate: Bearer realm=\"citadel\"");
}

TEST(Serialize, WritesHeadAndBody) {
  std::string out;
  append_answer(Response::json(200, "{}"), {.request_id = "r", .date = "now"}, out);
  EXPECT_EQ(out,
            "HTTP/1.1 200 OK\r\nDate: now\r\nX-Request-Id: r\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\n\r\n{}");
  out.clear();
  append_answer(Response::text(200, "abc"), {.keep_alive = false, .head_only = true}, out);
  EXPECT_EQ(out,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
            "Content-Length: 3\r\n\r\n");
  out.clear();
  append_answer(Response{204, "", {{"X", "a\r\nEvil: b"}}, "dropped"}, {.http_1_1 = false}, out);
  EXPECT_EQ(out, "HTTP/1.1 204 No Content\r\nX: a  Evil: b\r\nConnection: keep-alive\r\n\r\n");
}

TEST(Headers, AreFoundWithoutCase) {
  Headers headers;
  headers.add("Content-Type", "a");
  headers.add("X-Key", "b");
  headers.add("x-key", "c");
  EXPECT_EQ(headers.get("CONTENT-TYPE"), "a");
  EXPECT_EQ(headers.get("x-KEY"), "b");
  EXPECT_EQ(headers.count("X-Key"), 2u);
  EXPECT_FALSE(headers.find("X-Ke"));
  headers.clear();
  EXPECT_EQ(headers.size(), 0u);
}

TEST(Request, AllowQueryNamesTheUnknown) {
  Request request;
  request.query_parameters = {{"from", "1"}, {"form", "2"}};
  EXPECT_TRUE(request.allow_query({"from", "form"}));
  EXPECT_THAT(request.allow_query({"from", "to"}).error().message, HasSubstr("'form'"));
  EXPECT_THAT(request.allow_query({}).error().message, HasSubstr("'from' is not known; there are none"));
}

}  // namespace
}  // namespace citadel::http
