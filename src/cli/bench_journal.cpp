// bench journal: a lone producer beside one fdatasync of the same bytes.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "aio/run.hpp"
#include "base/file.hpp"
#include "base/random.hpp"
#include "cli/bench_support.hpp"
#include "journal/format.hpp"
#include "journal/journal.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t payload_bytes = 300;
constexpr std::size_t yardstick_bytes = 64 << 20;

double us_since(MonotonicTime began) {
  return std::chrono::duration<double, std::micro>(Monotonic::now() - began).count();
}

// The yardstick's file, written whole beforehand as the journal's segments are.
Result<UniqueFd> make_yardstick(const std::filesystem::path& path) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return fail_errno(errno, path.string());
  const std::string zeros(1 << 20, '\0');
  for (std::size_t at = 0; at < yardstick_bytes; at += zeros.size()) {
    if (::pwrite(file.get(), zeros.data(), zeros.size(), static_cast<off_t>(at)) < 0)
      return fail_errno(errno, path.string());
  }
  if (::fsync(file.get()) != 0) return fail_errno(errno, path.string());
  return file;
}

// One after the other in the same loop, so that both meet the same weather.
Result<Metric> lone_producer(const std::filesystem::path& folder, std::chrono::seconds seconds) {
  journal::Options options;
  options.folder = folder / "journal";
  CITADEL_ASSIGN(const auto journal, journal::Journal::open(options, system_clock()));
  CITADEL_ASSIGN(const auto file, make_yardstick(folder / "yardstick"));
  const std::string bytes(journal::frame_size(payload_bytes), 'y');
  SeededRandom random(random_seed());
  asio::io_context context{1};
  std::vector<double> ours, theirs;
  const auto end = Monotonic::now() + seconds;
  for (std::size_t at = 0; Monotonic::now() < end;
       at = (at + bytes.size()) % (yardstick_bytes - bytes.size())) {
    auto began = Monotonic::now();
    if (::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(at)) < 0 ||
        ::fdatasync(file.get()) != 0)
      return fail_errno(errno, "the yardstick's file");
    theirs.push_back(us_since(began));
    std::vector<journal::Record> records(1);
    records[0].id = new_uuid7(system_clock().wall(), random);
    records[0].payload.assign(payload_bytes, 'p');
    began = Monotonic::now();
    CITADEL_TRY(aio::run(context, journal->append(std::move(records), Deadline::after(10s))));
    ours.push_back(us_since(began));
  }
  return Metric{"lone_append_median",
                "us",
                median(std::move(ours)),
                median(std::move(theirs)),
                "one write and fdatasync of the same bytes",
                GoalKind::ratio_at_most,
                2};
}

}  // namespace

Result<Metrics> bench_journal(const Context& /*context*/, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto folder, TemporaryFolder::make());
  CITADEL_ASSIGN(auto lone, lone_producer(folder->path(), options.seconds));
  return Metrics{std::move(lone)};
}

}  // namespace citadel::cli
