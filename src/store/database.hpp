// Database: the one door to PostgreSQL for everything above: pool, breaker, retries, routing and
// transactions.
//
//   auto name = co_await database.transact<std::string>(deadline, Intent::write, {.name = "rename model"},
//       [&](pg::Transaction& tx) -> Task<Result<std::string>> { ... });
//
// The closure may run several times: 40001, 40P01 and a connection lost before COMMIT roll back and run all
// of it again, within the deadline, the attempts and the retry budget. It must not have effects outside the
// transaction.
//
// A COMMIT whose outcome is unknown is resolved by a marker row that every Intent::write transaction inserts
// (see docs/errors.md): the resolver inserts the same marker in a new transaction. Where that insert
// succeeds, the lost transaction has not committed and never can, and the closure runs again; where it
// conflicts, it has committed. Only where the database stays away until the deadline does the caller see
// commit_unknown.
//
// All calls on the database's executor; use aio::run_on from others.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string_view>
#include <utility>

#include "pg/pool.hpp"
#include "pg/transaction.hpp"
#include "resilience/backoff.hpp"
#include "resilience/circuit_breaker.hpp"
#include "resilience/retry_budget.hpp"

namespace citadel::store {

enum class Intent : std::uint8_t {
  read,              // may go to a standby: a read-only transaction, or a plain SELECT
  read_your_writes,  // a read that sees every commit before it: forced to the primary
  write,             // the primary
};

std::string_view to_string(Intent intent);

// Who finds out what became of a COMMIT whose answer was lost.
enum class CommitCheck : std::uint8_t {
  marker,     // Database, by the marker row
  by_caller,  // the caller, by a row of its own; it gets commit_unknown
};

struct TransactOptions {
  std::string_view name;  // a literal: metrics, errors, logs
  pg::Isolation isolation = pg::Isolation::read_committed;
  bool deferrable = false;
  int attempts_max = 0;  // 0: Options::attempts_max
  CommitCheck commit_check = CommitCheck::marker;
};

struct Options {
  pg::PoolOptions pool;
  resilience::BreakerOptions breaker;
  resilience::BackoffOptions backoff{.initial = std::chrono::milliseconds(10),
                                     .ceiling = std::chrono::milliseconds(1000)};
  resilience::RetryBudgetOptions retry_budget;
  int attempts_max = 5;
};

struct Status {
  pg::PoolStatus pool;
  resilience::BreakerStatus breaker;
  std::uint64_t transactions_total = 0, retries_total = 0, retries_refused_total = 0,
                commit_unknown_total = 0, commit_resolved_total = 0, failures_total = 0;
};

// Code::internal: a column is not of the type that this version reads. Says how to find out more.
std::unexpected<Error> schema_mismatch(const pg::TypeMismatch& mismatch);

class Database {
 public:
  // `clock` outlives the database.
  Database(Executor executor, Options options, const Clock& clock, std::uint64_t seed);
  ~Database();  // after close()
  Database(const Database&) = delete;

  // Warms the pool up. The error is that of the first connection; the database works on regardless.
  Task<Result<void>> start(Deadline deadline);
  Task<Result<void>> close(Deadline deadline);

  template <class T>
  using Body = std::function<Task<Result<T>>(pg::Transaction&)>;

  // `place` stands in the report where the session is not given back, as does options.name.
  template <class T>
  Task<Result<T>> transact(Deadline deadline, Intent intent, TransactOptions options, Body<T> body,
                           std::source_location place = std::source_location::current()) {
    std::optional<T> value;
    const ErasedBody erased = [&](pg::Transaction& tx) -> Task<Result<void>> {
      auto result = co_await body(tx);
      if (!result) co_return std::unexpected(std::move(result).error());
      value.emplace(*std::move(result));
      co_return Result<void>();
    };
    auto done = co_await transact_erased(deadline, intent, options, erased, place);
    if (!done) co_return std::unexpected(std::move(done).error());
    co_return std::move(*value);
  }

  // One SELECT outside BEGIN. Intent::write is a bug (CHECK): Pgpool-II may report a failed commit of a lone
  // statement as a success. A connection lost is retried. Of the statement, the name must be a literal.
  Task<Result<pg::Rows>> query(Deadline deadline, Intent intent, const pg::Statement& statement,
                               pg::Params params,
                               std::source_location place = std::source_location::current());

  Executor executor() const;
  pg::Pool& pool();
  resilience::CircuitBreaker& breaker();
  Status status() const;

 private:
  struct Impl;
  using ErasedBody = std::function<Task<Result<void>>(pg::Transaction&)>;
  Task<Result<void>> transact_erased(Deadline deadline, Intent intent, TransactOptions options,
                                     const ErasedBody& body, std::source_location place);
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::store
