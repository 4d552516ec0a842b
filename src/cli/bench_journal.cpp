// bench journal: a lone producer beside one fdatasync of the same bytes, and 64 producers by HTTP.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "aio/run.hpp"
#include "app/service.hpp"
#include "base/file.hpp"
#include "base/random.hpp"
#include "cli/bench_support.hpp"
#include "http/client.hpp"
#include "journal/format.hpp"
#include "journal/journal.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t payload_bytes = 300;
constexpr std::size_t producers = 64;
constexpr std::size_t records_a_gateway_sends = 10;  // one that gathers for some milliseconds
constexpr std::uint64_t http_journal_bytes = 4ULL << 30;
constexpr std::string_view example_record =
    R"({"model":"mixtral-8x7b","tenant":"acme","prompt_tokens":4808,"completion_tokens":10,"latency_ms":153.25})"
    "\n";

double us_since(MonotonicTime began) {
  return std::chrono::duration<double, std::micro>(Monotonic::now() - began).count();
}

struct Lone {
  double ours_us = 0, fdatasync_us = 0;  // medians
};

// One after the other in the same loop, so that both meet the same weather.
Result<Lone> lone_producer(const std::filesystem::path& folder, std::chrono::seconds seconds) {
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
  return Lone{median(std::move(ours)), median(std::move(theirs))};
}

// The daemon as it is, with its database away: the journal and the way to it alone are measured.
Result<double> acknowledged_per_second(const std::filesystem::path& folder, std::size_t records_a_request,
                                       std::chrono::seconds seconds) {
  CITADEL_ASSIGN(auto config, app::parse_config("", "bench", {{}, {}, false}));
  const std::string key(40, 'k');
  config.journal.folder = folder / fmt::format("http-journal-{}", records_a_request);
  config.journal.size_bytes_max = http_journal_bytes;
  config.audit.enabled = false;
  config.http.listen = {"127.0.0.1", 0};
  CITADEL_ASSIGN(config.database.port, free_port());  // nobody listens there
  config.database_direct.port = config.database.port;
  CITADEL_ASSIGN(const auto service,
                 app::Service::start(config, Secret(key), std::nullopt, Deadline::after(10s)));
  CITADEL_ASSIGN(const auto address, http::parse_url(service->url()));
  std::string body;
  for (std::size_t i = 0; i < records_a_request; ++i) body += example_record;
  CITADEL_ASSIGN(const auto load, run_load({.port = address.port,
                                            .method = "POST",
                                            .target = "/v1/requests",
                                            .body = body,
                                            .key = key,
                                            .connections = producers,
                                            .seconds = seconds},
                                           folder));
  // What it took waits in the journal for a database that never comes.
  const auto stopped = service->stop(Deadline::after(2s));
  if (!stopped && stopped.error().code != Code::deadline_exceeded) return std::unexpected(stopped.error());
  return load.requests * static_cast<double>(records_a_request) / load.seconds;
}

// What this disk lets through when each fdatasync takes one request of every producer.
Result<Metric> http_producers(const std::filesystem::path& folder, std::string name, double fdatasync_us,
                              std::size_t records_a_request, std::chrono::seconds seconds) {
  CITADEL_ASSIGN(const auto measured, acknowledged_per_second(folder, records_a_request, seconds));
  return Metric{std::move(name),
                "records/s",
                measured,
                static_cast<double>(producers * records_a_request) * 1e6 / fdatasync_us,
                "a request of each producer for one fdatasync of this disk",
                GoalKind::ours_at_least,
                30'000};
}

}  // namespace

Result<Metrics> bench_journal(const Context& /*context*/, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto folder, BenchFolder::make());
  CITADEL_ASSIGN(const auto lone, lone_producer(folder->path(), options.seconds));
  Metrics out{{"lone_append_median", "us", lone.ours_us, lone.fdatasync_us,
               "one write and fdatasync of the same bytes", GoalKind::ratio_at_most, 2}};
  for (const std::size_t records : {std::size_t{1}, records_a_gateway_sends}) {
    CITADEL_ASSIGN(
        auto metric,
        http_producers(folder->path(), fmt::format("http_{}_producers_{}_a_request", producers, records),
                       lone.fdatasync_us, records, options.seconds));
    out.push_back(std::move(metric));
  }
  return out;
}

}  // namespace citadel::cli
