#include "app/verify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <cmath>
#include <memory>

#include "aio/gate.hpp"
#include "aio/wait.hpp"
#include "app/verify_outage.hpp"
#include "base/time_text.hpp"

namespace citadel::app {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using store::Intent;

constexpr auto clean_up_time = std::chrono::seconds(5);
// All sessions are opened meanwhile, one after the other, also where the machine is busy.
constexpr auto hold_time = std::chrono::seconds(60);
constexpr auto failed_pause = milliseconds(10);  // an open breaker refuses at once

constexpr pg::Statement about{
    "verify about", "select current_setting('server_version'), current_database()::text, current_user::text"};
// All sessions wait for a lock that the observer holds: they are busy until it has seen them all, however
// long the last of them takes to open. 4850147 is "citadel"'s class of locks; the second key is this run's
// own.
constexpr pg::Statement hold_lock{"verify hold lock", "select pg_advisory_xact_lock(4850147, $1)"};
constexpr pg::Statement await_lock{"verify await lock", "select pg_advisory_xact_lock_shared(4850147, $1)"};
constexpr pg::Statement count_busy{
    "verify count busy",
    "select count(*) from pg_stat_activity a join pg_locks l using (pid) where a.state = 'active' "
    "and l.locktype = 'advisory' and not l.granted and l.classid = 4850147 and l.objid = $1::int4::oid"};
constexpr pg::Statement insert_probe{
    "verify insert", "insert into citadel.verify_probe (run, slot, note) values ($1, $2, $3)"};
constexpr pg::Statement read_probe{"verify read",
                                   "select note from citadel.verify_probe where run = $1 and slot = $2"};
constexpr pg::Statement update_probe{
    "verify update", "update citadel.verify_probe set note = $3 where run = $1 and slot = $2"};
constexpr pg::Statement count_probes{"verify count",
                                     "select count(*) from citadel.verify_probe where run = $1"};
constexpr pg::Statement remove_probes{"verify remove", "delete from citadel.verify_probe where run = $1"};
constexpr pg::Statement sleep_long{"verify sleep", "select pg_sleep(30) /* citadel verify cancel */"};
constexpr pg::Statement count_sleeping{
    "verify count sleeping",
    "select count(*) from pg_stat_activity where datname = current_database() and usename = current_user "
    "and state = 'active' and query like 'select pg_sleep(30) /* citadel verify cancel%'"};
// What people ask most: one request, the newest of all, today's usage.
constexpr pg::Statement by_id{"verify by id", "select model_id from usage.request where id = $1"};
constexpr pg::Statement newest{"verify newest",
                               "select id from usage.request where tenant_id = 1 order by id desc limit 50"};
constexpr pg::Statement today{
    "verify today",
    "select sum(requests)::bigint, sum(prompt_tokens)::bigint from usage.rollup_hour "
    "where bucket >= now() - interval '24 hours'"};

// To the microsecond: more digits say nothing.
double ms(Monotonic::duration duration) {
  return static_cast<double>(std::chrono::round<std::chrono::microseconds>(duration).count()) / 1000;
}

double percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto index = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(index, sorted.size() - 1)];
}

class Verifier {
 public:
  Verifier(store::Database& database, const VerifyOptions& options, const Clock& clock, Deadline deadline)
      : database_(database),
        options_(options),
        clock_(clock),
        deadline_(deadline),
        random_(random_seed()),
        run_(new_uuid7(clock.wall(), random_)),
        gate_(database.executor()) {}

  Task<Check> connectivity();
  Task<Check> concurrent_connections();
  Task<Check> query_times();
  Task<Check> write_and_read_back();
  Task<Check> rollback();
  Task<Check> deadlock();
  Task<Check> serialization();
  Task<Check> statement_timeout();
  Task<Check> cancel();
  // Removes what was written, and waits for what still runs. To be called whatever happened before.
  Task<> clean_up();

 private:
  template <class F>
  Task<Result<bool>> write(std::string_view name, pg::Isolation isolation, F body) {
    return database_.transact<bool>(step(), Intent::write, {.name = name, .isolation = isolation},
                                    std::move(body));
  }
  Deadline hold() const { return deadline_.within(hold_time, clock_.monotonic()); }
  Deadline step() const { return deadline_.within(std::chrono::seconds(20), clock_.monotonic()); }
  Task<Result<void>> put(int slot);
  // What coroutines of the gate found. They may outlive the check that began them.
  struct Found {
    std::vector<double> times;
    std::uint64_t failures = 0;
    std::optional<Error> first_error;
    bool good = false;
    void failed(const Error& error) {
      ++failures;
      if (!first_error) first_error = error;
    }
  };
  Task<> busy_until_released(std::int32_t key, std::shared_ptr<Found> found);
  Task<Result<std::int64_t>> most_busy(pg::Connection& observer, std::int64_t wanted,
                                       std::shared_ptr<Found> found);
  Task<> ask_until(MonotonicTime end, std::shared_ptr<Found> found);
  // Comes back when two have come here: their transactions then overlap for certain. A run again passes at
  // once.
  Task<> meet(std::shared_ptr<int> arrived);
  Task<Result<std::int64_t>> count(const pg::Statement& statement, pg::Params params);
  // Runs both at once and waits for both.
  Task<bool> both(Task<Result<bool>> one, Task<Result<bool>> other, std::string& error);

  store::Database& database_;
  const VerifyOptions& options_;
  const Clock& clock_;
  Deadline deadline_;
  SeededRandom random_;
  Uuid run_;
  aio::Gate gate_;
};

Task<Result<std::int64_t>> Verifier::count(const pg::Statement& statement, pg::Params params) {
  CITADEL_CO_ASSIGN(const auto rows,
                    co_await database_.query(step(), Intent::read_your_writes, statement, std::move(params)));
  co_return rows[0].get<std::int64_t>(0);
}

Task<Check> Verifier::connectivity() {
  Check check{"R1.connectivity", "R1", false, {}, {{"postgresql_major_min", 15}}, {}};
  auto lease = co_await database_.pool().acquire(step(), "verify");
  if (!lease) {
    check.error = lease.error().to_string();
    co_return check;
  }
  const auto begun = clock_.monotonic();
  const auto rows = co_await (*lease)->execute(about, {}, step());
  if (!rows) {
    check.error = rows.error().to_string();
    co_return check;
  }
  check.measured["round_trip_ms"] = ms(clock_.monotonic() - begun);
  check.measured["postgresql"] = (*rows)[0].get<std::string>(0);
  check.measured["database"] = (*rows)[0].get<std::string>(1);
  check.measured["user"] = (*rows)[0].get<std::string>(2);
  check.measured["route"] = (*lease)->route() == pg::Route::pgpool ? "pgpool" : "direct";
  if ((*lease)->route() == pg::Route::pgpool) {
    const auto pgpool = co_await (*lease)->execute_simple("show pool_version", step());
    if (!pgpool || pgpool->empty()) {
      check.error = "what is called Pgpool-II does not answer SHOW POOL_VERSION; is database.route right?";
      co_return check;
    }
    check.measured["pgpool"] = (*pgpool)[0].get<std::string>(0);
  }
  check.passed = (*lease)->server_version() >= 150000;
  co_return check;
}

Task<> Verifier::busy_until_released(std::int32_t key, std::shared_ptr<Found> found) {
  auto lease = co_await database_.pool().acquire(hold(), "verify");
  if (!lease) co_return found->failed(lease.error());
  const auto wait = [&]() -> Task<Result<void>> {
    CITADEL_CO_ASSIGN(auto tx, co_await pg::Transaction::begin(**lease, {.primary_only = true}, step()));
    for (const std::string_view limit : {"lock_timeout", "statement_timeout"})  // ours is the deadline
      CITADEL_CO_TRY(co_await tx.set_local(limit, "0", step()));
    CITADEL_CO_TRY(co_await tx.execute(await_lock, pg::Params(key), hold()));
    co_return co_await tx.rollback(step());
  };
  const auto waited = co_await wait();
  if (!waited) found->failed(waited.error());
}

// The most sessions that were seen busy at once. They are released when it ends.
Task<Result<std::int64_t>> Verifier::most_busy(pg::Connection& observer, std::int64_t wanted,
                                               std::shared_ptr<Found> found) {
  const auto key = static_cast<std::int32_t>(1000 + random_.below(1U << 30));
  CITADEL_CO_ASSIGN(auto tx, co_await pg::Transaction::begin(observer, {.primary_only = true}, step()));
  CITADEL_CO_TRY(co_await tx.execute(hold_lock, pg::Params(key), step()));
  for (std::int64_t i = 0; i < wanted; ++i) gate_.spawn("verify busy", busy_until_released(key, found));
  const auto until = hold();
  std::int64_t most = 0;
  while (gate_.live() > 0 && most < wanted && !until.expired(clock_.monotonic())) {
    // A transaction sees pg_stat_activity as it was at the first look.
    CITADEL_CO_TRY(co_await tx.execute_simple("select pg_stat_clear_snapshot()", step()));
    CITADEL_CO_ASSIGN(const auto rows, co_await tx.execute(count_busy, pg::Params(key), step()));
    most = std::max(most, rows[0].get<std::int64_t>(0));
    co_await aio::sleep_for(milliseconds(20));
  }
  CITADEL_CO_TRY(co_await tx.rollback(step()));
  co_return most;
}

// Counted on a session of its own, beside the pool.
Task<Check> Verifier::concurrent_connections() {
  const auto& pool = database_.pool().options();
  const auto wanted = static_cast<std::int64_t>(pool.size_max);
  Check check{"R2.concurrent_connections", "R2", false, {}, {{"busy_min", wanted}}, {}};
  auto observer =
      co_await pg::Connection::connect(database_.executor(), pool.direct.value_or(pool.connect), step());
  if (!observer) {
    check.error = observer.error().to_string();
    co_return check;
  }
  const auto begun = clock_.monotonic();
  const auto found = std::make_shared<Found>();
  const auto most = co_await most_busy(**observer, wanted, found);
  check.measured = {{"busy", most.value_or(0)}, {"took_ms", ms(clock_.monotonic() - begun)}};
  check.passed = most.value_or(0) >= wanted;
  observer->reset();  // whatever went wrong: its end releases them
  static_cast<void>(co_await gate_.drain(step()));
  if (!most) {
    check.error = most.error().to_string();
  } else if (!check.passed) {
    check.error =
        fmt::format("{} of {} sessions were busy; {}; citadel doctor tells which limit is too low", *most,
                    wanted, found->first_error ? found->first_error->to_string() : "none failed");
  }
  co_return check;
}

Task<> Verifier::ask_until(MonotonicTime end, std::shared_ptr<Found> found) {
  for (int turn = static_cast<int>(random_.below(3)); clock_.monotonic() < end; ++turn) {
    const auto begun = clock_.monotonic();
    const auto& statement = turn % 3 == 0 ? by_id : (turn % 3 == 1 ? newest : today);
    auto params = turn % 3 == 0 ? pg::Params(new_uuid7(clock_.wall(), random_)) : pg::Params();
    const auto rows = co_await database_.query(step(), Intent::read, statement, std::move(params));
    if (rows) {
      found->times.push_back(ms(clock_.monotonic() - begun));
    } else {
      found->failed(rows.error());
      co_await aio::sleep_for(failed_pause);
    }
  }
}

Task<Check> Verifier::query_times() {
  const auto callers = database_.pool().options().size_max;
  Check check{"R3.query_time", "R3", false, {}, {{"p99_9_ms_max", 100}, {"failures_max", 0}}, {}};
  const auto found = std::make_shared<Found>();
  const auto begun = clock_.monotonic();
  const auto end = begun + options_.query_time;
  for (std::size_t i = 0; i < callers; ++i) gate_.spawn("verify asks", ask_until(end, found));
  const auto ended = co_await gate_.drain(step());
  auto& times = found->times;
  const auto failures = found->failures;
  std::ranges::sort(times);
  const double seconds = ms(clock_.monotonic() - begun) / 1000;
  check.measured = {{"callers", callers},
                    {"queries", times.size()},
                    {"queries_per_second", std::round(static_cast<double>(times.size()) / seconds)},
                    {"p50_ms", percentile(times, 0.5)},
                    {"p99_ms", percentile(times, 0.99)},
                    {"p99_9_ms", percentile(times, 0.999)},
                    {"max_ms", times.empty() ? 0 : times.back()},
                    {"failures", failures},
                    {"busy_limit", database_.pool().status().limit}};
  if (!ended) check.error = ended.error().to_string();
  if (found->first_error) check.error = found->first_error->to_string();
  check.passed = ended && failures == 0 && !times.empty() && percentile(times, 0.999) < 100;
  co_return check;
}

Task<Result<void>> Verifier::put(int slot) {
  auto done = co_await write(
      "verify put", pg::Isolation::read_committed, [this, slot](pg::Transaction& tx) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await tx.execute(insert_probe, pg::Params(run_, slot, "written"), step()));
        co_return true;
      });
  if (!done) co_return std::unexpected(std::move(done).error());
  co_return Result<void>();
}

Task<Check> Verifier::write_and_read_back() {
  Check check{"R4.write_and_read_back", "R4", false, {}, {{"rows_min", 1}}, {}};
  const auto begun = clock_.monotonic();
  const auto written = co_await put(1);
  if (!written) {
    check.error = written.error().to_string();
    co_return check;
  }
  check.measured["write_ms"] = ms(clock_.monotonic() - begun);
  const auto rows =
      co_await database_.query(step(), Intent::read_your_writes, read_probe, pg::Params(run_, 1));
  check.measured["rows"] = rows ? rows->size() : 0;
  check.passed = rows && rows->size() == 1 && (*rows)[0].get<std::string_view>(0) == "written";
  if (!rows) check.error = rows.error().to_string();
  co_return check;
}

Task<Check> Verifier::rollback() {
  Check check{"R6.rollback", "R6", false, {}, {{"rows_left_max", 0}}, {}};
  const auto undone = co_await write(
      "verify rollback", pg::Isolation::read_committed, [this](pg::Transaction& tx) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await tx.execute(insert_probe, pg::Params(run_, 2, "x"), step()));
        co_return fail(Code::cancelled, "rolled back on purpose");
      });
  const auto rows =
      co_await database_.query(step(), Intent::read_your_writes, read_probe, pg::Params(run_, 2));
  if (!rows) {
    check.error = rows.error().to_string();
    co_return check;
  }
  check.measured["rows_left"] = rows->size();
  check.passed = !undone && undone.error().code == Code::cancelled && rows->empty();
  co_return check;
}

Task<> Verifier::meet(std::shared_ptr<int> arrived) {
  ++*arrived;
  const auto until = step();
  while (*arrived < 2 && !until.expired(clock_.monotonic())) co_await aio::sleep_for(milliseconds(1));
}

Task<bool> Verifier::both(Task<Result<bool>> one, Task<Result<bool>> other, std::string& error) {
  const auto found = std::make_shared<Found>();
  gate_.spawn("verify other", [](Task<Result<bool>> task, std::shared_ptr<Found> out) -> Task<> {
    const auto done = co_await std::move(task);
    out->good = done.has_value();
    if (!done) out->failed(done.error());
  }(std::move(other), found));
  const auto done = co_await std::move(one);
  static_cast<void>(co_await gate_.drain(step()));
  if (!done) error = done.error().to_string();
  if (found->first_error) error = found->first_error->to_string();
  co_return done && found->good;
}

// Two transactions take two rows in opposite order; PostgreSQL ends one of them, and it is run again.
Task<Check> Verifier::deadlock() {
  Check check{"R6.deadlock_retried", "R6", false, {}, {{"retries_min", 1}, {"failed_max", 0}}, {}};
  static_cast<void>(co_await put(3));
  static_cast<void>(co_await put(4));
  const auto before = database_.status().retries_total;
  const auto arrived = std::make_shared<int>(0);
  const auto update_both = [this, arrived](int from, int to) {
    return write("verify deadlock", pg::Isolation::read_committed,
                 [this, arrived, from, to](pg::Transaction& tx) -> Task<Result<bool>> {
                   CITADEL_CO_TRY(co_await tx.execute(update_probe, pg::Params(run_, from, "a"), step()));
                   co_await meet(arrived);
                   CITADEL_CO_TRY(co_await tx.execute(update_probe, pg::Params(run_, to, "b"), step()));
                   co_return true;
                 });
  };
  std::string error;
  const bool good = co_await both(update_both(3, 4), update_both(4, 3), error);
  const auto retries = database_.status().retries_total - before;
  check.measured = {{"retries", retries}, {"failed", good ? 0 : 1}};
  if (!error.empty()) check.error = error;
  check.passed = good && retries >= 1;
  co_return check;
}

// Two transactions count the same rows and add one each: not serializable, so one is run again.
Task<Check> Verifier::serialization() {
  Check check{"R6.serialization_retried", "R6", false, {}, {{"retries_min", 1}, {"failed_max", 0}}, {}};
  const auto before = database_.status().retries_total;
  const auto arrived = std::make_shared<int>(0);
  const auto count_and_add = [this, arrived](int slot) {
    return write("verify serialization", pg::Isolation::serializable,
                 [this, arrived, slot](pg::Transaction& tx) -> Task<Result<bool>> {
                   CITADEL_CO_TRY(co_await tx.execute(count_probes, pg::Params(run_), step()));
                   co_await meet(arrived);
                   CITADEL_CO_TRY(co_await tx.execute(insert_probe, pg::Params(run_, slot, "x"), step()));
                   co_return true;
                 });
  };
  std::string error;
  const bool good = co_await both(count_and_add(5), count_and_add(6), error);
  const auto retries = database_.status().retries_total - before;
  check.measured = {{"retries", retries}, {"failed", good ? 0 : 1}};
  if (!error.empty()) check.error = error;
  check.passed = good && retries >= 1;
  co_return check;
}

Task<Check> Verifier::statement_timeout() {
  Check check{"R7.statement_timeout", "R7", false, {}, {{"sqlstate", "57014"}, {"took_ms_max", 1000}}, {}};
  const auto begun = clock_.monotonic();
  const auto ended = co_await database_.transact<bool>(
      step(), Intent::read, {.name = "verify statement timeout"},
      [this](pg::Transaction& tx) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await tx.set_local("statement_timeout", "200ms", step()));
        CITADEL_CO_TRY(co_await tx.execute(sleep_long, {}, step()));
        co_return true;
      });
  check.measured["took_ms"] = ms(clock_.monotonic() - begun);
  check.measured["sqlstate"] = ended ? "" : ended.error().sqlstate;
  check.passed = !ended && std::string_view(ended.error().sqlstate) == "57014" &&
                 clock_.monotonic() - begun < std::chrono::seconds(1);
  if (!check.passed) check.error = ended ? "the statement ran to its end" : ended.error().to_string();
  co_return check;
}

// Our own deadline ends a statement: the caller has its answer at once, and soon the backend is not busy any
// more.
Task<Check> Verifier::cancel() {
  Check check{"R7.cancel", "R7", false, {}, {{"late_ms_max", 100}, {"still_running_max", 0}}, {}};
  const auto allowed = milliseconds(300);
  const auto begun = clock_.monotonic();
  const auto ended = co_await database_.query(Deadline::at(begun + allowed), Intent::read, sleep_long, {});
  const auto late = ms(clock_.monotonic() - begun - allowed);
  std::int64_t running = -1;
  for (int i = 0; i < 100 && running != 0; ++i) {
    const auto found = co_await count(count_sleeping, {});
    if (!found) {
      check.error = found.error().to_string();
      co_return check;
    }
    running = *found;
    if (running != 0) co_await aio::sleep_for(milliseconds(20));
  }
  check.measured = {{"late_ms", late},
                    {"still_running", running},
                    {"cancelled_after_ms", ms(clock_.monotonic() - begun - allowed)}};
  check.passed = !ended && ended.error().code == Code::deadline_exceeded && late < 100 && running == 0;
  if (!ended && ended.error().code != Code::deadline_exceeded) check.error = ended.error().to_string();
  co_return check;
}

Task<> Verifier::clean_up() {
  static_cast<void>(co_await gate_.close(Deadline::after(clean_up_time, clock_)));
  const auto deadline = Deadline::after(clean_up_time, clock_);
  static_cast<void>(co_await database_.transact<bool>(
      deadline, Intent::write, {.name = "verify clean up"},
      [this, deadline](pg::Transaction& tx) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await tx.execute(remove_probes, pg::Params(run_), deadline));
        co_return true;
      }));
}

Task<> run_checks(Verifier& verifier, std::vector<Check>& checks) {
  checks.push_back(co_await verifier.connectivity());
  checks.push_back(co_await verifier.concurrent_connections());
  checks.push_back(co_await verifier.query_times());
  checks.push_back(co_await verifier.write_and_read_back());
  checks.push_back(co_await verifier.rollback());
  checks.push_back(co_await verifier.deadlock());
  checks.push_back(co_await verifier.serialization());
  checks.push_back(co_await verifier.statement_timeout());
  checks.push_back(co_await verifier.cancel());
}

}  // namespace

Task<std::vector<Check>> verify(store::Database& database, journal::Journal& journal, VerifyOptions options,
                                const Clock& clock, Deadline deadline) {
  std::vector<Check> checks;
  Verifier verifier(database, options, clock, deadline);
  std::exception_ptr thrown;
  try {
    co_await run_checks(verifier, checks);
  } catch (...) {
    thrown = std::current_exception();
  }
  // Cancelled or not: nothing may be under way when the verifier goes.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await verifier.clean_up();
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (thrown) std::rethrow_exception(thrown);
  if (options.outage)
    checks.push_back(co_await verify_outage(database, journal, *options.outage, clock, deadline));
  co_return checks;
}

json::object to_json(const std::vector<Check>& checks) {
  json::array list;
  for (const auto& check : checks) {
    list.push_back(json::object{{"id", check.id},
                                {"requirement", check.requirement},
                                {"passed", check.passed},
                                {"measured", check.measured},
                                {"limit", check.limit},
                                {"error", check.error ? json::value(*check.error) : json::value(nullptr)}});
  }
  return {{"passed", std::ranges::all_of(checks, &Check::passed)}, {"checks", std::move(list)}};
}

}  // namespace citadel::app
