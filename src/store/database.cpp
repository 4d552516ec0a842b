#include "store/database.hpp"

#include <fmt/format.h>

#include "aio/wait.hpp"
#include "base/check.hpp"
#include "base/log.hpp"
#include "pg/sqlstate.hpp"

namespace citadel::store {
namespace {

// A transaction's outcome is known by this row, in the same transaction. Whoever inserts it second waits for
// the first, so after an unknown COMMIT the row decides: see docs/errors.md.
constexpr pg::Statement insert_marker{"commit marker", "insert into citadel.commit_marker (id) values ($1)"};
constexpr pg::Statement claim_marker{
    "commit marker claim", "insert into citadel.commit_marker (id) values ($1) on conflict do nothing"};

}  // namespace

std::string_view to_string(Intent intent) {
  switch (intent) {
    case Intent::read:
      return "read";
    case Intent::read_your_writes:
      return "read_your_writes";
    case Intent::write:
      return "write";
  }
  return "write";
}

std::unexpected<Error> schema_mismatch(const pg::TypeMismatch& mismatch) {
  return fail(Code::internal, fmt::format("{}; the schema is not what this version expects: citadel migrate "
                                          "--status tells what differs",
                                          mismatch.what()));
}

struct Database::Impl {
  // One use of a session: until when, what for, and for whom.
  struct Use {
    Deadline deadline;
    Intent intent;
    std::string_view name;
    std::source_location place;
  };

  Executor executor;
  const Clock& clock;
  SeededRandom random;
  Options options;
  pg::Pool pool;
  resilience::CircuitBreaker breaker;
  resilience::RetryBudget budget;
  Status counters;

  Impl(Executor e, Options o, const Clock& c, std::uint64_t seed)
      : executor(e),
        clock(c),
        random(seed),
        options(std::move(o)),
        pool(e, options.pool, c, random.next()),
        breaker(options.breaker, c, random),
        budget(options.retry_budget, c) {}

  // A session behind the breaker. `work` runs on it; its outcome goes to the breaker, and to the pool where
  // it says that the server takes no writes.
  template <class T, class Work>
  Task<Result<T>> on_session(Use use, Work work);
  Task<Result<void>> attempt(const Use& use, const TransactOptions& options, const ErasedBody& body,
                             const Uuid& marker);
  Task<Result<void>> inside(pg::Connection& connection, Deadline deadline, Intent intent,
                            const TransactOptions& options, const ErasedBody& body, const Uuid& marker);
  Task<Result<bool>> claim(Deadline deadline, const Uuid& marker);
  Task<Result<bool>> resolve(Deadline deadline, const Uuid& marker);
  Task<Result<void>> wait_to_retry(Deadline deadline, resilience::Backoff& backoff, Error error);
};

Database::Database(Executor executor, Options options, const Clock& clock, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(std::move(executor), std::move(options), clock, seed)) {}
Database::~Database() = default;

Task<Result<void>> Database::start(Deadline deadline) {
  return impl_->pool.start(deadline);
}
Task<Result<void>> Database::close(Deadline deadline) {
  return impl_->pool.close(deadline);
}
Executor Database::executor() const {
  return impl_->executor;
}
pg::Pool& Database::pool() {
  return impl_->pool;
}
resilience::CircuitBreaker& Database::breaker() {
  return impl_->breaker;
}

Status Database::status() const {
  auto status = impl_->counters;
  status.pool = impl_->pool.status();
  status.breaker = impl_->breaker.status();
  return status;
}

template <class T, class Work>
Task<Result<T>> Database::Impl::on_session(Use use, Work work) {
  CITADEL_CO_ASSIGN(auto permit, breaker.acquire());
  auto begun = clock.monotonic();
  auto lease = co_await pool.acquire(use.deadline, use.name, use.place);
  if (!lease) {
    permit.failed(lease.error(), clock.monotonic() - begun);
    co_return std::unexpected(std::move(lease).error());
  }
  begun = clock.monotonic();
  Result<T> result = fail(Code::internal, "the work threw");
  try {
    result = co_await work(**lease);
  } catch (const pg::TypeMismatch& mismatch) {
    result = schema_mismatch(mismatch);
  }
  if (result) {
    permit.succeeded(clock.monotonic() - begun);
  } else {
    permit.failed(result.error(), clock.monotonic() - begun);
    if (use.intent == Intent::write && result.error().sqlstate == pg::read_only_state) lease->demote();
  }
  co_return result;
}

Task<Result<void>> Database::Impl::inside(pg::Connection& connection, Deadline deadline, Intent intent,
                                          const TransactOptions& wanted, const ErasedBody& body,
                                          const Uuid& marker) {
  const pg::TransactionOptions begin{.isolation = wanted.isolation,
                                     .read_only = intent != Intent::write,
                                     .primary_only = intent != Intent::read,
                                     .deferrable = wanted.deferrable};
  CITADEL_CO_ASSIGN(auto transaction, co_await pg::Transaction::begin(connection, begin, deadline));
  auto done = Result<void>();
  if (intent == Intent::write && wanted.commit_check == CommitCheck::marker) {
    auto marked = co_await transaction.execute(insert_marker, pg::Params(marker), deadline);
    if (!marked) done = std::unexpected(std::move(marked).error());
  }
  if (done) done = co_await body(transaction);
  if (!done) {
    // The pool rolls back what cannot be rolled back here, before anybody else has the session.
    const auto state = connection.state();
    if (state == pg::SessionState::in_block || state == pg::SessionState::failed) {
      static_cast<void>(co_await transaction.rollback(deadline));
    }
    co_return done;
  }
  co_return co_await transaction.commit(deadline);
}

Task<Result<void>> Database::Impl::attempt(const Use& use, const TransactOptions& wanted,
                                           const ErasedBody& body, const Uuid& marker) {
  return on_session<void>(use, [this, use, &wanted, &body, marker](pg::Connection& connection) {
    return inside(connection, use.deadline, use.intent, wanted, body, marker);
  });
}

// One try to insert the marker of a transaction whose COMMIT got no answer. The insert waits for that
// transaction where it is still under way. True: no row was there, so it has not committed and never can.
// False: it has committed. The answer holds as soon as it is given, so the claim itself is rolled back.
Task<Result<bool>> Database::Impl::claim(Deadline deadline, const Uuid& marker) {
  const Use use{deadline, Intent::write, claim_marker.name, std::source_location::current()};
  return on_session<bool>(use, [deadline, marker](pg::Connection& connection) -> Task<Result<bool>> {
    CITADEL_CO_ASSIGN(auto transaction,
                      co_await pg::Transaction::begin(connection, {.primary_only = true}, deadline));
    CITADEL_CO_ASSIGN(const auto rows,
                      co_await transaction.execute(claim_marker, pg::Params(marker), deadline));
    static_cast<void>(co_await transaction.rollback(deadline));
    co_return rows.affected() == 1;
  });
}

// Asks until the database answers or the deadline passes.
Task<Result<bool>> Database::Impl::resolve(Deadline deadline, const Uuid& marker) {
  resilience::Backoff backoff(options.backoff, random);
  for (;;) {
    auto claimed = co_await claim(deadline, marker);
    if (claimed) {
      ++counters.commit_resolved_total;
      co_return claimed;
    }
    const auto wait = backoff.next();
    if (clock.monotonic() + wait >= deadline.when()) co_return claimed;
    co_await aio::sleep_for(wait);
  }
}

namespace {
// Whether the whole closure may run again: nothing of this attempt was committed.
bool may_run_again(const Error& error) {
  // A prepared statement that is gone inside BEGIN, for example, has another code but says the same.
  if (error.retry == Retry::fresh_snapshot) return true;
  switch (error.code) {
    case Code::serialization_failure:
    case Code::deadlock:
    case Code::connection_lost:
    case Code::unavailable:
      return true;
    default:
      return false;
  }
}
}  // namespace

Task<Result<void>> Database::Impl::wait_to_retry(Deadline deadline, resilience::Backoff& backoff,
                                                 Error error) {
  if (!budget.try_retry()) {
    ++counters.retries_refused_total;
    co_return std::unexpected(std::move(error).in("retry budget spent"));
  }
  const auto wait = backoff.next();
  if (clock.monotonic() + wait >= deadline.when())
    co_return std::unexpected(std::move(error).in("no time to retry"));
  ++counters.retries_total;
  co_await aio::sleep_for(wait);
  co_return Result<void>();
}

Task<Result<void>> Database::transact_erased(Deadline deadline, Intent intent, TransactOptions wanted,
                                             const ErasedBody& body, std::source_location place) {
  auto& impl = *impl_;
  ++impl.counters.transactions_total;
  impl.budget.on_request();
  resilience::Backoff backoff(impl.options.backoff, impl.random);
  const int attempts_max = wanted.attempts_max > 0 ? wanted.attempts_max : impl.options.attempts_max;
  for (int attempt = 1;; ++attempt) {
    const auto marker = new_uuid7(impl.clock.wall(), impl.random);
    auto done = co_await impl.attempt({deadline, intent, wanted.name, place}, wanted, body, marker);
    if (done) co_return done;
    Error error = std::move(done).error().in(wanted.name);
    if (error.code == Code::commit_unknown) {
      ++impl.counters.commit_unknown_total;
      if (intent == Intent::write && wanted.commit_check == CommitCheck::by_caller) {
        co_return std::unexpected(std::move(error));
      }
      if (intent != Intent::write) {
        error.code = Code::connection_lost;  // nothing was written: reading again is safe
      } else {
        const auto not_committed = co_await impl.resolve(deadline, marker);
        if (!not_committed) co_return std::unexpected(std::move(error));
        if (!*not_committed) co_return Result<void>();
        error.code = Code::connection_lost;
      }
    }
    if (!may_run_again(error) || attempt >= attempts_max) {
      ++impl.counters.failures_total;
      co_return std::unexpected(std::move(error));
    }
    CITADEL_CO_TRY(co_await impl.wait_to_retry(deadline, backoff, std::move(error)));
  }
}

Task<Result<pg::Rows>> Database::query(Deadline deadline, Intent intent, const pg::Statement& statement,
                                       pg::Params params, std::source_location place) {
  CITADEL_CHECK(intent != Intent::write, "a write runs in transact()");
  auto& impl = *impl_;
  impl.budget.on_request();
  resilience::Backoff backoff(impl.options.backoff, impl.random);
  for (int attempt = 1;; ++attempt) {
    auto rows = co_await impl.on_session<pg::Rows>(
        {deadline, intent, statement.name, place}, [&](pg::Connection& connection) {
          return connection.execute(statement, params, deadline,
                                    intent == Intent::read ? pg::Routing::any : pg::Routing::primary);
        });
    if (rows) co_return rows;
    Error error = std::move(rows).error();
    if (!may_run_again(error) || attempt >= impl.options.attempts_max) {
      ++impl.counters.failures_total;
      co_return std::unexpected(std::move(error));
    }
    CITADEL_CO_TRY(co_await impl.wait_to_retry(deadline, backoff, std::move(error)));
  }
}

}  // namespace citadel::store
