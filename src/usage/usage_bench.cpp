#include <benchmark/benchmark.h>

#include "base/time_text.hpp"
#include "usage/batch.hpp"
#include "usage/record_codec.hpp"
#include "usage/record_json.hpp"

namespace citadel::usage {
namespace {

const WallTime now = *parse_time("2026-11-25T12:00:00Z");
constexpr std::string_view line =
    R"({"started_at":"2026-11-25T11:17:03.979960Z","model":"mixtral-8x7b","prompt_tokens":4808,)"
    R"("completion_tokens":10,"latency_ms":153.25,"ttft_ms":20.5,"endpoint":"/v1/chat/completions"})";

std::vector<RequestRecord> thousand() {
  std::string body;
  for (int i = 0; i < 1000; ++i) (body += line) += '\n';
  SeededRandom random(1);
  return parse_records(body, BodyForm::ndjson, {}, now, random).value();
}

void parse_ndjson(benchmark::State& state) {
  std::string body;
  for (int i = 0; i < 1000; ++i) (body += line) += '\n';
  SeededRandom random(1);
  for (auto _ : state) benchmark::DoNotOptimize(parse_records(body, BodyForm::ndjson, {}, now, random));
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(parse_ndjson);

void encode(benchmark::State& state) {
  const auto records = thousand();
  for (auto _ : state) {
    for (const auto& record : records) benchmark::DoNotOptimize(encode_record(record));
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(encode);

void read_batch_of_frames(benchmark::State& state) {
  std::vector<journal::Frame> frames;
  for (const auto& record : thousand()) {
    frames.push_back(
        {{1, frames.size() + 1}, journal::Kind::usage_request, record.id, encode_record(record)});
  }
  for (auto _ : state) benchmark::DoNotOptimize(read_batch(frames));
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(read_batch_of_frames);

}  // namespace
}  // namespace citadel::usage
