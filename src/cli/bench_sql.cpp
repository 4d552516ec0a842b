// bench sql: point selects through Pgpool-II and past it, against pgbench on the same servers.
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <fstream>
#include <iostream>
#include <optional>

#include "aio/gate.hpp"
#include "aio/run.hpp"
#include "app/settings.hpp"
#include "base/random.hpp"
#include "cli/bench_support.hpp"
#include "cli/pgbench.hpp"
#include "store/database.hpp"
#include "store/point_reader.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr int scale = 10;
constexpr std::int64_t accounts = 100'000LL * scale;
constexpr std::size_t callers = 100;
constexpr std::size_t direct_clients = 10;
constexpr std::size_t pipeline_depth = 10;
constexpr auto warm_up = 2s;  // the limiter finds its level; pgbench's connects are not counted either

constexpr pg::Statement select_one{"bench_select_one",
                                   "select abalance from pgbench_accounts where aid = $1"};
constexpr pg::Statement select_many{"bench_select_many",
                                    "select aid, abalance from pgbench_accounts where aid = any($1)"};

struct Sample {
  double per_second = 0;
  double p99_ms = 0;
};

// What the callers of one round share; they live on one thread.
struct Round {
  MonotonicTime count_from, end;
  std::uint64_t done = 0;
  std::vector<double> latencies_ms;
  std::optional<Error> error;
  SeededRandom random{random_seed()};

  explicit Round(std::chrono::seconds seconds)
      : count_from(Monotonic::now() + warm_up), end(count_from + seconds) {}
  bool over() const { return error || Monotonic::now() >= end; }
  std::int64_t key() { return static_cast<std::int64_t>(random.next() % accounts) + 1; }
  void finished(MonotonicTime began, std::uint64_t count) {
    const auto now = Monotonic::now();
    if (began < count_from || now > end) return;
    done += count;
    latencies_ms.push_back(std::chrono::duration<double, std::milli>(now - began).count());
  }
  Sample sample() {
    const double seconds = std::chrono::duration<double>(end - count_from).count();
    return {static_cast<double>(done) / seconds, percentile(latencies_ms, 0.99)};
  }
};

using Reader = store::PointReader<std::int32_t, std::int32_t>;

Task<> call_single(store::Database& database, Round& round) {
  while (!round.over()) {
    const auto began = Monotonic::now();
    const auto rows = co_await database.query(Deadline::after(10s), store::Intent::read, select_one,
                                              pg::Params(static_cast<std::int32_t>(round.key())));
    if (!rows) {
      round.error = rows.error();
    } else {
      round.finished(began, 1);
    }
  }
}

Task<> call_coalesced(Reader& reader, Round& round) {
  while (!round.over()) {
    const auto began = Monotonic::now();
    const auto value = co_await reader.read(static_cast<std::int32_t>(round.key()), Deadline::after(10s));
    if (!value) {
      round.error = value.error();
    } else {
      round.finished(began, 1);
    }
  }
}

Task<> call_pipelined(pg::Connection& connection, Round& round) {
  while (!round.over()) {
    std::vector<pg::Connection::Call> calls;
    for (std::size_t i = 0; i < pipeline_depth; ++i)
      calls.push_back({&select_one, pg::Params(static_cast<std::int32_t>(round.key()))});
    const auto began = Monotonic::now();
    const auto answers = co_await connection.pipeline(calls, Deadline::after(10s), pg::PipelineSync::once);
    if (!answers) {
      round.error = answers.error();
    } else {
      round.finished(began, answers->size());
    }
  }
}

Result<Sample> outcome(Round& round) {
  if (round.error) return std::unexpected(*round.error);
  return round.sample();
}

Task<Result<Sample>> run_single(store::Database& database, std::chrono::seconds seconds) {
  aio::Gate gate(database.executor());
  Round round(seconds);
  for (std::size_t i = 0; i < callers; ++i) gate.spawn("caller", call_single(database, round));
  CITADEL_CO_TRY(co_await gate.drain(Deadline::after(seconds + warm_up + 15s)));
  co_return outcome(round);
}

Task<Result<Sample>> run_coalesced(store::Database& database, std::chrono::seconds seconds) {
  aio::Gate gate(database.executor());
  aio::Gate queries(database.executor());
  Reader reader(database, queries, select_many, {},
                [](pg::Row row) { return std::pair(row.get<std::int32_t>(0), row.get<std::int32_t>(1)); });
  Round round(seconds);
  for (std::size_t i = 0; i < callers; ++i) gate.spawn("caller", call_coalesced(reader, round));
  const auto drained = co_await gate.drain(Deadline::after(seconds + warm_up + 15s));
  CITADEL_CO_TRY(co_await queries.drain(Deadline::after(15s)));
  if (!drained) co_return std::unexpected(drained.error());
  co_return outcome(round);
}

using Measure = Task<Result<Sample>> (*)(store::Database&, std::chrono::seconds);

// A pool of its own for each round, so that pgbench finds Pgpool-II's slots free.
Result<Sample> with_database(const BenchServers& servers, Measure measure, std::chrono::seconds seconds) {
  CITADEL_ASSIGN(const auto config, servers.config());
  asio::io_context context{1};
  store::Database database(context.get_executor(), app::database_options(config), system_clock(),
                           random_seed());
  auto started = aio::run(context, database.start(Deadline::after(20s)));
  Result<Sample> sample;
  if (started) sample = aio::run(context, measure(database, seconds));
  const auto closed = aio::run(context, database.close(Deadline::after(15s)));
  if (!started) return std::unexpected(started.error());
  if (sample && !closed) return std::unexpected(closed.error());
  return sample;
}

Result<Sample> run_pipelined(const BenchServers& servers, std::chrono::seconds seconds) {
  asio::io_context context{1};
  std::vector<std::unique_ptr<pg::Connection>> connections;
  for (std::size_t i = 0; i < direct_clients; ++i) {
    CITADEL_ASSIGN(auto connection,
                   aio::run(context, pg::Connection::connect(context.get_executor(), servers.direct(),
                                                             Deadline::after(10s))));
    connections.push_back(std::move(connection));
  }
  Round round(seconds);
  aio::Gate gate(context.get_executor());
  for (auto& connection : connections) gate.spawn("client", call_pipelined(*connection, round));
  CITADEL_TRY(aio::run(context, gate.drain(Deadline::after(seconds + warm_up + 15s))));
  return outcome(round);
}

// pgbench's own log of transactions: client, number, microseconds, …
double p99_of_logs(const std::filesystem::path& folder) {
  std::vector<double> latencies_ms;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    std::string client, number, rest;
    for (double us = 0; file >> client >> number >> us && std::getline(file, rest);)
      latencies_ms.push_back(us / 1000);
  }
  return percentile(latencies_ms, 0.99);
}

// `script`: of -f; empty: pgbench's own select.
Result<Sample> pgbench(const BenchServers& servers, const std::filesystem::path& program,
                       const std::string& script, std::size_t clients, bool through_pgpool,
                       std::chrono::seconds seconds) {
  const auto logs = servers.folder->path() / "pgbench-log";
  std::vector<std::string> arguments{program.string(), "-c", std::to_string(clients)};
  if (script.empty()) {
    arguments.emplace_back("-S");
  } else {
    arguments.insert(arguments.end(), {"-f", script});
  }
  for (std::string each : {"-n", "-M", "prepared", "-j", "2"}) arguments.push_back(std::move(each));
  // Only where its latencies are asked for: writing the log costs pgbench time.
  if (through_pgpool) {
    for (std::string each : {"--log", "--sampling-rate=1"}) arguments.push_back(std::move(each));
    arguments.push_back(fmt::format("--log-prefix={}", (logs / "transactions").string()));
  }
  arguments.push_back(servers.conninfo(through_pgpool, local::app_role));
  const auto run = [&](std::chrono::seconds time) -> Result<std::string> {
    std::filesystem::remove_all(logs);
    std::filesystem::create_directory(logs);
    auto timed = arguments;
    timed.insert(timed.begin() + 1, {"-T", std::to_string(time.count())});
    return run_program(std::move(timed), time + 60s);
  };
  CITADEL_ASSIGN(
      const double tps,
      pgbench_throughput({script.empty() ? "<builtin: select only>" : script, clients}, seconds, run));
  return Sample{tps, p99_of_logs(logs)};
}

Result<void> fill(const BenchServers& servers, const std::filesystem::path& program) {
  CITADEL_TRY(run_program({program.string(), "-i", "-q", "-s", std::to_string(scale),
                           servers.conninfo(false, local::superuser_role)},
                          300s));
  asio::io_context context{1};
  CITADEL_ASSIGN(const auto connection,
                 aio::run(context, pg::Connection::connect(context.get_executor(), servers.superuser(),
                                                           Deadline::after(10s))));
  CITADEL_TRY(
      aio::run(context, connection->execute_simple("grant select on all tables in schema public to public",
                                                   Deadline::after(10s))));
  return {};
}

struct Series {
  std::vector<double> per_second, p99_ms;
  Result<void> add(const Result<Sample>& sample) {
    if (!sample) return std::unexpected(sample.error());
    per_second.push_back(sample->per_second);
    p99_ms.push_back(sample->p99_ms);
    return {};
  }
};

}  // namespace

Result<Metrics> bench_sql(const Context& context, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto program, find_client("pgbench", "postgresql"));
  CITADEL_ASSIGN(const auto servers, BenchServers::start(context));
  *context.err << "filling pgbench's tables\n";
  CITADEL_TRY(fill(servers, program));
  const auto script = servers.folder->path() / "pipeline.sql";
  std::ofstream file(script);
  file << "\\startpipeline\n";
  for (std::size_t i = 0; i < pipeline_depth; ++i)
    file << "\\set aid random(1, " << accounts
         << ")\nselect abalance from pgbench_accounts where aid = :aid;\n";
  file << "\\endpipeline\n";
  file.close();
  Series single, coalesced, theirs, pipelined, their_pipeline;
  for (int round = 1; round <= options.rounds; ++round) {
    *context.err << fmt::format("round {} of {}\n", round, options.rounds);
    CITADEL_TRY(single.add(with_database(servers, run_single, options.seconds)));
    CITADEL_TRY(theirs.add(pgbench(servers, program, "", callers, true, options.seconds)));
    CITADEL_TRY(coalesced.add(with_database(servers, run_coalesced, options.seconds)));
    CITADEL_TRY(pipelined.add(run_pipelined(servers, options.seconds)));
    CITADEL_TRY(their_pipeline.add(
        pgbench(servers, program, script.string(), direct_clients, false, options.seconds)));
  }
  const std::string yardstick = "pgbench -S -M prepared -c 100 through Pgpool-II";
  const double yardstick_tps = median(theirs.per_second);
  return Metrics{
      {"single_throughput", "statements/s", median(single.per_second), yardstick_tps, yardstick,
       GoalKind::ratio_at_least, 1.2},
      {"single_p99", "ms", median(single.p99_ms), median(theirs.p99_ms), yardstick, GoalKind::ratio_at_most,
       0.5},
      {"coalesced_throughput", "reads/s", median(coalesced.per_second), yardstick_tps, yardstick,
       GoalKind::ratio_at_least, 6},
      {"direct_pipelined_throughput", "statements/s", median(pipelined.per_second),
       median(their_pipeline.per_second) * static_cast<double>(pipeline_depth),
       "pgbench's pipeline of ten, direct", GoalKind::ratio_at_least, 0.8},
  };
}

}  // namespace citadel::cli
