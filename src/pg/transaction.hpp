// Transaction: BEGIN … COMMIT on one connection, as an object with a scope.
//
// The destructor cannot wait, so a Transaction that is neither committed nor rolled back leaves its
// connection in_block; the pool's recovery rolls it back before anybody else has it.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "pg/connection.hpp"

namespace citadel::pg {

enum class Isolation : std::uint8_t { read_committed, repeatable_read, serializable };

struct TransactionOptions {
  Isolation isolation = Isolation::read_committed;
  bool read_only = false;
  bool primary_only = false;  // no statement may go to a standby: see Connection::execute
  bool deferrable = false;    // with serializable and read_only: waits for a snapshot that cannot fail
};

class Transaction {
 public:
  // A server in recovery, which is a standby, answers as one that is read-only: unavailable (25006).
  static Task<Result<Transaction>> begin(Connection& connection, TransactionOptions options,
                                         Deadline deadline);
  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  Task<Result<Rows>> execute(const Statement& statement, const Params& params, Deadline deadline);
  Task<Result<Rows>> execute_simple(std::string_view sql, Deadline deadline);
  Connection& connection();

  // set_config(name, value, true): SET LOCAL with the value as a parameter.
  Task<Result<void>> set_local(std::string_view name, std::string_view value, Deadline deadline);

  // Runs `body` inside SAVEPOINT; its error rolls back to the savepoint and is returned, the transaction
  // lives on.
  Task<Result<void>> savepoint(Deadline deadline, std::function<Task<Result<void>>(Transaction&)> body);

  // commit_unknown where the session broke, or the deadline ended, between sending COMMIT and its answer, or
  // where the answer is an internal error (class XX), which may be Pgpool-II's about a server it has lost.
  // Any other error means: rolled back. "COMMIT" answered by the tag ROLLBACK (a failed transaction) is an
  // error too.
  Task<Result<void>> commit(Deadline deadline);
  Task<Result<void>> rollback(Deadline deadline);

 private:
  Transaction(Connection& connection, Routing routing);
  Connection* connection_;  // null once it has ended
  Routing routing_;
  int depth_ = 0;  // of savepoints
};

}  // namespace citadel::pg
