// bench drain: from the journal's segments into PostgreSQL through Pgpool-II, sums included, against psql's
// \copy of the same rows, binary, into the same table with its indexes and without the sums.
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <charconv>
#include <iostream>

#include "aio/run.hpp"
#include "aio/wait.hpp"
#include "app/settings.hpp"
#include "base/random.hpp"
#include "cli/bench_support.hpp"
#include "cli/migrate.hpp"
#include "drain/drain.hpp"
#include "usage/record_codec.hpp"
#include "usage/sink.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t rows_per_second = 60'000;  // so that a round takes some of the seconds asked for
constexpr std::size_t rows_an_append = 1'000;
constexpr int tenants = 4;
constexpr int models = 8;
constexpr auto drains_within = 300s;

// An hour of requests, yesterday; the records of one round.
usage::RequestRecord make_record(WallTime at, Random& random) {
  usage::RequestRecord record;
  record.started_at = at;
  record.id = new_uuid7(at, random);
  record.tenant = fmt::format("tenant-{}", random.next() % tenants);
  record.model = fmt::format("model-{}", random.next() % models);
  record.prompt_tokens = static_cast<std::int32_t>(random.next() % 8'000);
  record.completion_tokens = static_cast<std::int32_t>(random.next() % 1'000);
  record.latency_us = static_cast<std::int64_t>(random.next() % 10'000'000);
  record.ttft_us = static_cast<std::int64_t>(random.next() % 1'000'000);
  record.endpoint = "/v1/chat/completions";
  return record;
}

Result<void> fill(journal::Journal& journal, std::size_t rows, Random& random) {
  asio::io_context context{1};
  const auto begin = std::chrono::floor<std::chrono::days>(system_clock().wall()) - 12h;
  for (std::size_t done = 0; done < rows; done += rows_an_append) {
    std::vector<journal::Record> records;
    for (std::size_t i = done; i < std::min(rows, done + rows_an_append); ++i) {
      const auto record = make_record(begin + std::chrono::microseconds(3'600'000'000 * i / rows), random);
      records.push_back({.id = record.id, .payload = usage::encode_record(record)});
    }
    CITADEL_TRY(aio::run(context, journal.append(std::move(records), Deadline::after(30s))));
  }
  return {};
}

Task<Result<double>> drain_all(asio::io_context& context, const app::Config& config,
                               journal::Journal& journal) {
  store::Database database(context.get_executor(), app::database_options(config), system_clock(),
                           random_seed());
  CITADEL_CO_TRY(co_await database.start(Deadline::after(10s)));
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  sinks.push_back(usage::make_usage_sink());
  drain::Drain drain(database, journal, std::move(sinks), app::drain_options(config), system_clock(),
                     random_seed());
  const auto began = Monotonic::now();
  const auto deadline = Deadline::after(drains_within);
  drain.start();
  drain.kick();
  while (journal.status().undrained_records > 0 && !deadline.expired()) co_await aio::sleep_for(1ms);
  const double seconds = std::chrono::duration<double>(Monotonic::now() - began).count();
  const auto error = drain.status().last_error;
  const bool drained = journal.status().undrained_records == 0;
  static_cast<void>(co_await drain.close(Deadline::after(5s)));
  static_cast<void>(co_await database.close(Deadline::after(5s)));
  if (drained) co_return seconds;
  if (error) co_return std::unexpected(*error);
  co_return fail(Code::deadline_exceeded, "the drain did not end");
}

class Psql {
 public:
  static Result<Psql> make(const BenchServers& servers) {
    CITADEL_ASSIGN(auto program, find_client("psql", "postgresql-client"));
    return Psql(std::move(program), servers.conninfo(false, local::superuser_role));
  }
  Result<std::string> run(std::vector<std::string> commands) const {
    std::vector<std::string> arguments{program_.string(), "-X", "-q",     "-v",
                                       "ON_ERROR_STOP=1", "-d", conninfo_};
    for (auto& command : commands) {
      arguments.emplace_back("-c");
      arguments.push_back(std::move(command));
    }
    return run_program(std::move(arguments), std::chrono::duration_cast<std::chrono::seconds>(drains_within));
  }
  // By psql's own clock, so that its start is not counted.
  Result<double> seconds_of(std::string command) const {
    CITADEL_ASSIGN(const auto output, run({"\\timing on", std::move(command)}));
    constexpr std::string_view label = "Time: ";
    const auto at = output.find(label);
    double ms = 0;
    if (at == std::string::npos ||
        std::from_chars(output.data() + at + label.size(), output.data() + output.size(), ms).ec !=
            std::errc{})
      return fail(Code::internal, "psql told no time: " + output);
    return ms / 1000;
  }

 private:
  Psql(std::filesystem::path program, std::string conninfo)
      : program_(std::move(program)), conninfo_(std::move(conninfo)) {}
  std::filesystem::path program_;
  std::string conninfo_;
};

// Both begin with empty tables and nothing left to write for the server.
Result<void> make_even(const Psql& psql) {
  CITADEL_TRY(psql.run(
      {"truncate usage.request, usage.rollup_minute, usage.rollup_hour, usage.rollup_day", "checkpoint"}));
  return {};
}

struct Round {
  double ours = 0, theirs = 0;  // rows a second
};

Result<Round> run_round(const app::Config& config, journal::Journal& journal, const Psql& psql,
                        const std::filesystem::path& file, std::size_t rows, Random& random) {
  CITADEL_TRY(fill(journal, rows, random));
  CITADEL_TRY(make_even(psql));
  asio::io_context context{1};
  CITADEL_ASSIGN(const auto our_seconds, aio::run(context, drain_all(context, config, journal)));
  CITADEL_ASSIGN(
      const auto counted,
      psql.run(
          {"\\pset format unaligned", "\\pset tuples_only on", "select count(*) from usage.request",
           "select coalesce(sum(requests), 0) from usage.rollup_hour",
           fmt::format("\\copy (select * from usage.request) to '{}' with (format binary)", file.string())}));
  if (!counted.starts_with(fmt::format("{0}\n{0}\n", rows)))
    return fail(Code::internal, fmt::format("{} rows were drained, rows and sums say: {}", rows, counted));
  CITADEL_TRY(make_even(psql));
  CITADEL_ASSIGN(
      const auto their_seconds,
      psql.seconds_of(fmt::format("\\copy usage.request from '{}' with (format binary)", file.string())));
  const auto count = static_cast<double>(rows);
  return Round{count / our_seconds, count / their_seconds};
}

}  // namespace

Result<Metrics> bench_drain(const Context& context, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto servers, BenchServers::start(context));
  CITADEL_ASSIGN(const auto config, servers.config());
  CITADEL_TRY(migrate_now(config, [](std::string_view) {}));
  CITADEL_ASSIGN(const auto psql, Psql::make(servers));
  CITADEL_ASSIGN(const auto journal, journal::Journal::open(app::journal_options(config), system_clock()));
  const auto rows = rows_per_second * static_cast<std::size_t>(options.seconds.count());
  SeededRandom random(random_seed());
  std::vector<double> ours, theirs;
  for (int round = 1; round <= options.rounds; ++round) {
    *context.err << fmt::format("round {} of {}: {} rows\n", round, options.rounds, rows);
    CITADEL_ASSIGN(const auto measured,
                   run_round(config, *journal, psql, servers.folder->path() / "rows.bin", rows, random));
    ours.push_back(measured.ours);
    theirs.push_back(measured.theirs);
  }
  return Metrics{{"drain_rows", "rows/s", median(std::move(ours)), median(std::move(theirs)),
                  "psql \\copy binary of the same rows, direct, without the sums", GoalKind::ratio_at_least,
                  0.5}};
}

}  // namespace citadel::cli
