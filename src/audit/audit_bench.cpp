#include <benchmark/benchmark.h>

#include "audit/event_json.hpp"
#include "audit/export_verifier.hpp"
#include "audit/log_testing.hpp"
#include "audit/redaction.hpp"

namespace citadel::audit {
namespace {

constexpr std::size_t entries = 20'000;

// Events as they mostly are: without groups, since those are encrypted and opened on request only.
TestingLog plain_log() {
  TestingLog log;
  for (std::size_t i = 0; i < entries; ++i) {
    Event event = full_event(i + 1);
    for (auto& group : event.groups) group.clear();
    log.append(event, TestingLog::producer_a, 1, i + 1);
  }
  return log;
}

void verify_entries(benchmark::State& state) {
  const TestingLog log = plain_log();
  const std::string note = log.note();
  for (auto _ : state) {
    Verifier verifier = Verifier::make({.policy = log.policy()}).value();
    (void)feed_all(verifier, log.entries).value();
    benchmark::DoNotOptimize(verifier.finish(note).value());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(entries));
}
BENCHMARK(verify_entries)->Unit(benchmark::kMillisecond);

// From the bytes of an export: parsing, and what people read made again, included.
void verify_export(benchmark::State& state) {
  const TestingLog log = plain_log();
  std::string text;
  append_export_header(text, {.origin = std::string(TestingLog::origin), .size = entries});
  std::vector<ExportedGroup> groups;
  for (std::size_t i = 0; i < entries; ++i) {
    (void)append_export_entry(text, exported(log.entries[i], i, groups)).value();
  }
  append_export_checkpoint(text, log.note());
  for (auto _ : state) {
    ExportVerifier verifier({.policy = log.policy()});
    (void)verifier.feed(text).value();
    benchmark::DoNotOptimize(verifier.finish().value());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(entries));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(verify_export)->Unit(benchmark::kMillisecond);

void seal(benchmark::State& state) {
  const auto key = crypto::AesGcmKey::generate();
  Event event = full_event();
  if (state.range(0) == 0) {
    for (auto& group : event.groups) group.clear();
  }
  const Action action = find_action(event.action).value();
  for (auto _ : state) benchmark::DoNotOptimize(encode_record(seal_event(event, action, key)));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(seal)->Arg(0)->Arg(4);

void decode(benchmark::State& state) {
  const auto key = crypto::AesGcmKey::generate();
  const Event event = full_event();
  const std::string bytes = encode_record(seal_event(event, find_action(event.action).value(), key));
  for (auto _ : state) benchmark::DoNotOptimize(decode_record(event.id, bytes).value());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(decode);

void parse_and_redact(benchmark::State& state) {
  json::Writer out;
  write_event(out, full_event());
  std::string text = out.take();
  const auto begin = text.find(",\"received_at\""), end = text.find(",\"tenant\"");
  text.erase(begin, end - begin);
  SeededRandom random(1);
  const Redactor redactor = Redactor::compile(default_redaction_rules()).value();
  for (auto _ : state) {
    auto events = parse_events(text, json::BodyForm::json, {}, testing_now, random).value();
    benchmark::DoNotOptimize(redactor.apply(events.front()).value());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(parse_and_redact);

}  // namespace
}  // namespace citadel::audit
