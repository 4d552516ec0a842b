// Fuzzes what the client reads: an answer, and the events in its body. The first byte says in what pieces the
// bytes arrive. Whole and in pieces must come to the same end.
#include <cstdint>

#include "base/check.hpp"
#include "http/answer_reader.hpp"
#include "http/sse.hpp"

namespace citadel::http {
namespace {

constexpr std::size_t body_max = 4096;
constexpr std::size_t event_max = 256;

struct Seen {
  std::string body;
  int status = 0;
  bool malformed = false;
  bool complete = false;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen read_answer(std::string_view bytes, std::size_t piece) {
  using Step = AnswerReader::Step;
  AnswerReader reader(Method::get, {.header_bytes_max = 1024, .body_bytes_max = body_max});
  Seen seen;
  std::size_t begin = 0;
  std::size_t end = std::min(piece, bytes.size());
  for (;;) {
    std::size_t consumed = 0;
    const auto step = reader.read(bytes.substr(begin, end - begin), consumed, seen.body);
    CITADEL_CHECK(consumed <= end - begin, "no more is consumed than there is");
    CITADEL_CHECK(seen.body.size() <= body_max, "the body's limit");
    begin += consumed;
    if (step == Step::head) seen.status = reader.status();
    // How much of a malformed answer was given depends on the pieces.
    if (step == Step::malformed) return Seen{"", 0, true, false};
    seen.complete = step == Step::complete || (end == bytes.size() && reader.finish() == Step::complete);
    if (step == Step::complete || (step == Step::need_more && end == bytes.size())) return seen;
    if (step == Step::need_more) end = std::min(end + piece, bytes.size());
  }
}

std::pair<Events, bool> read_events(std::string_view bytes, std::size_t piece) {
  EventParser parser(event_max);
  Events events;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    if (!parser.feed(bytes.substr(0, piece), events)) return {events, false};
  }
  for (const auto& event : events) {
    CITADEL_CHECK(event.data.size() + event.id.size() <= event_max, "the event's limit");
  }
  return {events, true};
}

}  // namespace
}  // namespace citadel::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace citadel::http;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = 1 + data[0] % 16;
  const std::size_t all = std::max<std::size_t>(bytes.size(), 1);
  CITADEL_CHECK(read_answer(bytes, all) == read_answer(bytes, piece), "pieces are read as the whole is");
  CITADEL_CHECK(read_events(bytes, all) == read_events(bytes, piece), "pieces are events as the whole is");
  return 0;
}
