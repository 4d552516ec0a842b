#include "app/verify_outage.hpp"

#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>

#include "aio/wait.hpp"
#include "base/log.hpp"
#include "usage/queries.hpp"
#include "usage/record_codec.hpp"

namespace citadel::app {
namespace {

using std::chrono::milliseconds;

constexpr int outage_records = 20;
constexpr pg::Statement ask{"verify ask", "select 1"};

double ms(Monotonic::duration duration) {
  return static_cast<double>(std::chrono::round<std::chrono::microseconds>(duration).count()) / 1000;
}

template <class F>
Task<Result<void>> call(F f) {
  co_return f();
}

// Runs what blocks on a thread of its own.
Task<Result<void>> off_thread(std::function<Result<void>()> work) {
  asio::thread_pool thread(1);
  co_return co_await aio::run_on(Executor(thread.get_executor()), call(std::move(work)));
}

bool breaker_open(store::Database& database) {
  return database.breaker().state() == resilience::BreakerState::open;
}

// Asks again and again, as the breaker needs some calls to decide. True: it opened.
Task<bool> wait_until_open(store::Database& database, const Clock& clock, Deadline deadline) {
  while (!breaker_open(database) && !deadline.expired(clock.monotonic())) {
    static_cast<void>(co_await database.query(Deadline::after(milliseconds(200), clock),
                                              store::Intent::read_your_writes, ask, {}));
    co_await aio::sleep_for(milliseconds(5));
  }
  co_return breaker_open(database);
}

Task<Result<std::vector<Uuid>>> append_records(journal::Journal& journal, const Clock& clock,
                                               Deadline deadline) {
  SeededRandom random(random_seed());
  std::vector<Uuid> ids;
  for (int i = 0; i < outage_records; ++i) {
    usage::RequestRecord record;
    record.started_at = clock.wall();
    record.id = new_uuid7(record.started_at, random);
    record.tenant = "citadel-verify";
    record.model = "citadel-verify";
    std::vector<journal::Record> one;
    one.push_back(
        {.kind = journal::Kind::usage_request, .id = record.id, .payload = usage::encode_record(record)});
    CITADEL_CO_TRY(co_await journal.append(std::move(one), deadline));
    ids.push_back(record.id);
  }
  co_return ids;
}

Task<int> count_stored(store::Database& database, const std::vector<Uuid>& ids, const Clock& clock) {
  int stored = 0;
  for (const auto& id : ids) {
    const auto found = co_await usage::get_request(database, id, Deadline::after(milliseconds(2'000), clock));
    if (found) ++stored;
  }
  co_return stored;
}

}  // namespace

Task<Check> verify_outage(store::Database& database, journal::Journal& journal, const Outage& outage,
                          const Clock& clock, Deadline deadline) {
  Check check{
      "R8.outage", "R8", false, {}, {{"acknowledged_min", outage_records}, {"stored_min", outage_records}},
      {}};
  const auto give_up = [&](std::string text) {
    check.error = std::move(text);
    return check;
  };
  // From here on until PostgreSQL runs again a cancellation must wait: it is a matter of seconds.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  log::warning("verify", "PostgreSQL is stopped on purpose, to see what happens", {});
  const auto stopped = co_await off_thread(outage.stop);
  auto begun = clock.monotonic();
  const bool opened =
      stopped && co_await wait_until_open(database, clock, deadline.within(std::chrono::seconds(20)));
  check.measured["breaker_opened"] = opened;
  check.measured["breaker_opened_after_ms"] = ms(clock.monotonic() - begun);
  const auto ids = co_await append_records(journal, clock, deadline.within(std::chrono::seconds(5)));
  check.measured["acknowledged"] = ids ? ids->size() : 0;

  // Started again whatever happened above.
  const auto started = co_await off_thread(outage.start);
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (started) log::info("verify", "PostgreSQL is started again", {});
  if (!stopped) co_return give_up(stopped.error().to_string());
  if (!started) co_return give_up(started.error().to_string());
  if (!ids) co_return give_up(ids.error().to_string());
  begun = clock.monotonic();
  const auto healed_by = deadline.within(std::chrono::seconds(60));
  while (!healed_by.expired(clock.monotonic()) &&
         (database.breaker().state() != resilience::BreakerState::closed ||
          journal.status().undrained_records > 0)) {
    static_cast<void>(co_await database.query(Deadline::after(milliseconds(500), clock),
                                              store::Intent::read_your_writes, ask, {}));
    co_await aio::sleep_for(milliseconds(20));
  }
  check.measured["healed_after_ms"] = ms(clock.monotonic() - begun);
  check.measured["breaker_closed"] = database.breaker().state() == resilience::BreakerState::closed;
  const int stored = co_await count_stored(database, *ids, clock);
  check.measured["stored"] = stored;
  check.passed =
      opened && stored == outage_records && database.breaker().state() == resilience::BreakerState::closed;
  if (!check.passed)
    check.error = "the breaker did not open, or what was taken meanwhile was not stored after";
  co_return check;
}

}  // namespace citadel::app
