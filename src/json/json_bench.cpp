#include <benchmark/benchmark.h>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>

#include "json/lines.hpp"
#include "json/parse.hpp"

namespace citadel::json {
namespace {

constexpr std::string_view record =
    R"({"id":"018bd8f5-6a3b-7cc0-8000-0123456789ab","started_at":"2023-11-16T18:17:03.979960Z","model":"mixtral-8x7b",)"
    R"("prompt_tokens":4808,"completion_tokens":10,"latency_ms":153.25,"status":200,"streamed":true})";

void parse_record(benchmark::State& state) {
  unsigned char scratch[8192];
  for (auto _ : state) {
    boost::json::monotonic_resource memory(scratch, sizeof scratch);
    benchmark::DoNotOptimize(parse(record, {}, {}, &memory));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(parse_record);

void parse_record_on_the_heap(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(parse(record, {}));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(parse_record_on_the_heap);

// The yardstick: Boost.JSON as it comes, without our checks.
void boost_parse_record(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(boost::json::parse({record.data(), record.size()}));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(boost_parse_record);

void parse_lines(benchmark::State& state) {
  std::string text;
  for (int i = 0; i < 1000; ++i) (text += record) += '\n';
  for (auto _ : state) {
    (void)for_each_line(text, {}, [](std::size_t, const boost::json::value& value) -> Result<void> {
      benchmark::DoNotOptimize(&value);
      return {};
    });
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(parse_lines);

}  // namespace
}  // namespace citadel::json
