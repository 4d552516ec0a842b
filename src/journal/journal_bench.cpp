// The journal against the disk it is on: a lone producer's median beside one write and fdatasync of the same
// bytes, 64 producers, and reading. The disk is that of /tmp.
#include <benchmark/benchmark.h>
#include <fcntl.h>

#include <algorithm>
#include <atomic>

#include "aio/run.hpp"
#include "aio/runtime.hpp"
#include "journal/segment.hpp"
#include "journal/test_folder.hpp"

namespace citadel::journal {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t payload_bytes = 300;
constexpr std::uint64_t lone_appends = 500;
constexpr std::uint64_t producers = 64;

Record next_record() {
  static std::atomic<std::uint64_t> next{0};
  return record_of(++next, std::string(payload_bytes, 'p'));
}

Options bench_options(const TestFolder& folder) {
  Options options;
  options.folder = folder.path();
  options.size_bytes_max = std::uint64_t{8} << 30;
  return options;
}

double median_us(std::vector<Monotonic::duration> times) {
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return std::chrono::duration<double, std::micro>(times[times.size() / 2]).count();
}

// One after the other in the same loop, so that both meet the same weather.
void lone_producer_beside_one_fdatasync(benchmark::State& state) {
  const TestFolder folder(Medium::disk);
  auto journal = Journal::open(bench_options(folder), system_clock()).value();
  const auto path = folder.root() / "yardstick";
  std::filesystem::create_directory(path);
  const UniqueFd yardstick = allocate_segment(path, 64 << 20).value();
  const std::string bytes(frame_size(payload_bytes), 'y');
  asio::io_context context;
  for (auto _ : state) {
    std::vector<Monotonic::duration> ours;
    std::vector<Monotonic::duration> theirs;
    for (std::uint64_t i = 0; i < lone_appends; ++i) {
      auto began = Monotonic::now();
      CITADEL_CHECK(write_at(yardstick.get(), bytes, i * bytes.size(), path), "write");
      CITADEL_CHECK(sync_data(yardstick.get(), path), "fdatasync");
      theirs.push_back(Monotonic::now() - began);
      began = Monotonic::now();
      std::vector<Record> records;
      records.push_back(next_record());
      CITADEL_CHECK(aio::run(context, journal->append(std::move(records), Deadline::after(10s))), "append");
      ours.push_back(Monotonic::now() - began);
    }
    state.counters["ours_us"] = median_us(ours);
    state.counters["fdatasync_us"] = median_us(theirs);
    state.counters["ratio"] = median_us(ours) / median_us(theirs);
  }
}
BENCHMARK(lone_producer_beside_one_fdatasync)->Unit(benchmark::kMillisecond)->Iterations(3);

Task<> produce(Journal& journal, std::uint64_t count, std::atomic<std::uint64_t>& left) {
  for (std::uint64_t i = 0; i < count; ++i) {
    std::vector<Record> records;
    records.push_back(next_record());
    CITADEL_CHECK(co_await journal.append(std::move(records), Deadline::after(30s)), "append");
  }
  if (--left == 0) left.notify_all();
}

// state.range: I/O threads. In memory fdatasync costs nothing: what is left is the journal's own work.
void sixty_four_producers(benchmark::State& state, Medium medium) {
  const TestFolder folder(medium);
  auto runtime = std::make_unique<aio::Runtime>(static_cast<std::size_t>(state.range(0)));
  auto journal = Journal::open(bench_options(folder), system_clock()).value();
  constexpr std::uint64_t each = 1'000;
  for (auto _ : state) {
    std::atomic<std::uint64_t> left{producers};
    for (std::uint64_t i = 0; i < producers; ++i) {
      asio::co_spawn(runtime->executor(i % runtime->size()), produce(*journal, each, left),
                     [](std::exception_ptr) {});
    }
    for (auto now = left.load(); now != 0; now = left.load()) left.wait(now);
  }
  const auto status = journal->status();
  state.SetItemsProcessed(static_cast<std::int64_t>(status.appended_total));
  state.counters["records_per_fdatasync"] =
      static_cast<double>(status.appended_total) / static_cast<double>(status.syncs_total);
  journal.reset();
}
BENCHMARK_CAPTURE(sixty_four_producers, disk, Medium::disk)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sixty_four_producers, memory, Medium::memory)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void sequential_reader(benchmark::State& state) {
  const TestFolder folder(Medium::disk);
  auto journal = Journal::open(bench_options(folder), system_clock()).value();
  for (int i = 0; i < 200; ++i) {
    std::vector<Record> records;
    for (int j = 0; j < 1'000; ++j) records.push_back(next_record());
    CITADEL_CHECK(append_all(*journal, std::move(records)), "append");
  }
  std::int64_t frames_read = 0;
  for (auto _ : state) {
    Position after;
    for (;;) {
      const auto frames = journal->read(after, 2'000, 1 << 20).value();
      if (frames.empty()) break;
      after = frames.back().position;
      frames_read += static_cast<std::int64_t>(frames.size());
    }
  }
  state.SetItemsProcessed(frames_read);
}
BENCHMARK(sequential_reader)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace citadel::journal
