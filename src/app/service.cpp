#include "app/service.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/use_future.hpp>
#include <future>

#include "access/store.hpp"
#include "aio/gate.hpp"
#include "aio/runtime.hpp"
#include "aio/wait.hpp"
#include "app/access_gate.hpp"
#include "app/api.hpp"
#include "app/audit_trail.hpp"
#include "app/config_keys.hpp"
#include "app/settings.hpp"
#include "app/verify_outage.hpp"
#include "base/log.hpp"
#include "store/migrations.hpp"
#include "telemetry/process.hpp"
#include "usage/request_reader.hpp"
#include "usage/sink.hpp"

namespace citadel::app {
namespace {

// How often the schema is looked at until it is as it should be, and old markers and sums are removed
// afterwards.
constexpr auto schema_interval = std::chrono::milliseconds(500);
constexpr auto upkeep_interval = std::chrono::minutes(10);
// A revocation is felt within this and the time of a query.
constexpr auto keys_interval = std::chrono::seconds(1);

constexpr pg::Statement read_version{"schema version", "select max(version) from citadel.migration"};
constexpr pg::Statement purge_markers{"purge commit markers", "select citadel.purge_commit_markers('1 day')"};
constexpr pg::Statement prune_rollups{"prune rollups", "select usage.prune_rollups()"};
constexpr pg::Statement make_partitions{
    "make partitions",
    "select usage.ensure_partitions(array(select (now() at time zone 'utc')::date + day "
    "from generate_series(0, $1::int) as day))"};

SchemaState schema_of(const Result<pg::Rows>& rows) {
  const int wanted = store::embedded_migrations().back().version;
  if (!rows) {
    const std::string_view state = rows.error().sqlstate;
    // 42P01 undefined_table, 3F000 invalid_schema_name, 42501 no right on the schema that is not ours yet
    if (state == "42P01" || state == "3F000" || state == "42501") {
      return {true, false, "the database has not been migrated: run citadel migrate"};
    }
    return {false, false, {}};
  }
  const int found = (*rows)[0].get<std::optional<int>>(0).value_or(0);
  if (found == wanted) return {true, true, {}};
  const std::string_view advice =
      found < wanted ? "run citadel migrate" : "it was migrated by a newer Citadel: install that version";
  return {true, false,
          fmt::format("the schema is at version {}, this binary needs {}: {}", found, wanted, advice)};
}

// How many descriptors this process may have. The soft limit, often 1024, is raised as far as they are
// wanted.
std::size_t allow_descriptors(std::size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  if (limit.rlim_cur < wanted) {
    const rlimit raised{std::min<rlim_t>(wanted, limit.rlim_max), limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return static_cast<std::size_t>(limit.rlim_cur);
}

// Connections may not take the descriptors that the journal and the sessions need.
std::size_t connections_max(const Config& config) {
  const auto descriptors = allow_descriptors(descriptors_wanted(config));
  const auto fit = connections_that_fit(config, descriptors);
  if (fit < static_cast<std::size_t>(config.http.connections_max)) {
    log::warning("http",
                 "fewer connections are taken than http.connections_max: raise the limit of open files",
                 {{"connections", fit}, {"open_files", descriptors}, {"wanted", descriptors_wanted(config)}});
  }
  return fit;
}

}  // namespace

struct Service::Impl {
  Config config;
  Config in_force{config};  // as reloaded; on the thread that reloads
  Secret admin_key;
  std::optional<Outage> outage;
  const Clock& clock = system_clock();
  MonotonicTime started = clock.monotonic();
  telemetry::Metrics metrics;
  ServiceMetrics service_metrics{metrics};
  telemetry::Registration process_metrics;
  std::mutex reload_mutex;
  UsageConfig usage;  // guarded by reload_mutex

  aio::Runtime runtime;
  std::unique_ptr<journal::Journal> journal;
  std::unique_ptr<store::Database> database;
  std::unique_ptr<drain::Drain> drain;
  std::unique_ptr<AuditTrail> audit;  // none: audit.enabled is false
  std::unique_ptr<access::Keyring> keyring;
  bool keys_followed = true;                       // on the data plane; whether the last look succeeded
  std::unique_ptr<aio::Gate> gate;                 // on the data plane
  std::unique_ptr<usage::RequestReader> requests;  // on the data plane
  BreakerMode breaker_mode = BreakerMode::normal;  // on the data plane
  std::unique_ptr<aio::Gate> verifications;        // on the data plane
  std::unique_ptr<http::Server> server;
  SchemaState schema;     // on the data plane
  bool stopping = false;  // on the data plane
  bool stopped = false;

  Impl(Config c, Secret key, std::optional<Outage> o)
      : config(std::move(c)),
        admin_key(std::move(key)),
        outage(std::move(o)),
        usage(config.usage),
        runtime(thread_count(config)) {}

  Executor data_plane() const { return runtime.executor(0); }

  // Runs a coroutine on the data plane and waits for it, from the thread that starts and stops.
  template <class T>
  T wait(Task<T> task) {
    return asio::co_spawn(data_plane(), std::move(task), asio::use_future).get();
  }
  template <class F>
  auto on_data_plane(F f) {
    return asio::post(data_plane(), asio::use_future([&] { return f(); })).get();
  }

  Result<void> start_parts(Deadline deadline, const std::stop_token& stop);
  Task<Result<void>> start_database(Deadline deadline);
  void warm_up(Deadline deadline, const std::stop_token& stop);
  Result<void> start_server();
  void force_breaker(BreakerMode mode);
  Snapshot snapshot();
  Task<> look_at_schema(Deadline deadline);
  Task<> watch_schema();
  Task<> keep_up();
  Task<> look_at_keys(Deadline deadline);
  Task<> follow_keys();
  Result<void> stop_parts(Deadline deadline);
};

Snapshot Service::Impl::snapshot() {
  Snapshot out;
  out.at = clock.wall();
  out.uptime = clock.monotonic() - started;
  out.database = database->status();
  out.point_reads = requests->status();
  out.journal = journal->status();
  out.journal_bytes_max = static_cast<std::uint64_t>(config.journal.size_bytes_max);
  out.drain = drain->status();
  out.schema = schema;
  if (audit) out.audit = audit->status();
  out.keys = keyring->status();
  out.stopping = stopping;
  return out;
}

Task<> Service::Impl::look_at_schema(Deadline deadline) {
  SchemaState found;
  try {
    found = schema_of(co_await database->query(deadline, store::Intent::read_your_writes, read_version, {}));
  } catch (const pg::TypeMismatch& mismatch) {
    found = {true, false, store::schema_mismatch(mismatch).error().message};
  }
  if (found.known && !found.current && found.reason != schema.reason) {
    log::warning("app", "the schema is not usable; records wait in the journal", {{"reason", found.reason}});
  }
  if (found.known) schema = found;
}

// Asks until the schema is right; then starts the drain, which could not write before.
Task<> Service::Impl::watch_schema() {
  while (!schema.current) {
    co_await look_at_schema(Deadline::after(std::chrono::seconds(5), clock));
    if (!schema.current) co_await aio::sleep_for(schema_interval);
  }
  log::info("app", "the database is ready",
            {{"schema_version", store::embedded_migrations().back().version}});
  drain->start();
  if (audit) audit->start();
  co_await keep_up();
}

Task<> Service::Impl::keep_up() {
  struct Chore {
    const pg::Statement* statement;
    pg::Params params;
  };
  const Chore chores[] = {
      {&make_partitions, pg::Params(static_cast<std::int32_t>(config.usage.partitions_ahead))},
      {&purge_markers, {}},
      {&prune_rollups, {}}};
  for (;;) {
    for (const auto& chore : chores) {
      const auto deadline = Deadline::after(std::chrono::seconds(60), clock);
      auto done = co_await database->transact<bool>(
          deadline, store::Intent::write, {.name = chore.statement->name},
          [&chore, deadline](pg::Transaction& transaction) -> Task<Result<bool>> {
            CITADEL_CO_TRY(co_await transaction.execute(*chore.statement, chore.params, deadline));
            co_return true;
          });
      if (!done) log::warning("app", "upkeep failed; it is tried again later", {{"error", done.error()}});
    }
    co_await aio::sleep_for(upkeep_interval);
  }
}

// An outage is told once, and its end.
Task<> Service::Impl::look_at_keys(Deadline deadline) {
  Result<void> done;
  try {
    done = co_await access::refresh(*database, *keyring, clock, deadline);
  } catch (const pg::TypeMismatch& mismatch) {
    done = store::schema_mismatch(mismatch);
  }
  if (std::exchange(keys_followed, done.has_value()) == done.has_value()) co_return;
  if (done) {
    log::info("access", "API keys are followed again");
  } else {
    log::warning("access", "API keys cannot be followed; those that are known go on for access.stale_max",
                 {{"error", done.error()}});
  }
}

Task<> Service::Impl::follow_keys() {
  for (;;) {
    co_await aio::sleep_for(keys_interval);
    co_await look_at_keys(Deadline::after(std::chrono::seconds(5), clock));
  }
}

// What is ready has looked at the schema, where the database is there: its status is not "unknown" then.
Task<Result<void>> Service::Impl::start_database(Deadline deadline) {
  CITADEL_CO_TRY(co_await database->start(deadline));
  co_await look_at_schema(deadline);
  co_await look_at_keys(deadline);
  co_return Result<void>();
}

// Waits for the pool's first sessions, until the deadline or a stop.
void Service::Impl::warm_up(Deadline deadline, const std::stop_token& stop) {
  auto cancel = std::make_shared<asio::cancellation_signal>();
  auto warm = asio::co_spawn(data_plane(), start_database(deadline),
                             asio::bind_cancellation_slot(cancel->slot(), asio::use_future));
  const std::stop_callback on_stop(
      stop, [&] { asio::post(data_plane(), [cancel] { cancel->emit(asio::cancellation_type::terminal); }); });
  try {
    if (const auto done = warm.get(); !done && !stop.stop_requested()) {
      log::warning("app", "starting without the database", {{"error", done.error()}});
    }
  } catch (const boost::system::system_error&) {
    // Cancelled: the caller looks at `stop`.
  }
}

Result<void> Service::Impl::start_parts(Deadline deadline, const std::stop_token& stop) {
  CITADEL_ASSIGN(journal, journal::Journal::open(journal_options(config), clock));
  for (const auto& damage : journal->damage()) {
    log::error("journal", "damage was found and quarantined",
               {{"segment", damage.segment.string()},
                {"offset", damage.offset},
                {"reason", damage.reason},
                {"frames_lost_at_least", damage.frames_lost_at_least}});
  }
  if (config.audit.enabled) {
    CITADEL_ASSIGN(auto secrets, load_audit_secrets(config.audit));
    CITADEL_ASSIGN(audit, AuditTrail::open(config, std::move(secrets), clock));
  }
  CITADEL_ASSIGN(auto pepper, access::load_or_make_pepper(config.access.pepper_file));
  if (pepper.made) {
    log::info("access", "the pepper of API keys was made; daemons of one database share it",
              {{"file", config.access.pepper_file.string()}});
  }
  keyring = std::make_unique<access::Keyring>(std::move(pepper.pepper), clock, config.access.stale_max);
  process_metrics = telemetry::register_process_metrics(metrics);
  on_data_plane([&] {
    database =
        std::make_unique<store::Database>(data_plane(), database_options(config), clock, random_seed());
    database->pool().on_acquired([this](double seconds) { service_metrics.on_acquired(seconds); });
    database->breaker().on_transition([](auto from, auto to, std::string_view reason) {
      log::warning("store", "the circuit breaker changed",
                   {{"from", to_string(from)}, {"to", to_string(to)}, {"reason", reason}});
    });
    force_breaker(config.breaker.mode);
    std::vector<std::unique_ptr<drain::Sink>> sinks;
    sinks.push_back(usage::make_usage_sink());
    drain = std::make_unique<drain::Drain>(*database, *journal, std::move(sinks), drain_options(config),
                                           clock, random_seed());
    if (audit) audit->attach(*database, config);
    gate = std::make_unique<aio::Gate>(data_plane());
    requests = std::make_unique<usage::RequestReader>(*database, *gate);
    verifications = std::make_unique<aio::Gate>(data_plane());
    return 0;
  });
  warm_up(deadline.within(std::chrono::seconds(5)), stop);
  if (stop.stop_requested()) return fail(Code::cancelled, "a stop was asked for");
  on_data_plane([&] {
    gate->spawn("schema", watch_schema());
    gate->spawn("keys", follow_keys());
    return 0;
  });
  return start_server();
}

// A mode that stays as it is leaves the breaker what it has learnt.
void Service::Impl::force_breaker(BreakerMode mode) {
  using resilience::BreakerState;
  if (std::exchange(breaker_mode, mode) == mode) return;
  auto& breaker = database->breaker();
  constexpr std::string_view reason = "breaker.mode";
  switch (mode) {
    case BreakerMode::normal:
      return breaker.force(BreakerState::closed, reason);
    case BreakerMode::observe_only:
      return breaker.force(BreakerState::observe_only, reason);
    case BreakerMode::forced_open:
      return breaker.force(BreakerState::forced_open, reason);
    case BreakerMode::forced_closed:
      return breaker.force(BreakerState::forced_closed, reason);
  }
}

Result<void> Service::Impl::start_server() {
  auto context = std::make_shared<ApiContext>(ApiContext{
      *database, *requests, *journal, audit.get(), *keyring, metrics, service_metrics, clock, config,
      [this] { return snapshot(); }, [this]() -> const http::ServerStats& { return server->stats(); },
      [this] {
        const std::lock_guard lock(reload_mutex);
        return usage;
      },
      outage, *verifications});
  auto options = server_options(config);
  options.connections_max = connections_max(config);
  options.on_request = [this](const http::RequestSummary& summary) {
    service_metrics.on_request(summary);
    if (audit) audit->note_request(summary);
  };
  std::vector<Executor> executors;
  for (std::size_t i = 0; i < runtime.size(); ++i) executors.push_back(runtime.executor(i));
  server = std::make_unique<http::Server>(
      std::move(executors), std::move(options), make_router(context),
      [this](std::string_view key, const http::Route& route, http::Request& request) {
        return let_in(admin_key, *keyring, key, route, request);
      });
  if (auto started_server = server->start(); !started_server) {
    server.reset();
    return started_server;
  }
  return {};
}

Result<void> Service::Impl::stop_parts(Deadline deadline) {
  if (std::exchange(stopped, true)) return {};
  Result<void> first;
  const auto keep = [&](Result<void> result) {
    if (!result && first) first = std::move(result);
  };
  if (database) on_data_plane([&] { return stopping = true; });
  if (server) keep(wait(server->stop(deadline)));
  // Whatever `deadline` says: it uses the parts, and PostgreSQL must not stay stopped.
  if (verifications) keep(wait(verifications->close(Deadline::after(outage_time_max, clock))));
  if (gate) keep(wait(gate->close(deadline.within(std::chrono::seconds(5)))));
  // The pool needs a moment of its own behind the drains, which end side by side.
  const auto drained_by = Deadline::at(deadline.when() - std::chrono::milliseconds(500));
  if (drain) {
    auto records = asio::co_spawn(data_plane(), drain->close(drained_by), asio::use_future);
    if (audit) keep(wait(audit->close(drained_by)));
    keep(records.get());
  }
  if (database) keep(wait(database->close(Deadline::after(std::chrono::seconds(5), clock))));
  on_data_plane([&] {
    requests.reset();
    gate.reset();
    verifications.reset();
    drain.reset();
    if (audit) audit->detach();
    database.reset();
    return 0;
  });
  server.reset();
  audit.reset();
  journal.reset();
  return first;
}

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Service>> Service::start(Config config, Secret admin_key, std::optional<Outage> outage,
                                                Deadline deadline, std::stop_token stop) {
  std::unique_ptr<Service> service(
      new Service(std::make_unique<Impl>(std::move(config), std::move(admin_key), std::move(outage))));
  CITADEL_TRY(service->impl_->start_parts(deadline, stop));
  return service;
}

Service::~Service() {
  if (const auto stopped = stop(Deadline::after(std::chrono::seconds(5))); !stopped) {
    log::warning("app", "stopped with something left", {{"error", stopped.error()}});
  }
}

Result<void> Service::stop(Deadline deadline) {
  return impl_->stop_parts(deadline);
}

void Service::reload(const Config& config) {
  log::configure(config.log.level, config.log.format);
  impl_->on_data_plane([&] {
    impl_->database->pool().set_password(config.database.password_file.value);
    impl_->force_breaker(config.breaker.mode);
    return 0;
  });
  if (impl_->audit) {
    if (auto changed = config_change(impl_->in_force, config)) impl_->audit->note(*std::move(changed));
  }
  for (const auto& key : config_keys()) {
    if (key.reload == Reload::yes) copy_value(key, config, impl_->in_force);
  }
  const std::lock_guard lock(impl_->reload_mutex);
  impl_->usage = config.usage;
}

std::string Service::url() const {
  const auto& host = impl_->config.http.listen.host;
  const bool ipv6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", ipv6 ? "[" + host + "]" : host, impl_->server->port());
}

std::string_view version() {
  return "0.1.0";
}

}  // namespace citadel::app
