// Fuzzes the path of a request before its handler: parser, limits, routing, query, gunzip. The first byte
// says in what pieces the rest arrives. Whole and in pieces must come to the same end.
#include <cstdint>
#include <cstdlib>

#include "base/check.hpp"
#include "http/gzip.hpp"
#include "http/parser.hpp"
#include "http/router.hpp"
#include "http/text.hpp"

namespace citadel::http {
namespace {

constexpr std::size_t body_max = 4096;

struct Seen {
  std::string bodies;
  std::string targets;
  int status = 0;
};

const Limits& limits() {
  static const Limits small = [] {
    Limits l;
    l.target_bytes_max = 256;
    l.header_bytes_max = 1024;
    l.header_count_max = 16;
    l.chunk_header_bytes_max = 64;
    return l;
  }();
  return small;
}

const Router& router() {
  static const Router built = [] {
    Router r;
    const Handler none = [](Request&) -> Task<Response> { co_return Response{}; };
    r.add(Method::get, "/v1/requests/{id}", {}, none);
    r.add(Method::post, "/v1/requests", {}, none);
    return r;
  }();
  return built;
}

void look_closer(Request& request) {
  (void)router().match(request);
  const std::string_view target = request.target;
  std::vector<Parameter> parameters;
  if (const auto query = target.find('?'); query != std::string_view::npos) {
    if (parse_query(target.substr(query + 1), 8, parameters)) {
      for (const auto& [name, value] : parameters)
        CITADEL_CHECK(is_utf8(name) && is_utf8(value), "decoded UTF-8");
    }
  }
  if (const auto text = gunzip(request.body, body_max))
    CITADEL_CHECK(text->size() <= body_max, "gunzip's limit");
}

Seen run(std::string_view bytes, std::size_t piece) {
  using Step = RequestParser::Step;
  RequestParser parser(limits());
  Request request;
  Seen seen;
  std::size_t begin = 0;
  std::size_t end = std::min(piece, bytes.size());
  for (;;) {
    std::size_t consumed = 0;
    const auto step = parser.parse(bytes.substr(begin, end - begin), consumed, request);
    CITADEL_CHECK(consumed <= end - begin, "no more is consumed than there is");
    begin += consumed;
    if (step == Step::refused || (step == Step::head && !parser.limit_body(body_max))) {
      seen.status = parser.refusal().status;
      return seen;
    }
    if (step == Step::complete) {
      CITADEL_CHECK(request.body.size() <= body_max, "the body's limit");
      CITADEL_CHECK(request.headers.size() <= limits().header_count_max, "the header count's limit");
      seen.bodies += request.body + "|";
      seen.targets += request.target + "|";
      look_closer(request);
      request.clear();
      parser.reset();
    } else if (step == Step::need_more) {
      if (end == bytes.size()) return seen;
      end = std::min(end + piece, bytes.size());
    }
  }
}

}  // namespace
}  // namespace citadel::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace citadel::http;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = run(bytes, std::max<std::size_t>(bytes.size(), 1));
  const auto pieces = run(bytes, 1 + data[0] % 16);
  // Which of two faults is named may depend on how much was there; whether there is one may not.
  CITADEL_CHECK((whole.status == 0) == (pieces.status == 0), "pieces are refused as the whole is");
  return 0;
}
