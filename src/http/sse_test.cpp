// Server-sent events: the text, the parser over every way to cut it, and both over a real connection.
#include "http/sse.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.hpp"
#include "http/http_testing.hpp"

namespace citadel::http {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string encode(const Event& event) {
  std::string out;
  append_event(event, out);
  return out;
}

struct Read {
  Events events;
  std::string last_id;
  std::optional<std::chrono::milliseconds> retry;
  bool failed = false;
  friend bool operator==(const Read&, const Read&) = default;
};

// `next_size` says how long each piece is.
template <class Size>
Read read(std::string_view text, Size next_size, std::size_t limit = EventParser::event_bytes_max_default) {
  EventParser parser(limit);
  Read read;
  while (!text.empty() && !read.failed) {
    const auto piece = text.substr(0, next_size());
    text.remove_prefix(piece.size());
    read.failed = !parser.feed(piece, read.events);
  }
  read.last_id = parser.last_id();
  read.retry = parser.retry();
  return read;
}
Read read_whole(std::string_view text) {
  return read(text, [&] { return text.size(); });
}

TEST(Sse, WritesEvents) {
  EXPECT_EQ(encode({"7", "audit", "{}"}), "id: 7\nevent: audit\ndata: {}\n\n");
  EXPECT_EQ(encode({"", "", "a\nb\r\nc\rd\n"}), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
  EXPECT_EQ(encode({"", "", ""}), "data: \n\n");
  EXPECT_EQ(encode({"1\n\ndata: evil", std::string("a\0\rb", 4), ""}),
            "id: 1  data: evil\nevent: a  b\ndata: \n\n");
  std::string out;
  append_keep_alive(out);
  append_retry(1500ms, out);
  EXPECT_EQ(out, ":\n\nretry: 1500\n\n");
}

TEST(Sse, ReadsWhatItWrote) {
  const Events events{{"1", "message", "one"}, {"1-é", "audit", "two\n\nlines: of text"}, {"3", "x", ""}};
  std::string text;
  append_retry(2s, text);
  for (const auto& event : events) {
    append_event(event, text);
    append_keep_alive(text);
  }
  EXPECT_EQ(read_whole(text), (Read{events, "3", 2s}));
}

// The examples of the standard, and what it says in its rules.
TEST(Sse, ReadsAsTheStandardSays) {
  EXPECT_THAT(read_whole("data: YHOO\ndata: +2\ndata: 10\n\n").events,
              ElementsAre(Event{"", "message", "YHOO\n+2\n10"}));
  EXPECT_THAT(read_whole(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third "
                         "event\n\n")
                  .events,
              ElementsAre(Event{"1", "message", "first event"}, Event{"", "message", "second event"},
                          Event{"", "message", " third event"}));
  EXPECT_THAT(read_whole("data\n\ndata\ndata\n\ndata:").events,
              ElementsAre(Event{"", "message", ""}, Event{"", "message", "\n"}));
  EXPECT_THAT(read_whole("data:test\n\ndata: test\n\n").events,
              ElementsAre(Event{"", "message", "test"}, Event{"", "message", "test"}));
  EXPECT_THAT(read_whole("\xEF\xBB\xBF"
                         "event: a\rdata: b\r\n\r\nevent: none\n\ndata: c\n\n")
                  .events,
              ElementsAre(Event{"", "a", "b"}, Event{"", "message", "c"}));
  EXPECT_EQ(read_whole("id: 4\n\n").last_id, "4") << "without data, no event, but its id holds";
  EXPECT_EQ(read_whole(std::string_view("id: 4\n\nid: a\0b\n\nid: 5\n", 22)).last_id, "4");
  EXPECT_EQ(read_whole("retry: 10\nretry: -1\nretry: 1x\nretry:\nretry: 99999999999999999999\n").retry, 10ms);
  EXPECT_THAT(read_whole("Data: a\nother: b\ndata : c\n\n").events, testing::IsEmpty());
}

TEST(Sse, ReadsTheSameHoweverItIsCut) {
  const std::string text =
      "\xEF\xBB\xBF: hello\r\n\r\nid: 1\r\nevent: a\ndata: one\rdata: two\r\n\r\n\n\rdata\n\nretry: "
      "7\n\nid: 2\ndata: \xC3\xA9\r\r\n:\n\ndata: cut off";
  const auto whole = read_whole(text);
  ASSERT_EQ(whole.events.size(), 3u);
  for (std::size_t first = 0; first <= text.size(); ++first) {
    for (std::size_t second = first; second <= text.size(); ++second) {
      std::vector<std::size_t> sizes{first, second - first, text.size()};
      EXPECT_EQ(read(text,
                     [&] {
                       const auto size = sizes.front();
                       sizes.erase(sizes.begin());
                       return size;
                     }),
                whole)
          << first << " " << second;
    }
  }
  EXPECT_EQ(read(text, [] { return 1u; }), whole);
}

TEST(Sse, ReadsTheSameHoweverRandomTextIsCut) {
  const auto seed = random_seed();
  SCOPED_TRACE(seed);
  SeededRandom random(seed);
  const std::string_view alphabet[] = {"\n",      "\r",
                                       "\r\n",    ":",
                                       " ",       "data",
                                       "data: x", "id:9",
                                       "id",      "event",
                                       "retry:5", "\xEF\xBB\xBF",
                                       "\n\n",    "long long long long text"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (auto left = random.below(30); left > 0; --left) text += alphabet[random.below(std::size(alphabet))];
    const auto limit = 16 + random.below(60);
    const auto whole = read(text, [&] { return text.size(); }, limit);
    EXPECT_EQ(read(text, [&] { return 1 + random.below(5); }, limit), whole) << text;
    EXPECT_EQ(read(text, [] { return 1u; }, limit), whole) << text;
  }
}

TEST(Sse, AnEventBeyondTheLimitIsRefused) {
  const auto fits = [](std::string_view text) { return !read(text, [] { return 3u; }, 20).failed; };
  EXPECT_TRUE(fits("data: 90123456789012\n\ndata: 90123456789012\n\n")) << "each for itself";
  EXPECT_FALSE(fits("data: 901234567890123\n\n"));
  EXPECT_FALSE(fits("data: 90123456789012\ndata: 9\n\n"));
  EXPECT_FALSE(fits("a comment or a line without an end"));
  EventParser parser(20);
  Events events;
  const auto refused = parser.feed("data: 901234567890123", events);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::corrupt);
}

TEST(Sse, ReadsLastEventId) {
  const auto id = [](std::initializer_list<std::string_view> values) {
    Request request;
    for (const auto value : values) request.headers.add("last-event-id", value);
    const auto read = last_event_id(request);
    return read ? read->value_or("none") : std::string(to_string(read.error().code));
  };
  EXPECT_EQ(id({"42"}), "42");
  EXPECT_EQ(id({"é"}), "é");
  EXPECT_EQ(id({}), "none");
  EXPECT_EQ(id({""}), "none");
  EXPECT_EQ(id({std::string(256, 'a')}), std::string(256, 'a'));
  EXPECT_EQ(id({std::string(257, 'a')}), "invalid_argument");
  EXPECT_EQ(id({"1", "2"}), "invalid_argument");
  EXPECT_EQ(id({"a\tb"}), "invalid_argument");
  EXPECT_EQ(id({"\xFF"}), "invalid_argument");
}

// Counts on from Last-Event-ID to 3, with a silence before its last event.
Router count_router(std::atomic<int>& silences) {
  Router router;
  router.add(Method::get, "/count", open_route, [&](Request& request) -> Task<Response> {
    const auto after = last_event_id(request);
    if (!after) co_return problem_response(request, after.error());
    auto source = [&silences, last = after->value_or("0")[0],
                   quiet = false](Deadline deadline) mutable -> Task<Result<std::optional<Events>>> {
      if (last == '3') co_return std::nullopt;
      if (last == '2' && !std::exchange(quiet, true)) {
        ++silences;
        co_await aio::sleep_until(deadline.when());  // sleep: nothing comes by the deadline
        co_return Events();
      }
      co_return Events{{std::string(1, ++last), "count", "so far"}};
    };
    co_return event_response(std::move(source), {.keep_alive_time = 20ms, .retry = 100ms});
  });
  // Does not keep to its deadline.
  router.add(Method::get, "/hung", open_route, [](Request&) -> Task<Response> {
    auto source = [](Deadline) -> Task<Result<std::optional<Events>>> {
      co_await aio::sleep_for(1h);  // sleep: a source that hangs
      co_return Events();
    };
    co_return event_response(std::move(source), {.keep_alive_time = 20ms, .source_grace = 20ms});
  });
  router.add(Method::get, "/broken", open_route, [](Request&) -> Task<Response> {
    auto source = [](Deadline) -> Task<Result<std::optional<Events>>> {
      co_return fail(Code::unavailable, "the log is away");
    };
    co_return event_response(std::move(source));
  });
  return router;
}

TEST(SseStream, IsServedAndRead) {
  std::atomic<int> silences = 0;
  TestServer server(count_router(silences));
  const auto raw = exchange(server.port(), "GET /count HTTP/1.0\r\nLast-Event-ID: 1\r\n\r\n");
  EXPECT_THAT(raw, HasSubstr("Content-Type: text/event-stream\r\nCache-Control: no-store\r\n"));
  EXPECT_THAT(raw, testing::EndsWith("\r\n\r\nretry: 100\n\nid: 2\nevent: count\ndata: so far\n\n:\n\n"
                                     "id: 3\nevent: count\ndata: so far\n\n"));
  EXPECT_EQ(silences, 1);
  auto client = server.client();
  const auto read = aio::run(server.context(), [&]() -> Task<Result<Read>> {
    Read all;
    EventParser parser;
    CITADEL_CO_ASSIGN(auto answer, co_await client.stream({.target = "/count"}, Deadline::after(20s)));
    for (;;) {
      CITADEL_CO_ASSIGN(const auto piece, co_await answer.next(Deadline::after(20s)));
      if (!piece) break;
      CITADEL_CO_TRY(parser.feed(*piece, all.events));
    }
    all.last_id = parser.last_id();
    all.retry = parser.retry();
    co_return all;
  }());
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(
      *read,
      (Read{{{"1", "count", "so far"}, {"2", "count", "so far"}, {"3", "count", "so far"}}, "3", 100ms}));
  EXPECT_EQ(
      server.request({Method::get, "/count", {{"Last-Event-ID", "\t1"}, {"Last-Event-ID", "2"}}, ""}).status,
      400);
}

TEST(SseStream, WithABadSourceIsCut) {
  std::atomic<int> silences = 0;
  TestServer server(count_router(silences));
  testing::internal::CaptureStderr();
  for (const auto* path : {"/hung", "/broken"}) {
    const auto answer = exchange(server.port(), std::string("GET ") + path + " HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_THAT(answer, testing::EndsWith("chunked\r\n\r\n")) << path;
  }
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("wrote nothing for too long"));
  EXPECT_THAT(log, HasSubstr("the log is away"));
  EXPECT_EQ(server.stats().streams_cut, 2u);
}

}  // namespace
}  // namespace citadel::http
