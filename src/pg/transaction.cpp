#include "pg/transaction.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/check.hpp"
#include "pg/sqlstate.hpp"

namespace citadel::pg {
namespace {

constexpr Statement set_local_statement{"set_local", "SELECT pg_catalog.set_config($1, $2, true)"};

std::string begin_sql(const TransactionOptions& options) {
  std::string_view level = "READ COMMITTED";
  if (options.isolation == Isolation::repeatable_read) level = "REPEATABLE READ";
  if (options.isolation == Isolation::serializable) level = "SERIALIZABLE";
  return fmt::format("BEGIN ISOLATION LEVEL {} {}{}", level, options.read_only ? "READ ONLY" : "READ WRITE",
                     options.deferrable ? " DEFERRABLE" : "");
}

// The server has answered COMMIT by an error of its own: the transaction is rolled back. What the session's
// loss or our deadline leaves open is unknown; so is 40003, by which the server says that it does not know
// either. Class XX may be Pgpool-II's, which says in many ways that it has lost the server.
bool is_outcome_known(const Error& error) {
  switch (error.code) {
    case Code::connection_lost:
    case Code::deadline_exceeded:
    case Code::commit_unknown:
    case Code::cancelled:
      return false;
    default:
      return error.sqlstate[0] != '\0' && !std::string_view(error.sqlstate).starts_with("XX");
  }
}

// A server in recovery refuses BEGIN … READ WRITE, and SERIALIZABLE, as a feature that is not there.
// Everything else that such a transaction could not do would be 25006, so this is said the same way.
Error begin_error(Error error) {
  if (std::string_view(error.sqlstate) == "0A000") {
    const auto as_read_only = classify(read_only_state);
    error.code = as_read_only.code;
    error.retry = as_read_only.retry;
    read_only_state.copy(error.sqlstate, read_only_state.size());
  }
  return std::move(error).in("begin");
}

}  // namespace

Transaction::Transaction(Connection& connection, Routing routing)
    : connection_(&connection), routing_(routing) {}
Transaction::Transaction(Transaction&& other) noexcept
    : connection_(std::exchange(other.connection_, nullptr)),
      routing_(other.routing_),
      depth_(other.depth_) {}
Transaction::~Transaction() = default;

Task<Result<Transaction>> Transaction::begin(Connection& connection, TransactionOptions options,
                                             Deadline deadline) {
  if (connection.state() == SessionState::in_block || connection.state() == SessionState::failed) {
    co_return fail(Code::internal, "the session is in a transaction already: use a savepoint");
  }
  auto begun = co_await connection.execute_simple(begin_sql(options), deadline);
  if (!begun) co_return std::unexpected(begin_error(std::move(begun).error()));
  co_return Transaction(connection, options.primary_only ? Routing::primary : Routing::any);
}

Connection& Transaction::connection() {
  CITADEL_CHECK(connection_ != nullptr, "the transaction has ended, or was moved from");
  return *connection_;
}

Task<Result<Rows>> Transaction::execute(const Statement& statement, const Params& params, Deadline deadline) {
  return connection().execute(statement, params, deadline, routing_);
}

Task<Result<Rows>> Transaction::execute_simple(std::string_view sql, Deadline deadline) {
  return connection().execute_simple(sql, deadline);
}

Task<Result<void>> Transaction::set_local(std::string_view name, std::string_view value, Deadline deadline) {
  const Params params(name, value);
  CITADEL_CO_TRY(co_await connection().execute(set_local_statement, params, deadline));
  co_return Result<void>();
}

Task<Result<void>> Transaction::savepoint(Deadline deadline,
                                          std::function<Task<Result<void>>(Transaction&)> body) {
  const std::string name = fmt::format("s{}", ++depth_);
  auto set = co_await connection().execute_simple("SAVEPOINT " + name, deadline);
  if (!set) {
    --depth_;
    co_return std::unexpected(std::move(set).error().in("savepoint"));
  }
  auto done = co_await body(*this);
  // A body that hid an error of the server's leaves a failed transaction, which RELEASE reports.
  auto ended = co_await connection().execute_simple(
      done ? "RELEASE SAVEPOINT " + name
           : fmt::format("ROLLBACK TO SAVEPOINT {0}; RELEASE SAVEPOINT {0}", name),
      deadline);
  --depth_;
  if (!done) co_return done;
  if (!ended) co_return std::unexpected(std::move(ended).error().in("release savepoint"));
  co_return Result<void>();
}

Task<Result<void>> Transaction::commit(Deadline deadline) {
  Connection& session = connection();
  if (session.state() == SessionState::broken) {
    co_return fail(Code::connection_lost, "the session was lost before COMMIT", Retry::fresh_snapshot);
  }
  if (session.state() == SessionState::busy) {
    co_return fail(Code::internal,
                   "a call is still under way on this session: COMMIT was not sent, nothing is committed");
  }
  if (deadline.expired()) {
    co_return fail(Code::deadline_exceeded,
                   "the deadline passed before COMMIT was sent; nothing is committed");
  }
  auto answer = co_await session.execute_simple("COMMIT", deadline);
  if (answer && answer->command_tag() == "COMMIT") {
    connection_ = nullptr;
    co_return Result<void>();
  }
  if (answer) {
    connection_ = nullptr;
    co_return fail(Code::internal,
                   "COMMIT rolled back: a statement before it had failed, and that error was not heeded");
  }
  Error error = std::move(answer).error().in("commit");
  const bool answered = error.sqlstate[0] != '\0' && session.state() != SessionState::broken;
  if (!is_outcome_known(error)) {
    error.code = Code::commit_unknown;
    error.retry = Retry::never;
    if (!answered) co_return std::unexpected(std::move(error));
  }
  // Pgpool-II answers 25P02 after a COMMIT that failed until it sees this; PostgreSQL only warns. Where it
  // fails, the session's state says so.
  (void)co_await session.execute_simple("ROLLBACK", deadline);
  connection_ = nullptr;
  co_return std::unexpected(std::move(error));
}

Task<Result<void>> Transaction::rollback(Deadline deadline) {
  Connection& session = connection();
  auto answer = co_await session.execute_simple("ROLLBACK", deadline);
  if (!answer) co_return std::unexpected(std::move(answer).error().in("rollback"));
  connection_ = nullptr;
  co_return Result<void>();
}

}  // namespace citadel::pg
