// What one request costs in the pure parts: read, route, write.
#include <benchmark/benchmark.h>

#include "base/uuid.hpp"
#include "http/parser.hpp"
#include "http/router.hpp"
#include "http/serialize.hpp"

namespace citadel::http {
namespace {

constexpr std::string_view example =
    "GET /v1/requests/018bd8f5-6a3b-7cc0-8000-0123456789ab HTTP/1.1\r\nHost: 127.0.0.1:8480\r\n"
    "User-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n\r\n";

void parse_request(benchmark::State& state) {
  const Limits limits;
  RequestParser parser(limits);
  Request request;
  std::size_t consumed = 0;
  for (auto _ : state) {
    parser.parse(example, consumed, request);
    benchmark::DoNotOptimize(parser.parse("", consumed, request));
    parser.reset();
    request.clear();
  }
}
BENCHMARK(parse_request);

void match_route(benchmark::State& state) {
  Router router;
  router.add(Method::get, "/v1/requests/{id}", {}, [](Request&) -> Task<Response> { co_return Response{}; });
  Request request;
  request.target = "/v1/requests/018bd8f5-6a3b-7cc0-8000-0123456789ab";
  for (auto _ : state) {
    benchmark::DoNotOptimize(router.match(request));
    request.path_parameters.clear();
  }
}
BENCHMARK(match_route);

void write_answer(benchmark::State& state) {
  const auto response = Response::json(200, "{\"status\":\"ok\"}");
  const std::string id = "018bd8f5-6a3b-7cc0-8000-0123456789ab";
  std::string out;
  for (auto _ : state) {
    append_answer(response, {.request_id = id, .date = "Sun, 06 Nov 1994 08:49:37 GMT"}, out);
    benchmark::DoNotOptimize(out.data());
    out.clear();
  }
}
BENCHMARK(write_answer);

void make_request_id(benchmark::State& state) {
  SeededRandom random(1);
  for (auto _ : state) benchmark::DoNotOptimize(new_uuid7(system_clock().wall(), random).to_string());
}
BENCHMARK(make_request_id);

}  // namespace
}  // namespace citadel::http
