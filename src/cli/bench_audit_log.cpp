// bench audit, the drain with sequencer, tree and indexes, against psql's \copy of
// the same rows, binary, into the same tables of a database beside.
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <charconv>
#include <iostream>

#include "aio/run.hpp"
#include "aio/wait.hpp"
#include "app/settings.hpp"
#include "audit/catalogue.hpp"
#include "audit/sink.hpp"
#include "base/random.hpp"
#include "cli/bench_audit.hpp"
#include "cli/migrate.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t drain_rows_a_round = 100'000;
constexpr std::size_t events_an_append = 1'000;
constexpr auto within = 600s;
constexpr std::string_view copied[] = {"audit.entry", "audit.event", "audit.tile"};

class Psql {
 public:
  Psql(std::filesystem::path program, std::string conninfo)
      : program_(std::move(program)), conninfo_(std::move(conninfo)) {}

  Result<std::string> run(const std::string& database, std::vector<std::string> commands) const {
    std::vector<std::string> arguments{program_.string(),
                                       "-X",
                                       "-q",
                                       "-t",
                                       "-A",
                                       "-v",
                                       "ON_ERROR_STOP=1",
                                       "-d",
                                       fmt::format("{} dbname={}", conninfo_, database)};
    for (auto& command : commands) {
      arguments.emplace_back("-c");
      arguments.push_back(std::move(command));
    }
    return run_program(std::move(arguments), within);
  }
  // By psql's own clock, so that its start is not counted.
  Result<double> seconds_of(const std::string& database, std::string command) const {
    CITADEL_ASSIGN(const auto output, run(database, {"\\timing on", std::move(command)}));
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
  std::filesystem::path program_;
  std::string conninfo_;
};

Result<app::Config> new_database(const BenchServers& servers, const Psql& psql, const std::string& name) {
  CITADEL_TRY(psql.run("postgres", {fmt::format("create database {} owner {}", name, local::owner_role)}));
  CITADEL_ASSIGN(auto config, servers.config());
  config.database.name = name;
  CITADEL_TRY(migrate_now(config, [](std::string_view) {}));
  return config;
}

Result<void> fill(journal::Journal& journal, std::size_t rows, const audit::AuditKeys& keys, Random& random) {
  asio::io_context context{1};
  const auto now = system_clock().wall();
  for (std::size_t done = 0; done < rows; done += events_an_append) {
    std::vector<journal::Record> records;
    for (std::size_t i = done; i < std::min(rows, done + events_an_append); ++i) {
      const auto event = bench_event(i, now + std::chrono::microseconds(i), random);
      CITADEL_ASSIGN(const auto action, audit::find_action(event.action));
      records.push_back(
          {.kind = journal::Kind::audit_event,
           .id = event.id,
           .payload = audit::encode_record(audit::seal_event(event, action, keys.journal.front()))});
    }
    CITADEL_TRY(aio::run(context, journal.append(std::move(records), Deadline::after(30s))));
  }
  return {};
}

Task<Result<double>> drain_all(asio::io_context& context, const app::Config& config,
                               journal::Journal& journal, std::shared_ptr<const audit::AuditKeys> keys) {
  store::Database database(context.get_executor(), app::database_options(config), system_clock(),
                           random_seed());
  CITADEL_CO_TRY(co_await database.start(Deadline::after(10s)));
  auto permit = std::make_shared<audit::GrowthPermit>();
  permit->grant(0, tlog::empty_root());
  audit::Sequencer sequencer(std::move(keys), permit, {}, system_clock());
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  sinks.push_back(audit::make_audit_sink(sequencer));
  drain::Drain drain(database, journal, std::move(sinks), app::audit_drain_options(config), system_clock(),
                     random_seed());
  const auto began = Monotonic::now();
  const auto deadline = Deadline::after(within);
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

struct Round {
  double ours = 0, theirs = 0;  // rows a second
};

// Ours into one database, and what came out of it by \copy into another, whose partitions are there already.
Result<Round> run_round(const BenchServers& servers, const Psql& psql, int number, Random& random) {
  const auto ours = fmt::format("audit_ours_{}", number), theirs = fmt::format("audit_theirs_{}", number);
  CITADEL_ASSIGN(auto config, new_database(servers, psql, ours));
  CITADEL_TRY(new_database(servers, psql, theirs));
  config.audit.journal_folder = servers.folder->path() / fmt::format("audit-journal-{}", number);
  std::vector<crypto::AesGcmKey> masters;
  masters.push_back(crypto::AesGcmKey::generate());
  const auto keys = audit::AuditKeys::derive(masters);
  CITADEL_ASSIGN(const auto journal,
                 journal::Journal::open(app::audit_journal_options(config), system_clock()));
  CITADEL_TRY(fill(*journal, drain_rows_a_round, *keys, random));
  CITADEL_TRY(psql.run(ours, {"checkpoint"}));
  asio::io_context context{1};
  CITADEL_ASSIGN(const auto our_seconds, aio::run(context, drain_all(context, config, *journal, keys)));
  // What the migrations' triggers wrote is in the log too.
  CITADEL_ASSIGN(const auto all_there,
                 psql.run(ours, {fmt::format("select size >= {} from audit.head", drain_rows_a_round)}));
  if (all_there != "t\n")
    return fail(Code::internal,
                fmt::format("{} events were drained, the head says fewer", drain_rows_a_round));
  CITADEL_TRY(psql.run(theirs, {"select audit.ensure_entry_partitions(1000000)",
                                "select audit.ensure_event_partitions(array[1,2,3]::smallint[], "
                                "array[now(), now(), now()]::date[])",
                                "select audit.ensure_event_partitions(array[1]::smallint[], "
                                "array[now() + interval '1 day']::date[])"}));
  double their_seconds = 0;
  CITADEL_TRY(psql.run(theirs, {"checkpoint"}));
  for (const auto table : copied) {
    const auto file = (servers.folder->path() / "rows.bin").string();
    CITADEL_TRY(
        psql.run(ours, {fmt::format("\\copy (select * from {}) to '{}' with (format binary)", table, file)}));
    CITADEL_ASSIGN(
        const auto seconds,
        psql.seconds_of(theirs, fmt::format("\\copy {} from '{}' with (format binary)", table, file)));
    their_seconds += seconds;
  }
  constexpr auto count = static_cast<double>(drain_rows_a_round);
  return Round{count / our_seconds, count / their_seconds};
}

}  // namespace

Result<Metrics> bench_audit_log(const Context& context, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto servers, BenchServers::start(context));
  CITADEL_ASSIGN(auto program, find_client("psql", "postgresql-client"));
  const Psql psql(std::move(program), servers.conninfo(false, local::superuser_role));
  SeededRandom random(random_seed());
  std::vector<double> ours, theirs;
  for (int round = 1; round <= options.rounds; ++round) {
    *context.err << fmt::format("round {} of {}: {} events\n", round, options.rounds, drain_rows_a_round);
    CITADEL_ASSIGN(const auto measured, run_round(servers, psql, round, random));
    ours.push_back(measured.ours);
    theirs.push_back(measured.theirs);
  }
  return Metrics{{"drain_events", "events/s", median(std::move(ours)), median(std::move(theirs)),
                  "psql \\copy binary of the same entries, events and tiles, direct",
                  GoalKind::ratio_at_least, 0.5}};
}

}  // namespace citadel::cli
