// Session: one PGconn with its socket, driven without blocking. The only thing that calls libpq on it.
//
// A call is: one or more send_…(), then collect() or the finer steps, until libpq has no more results. From
// the first send to the last result the session is `under way`; where a coroutine leaves in between, for
// whatever reason, it stays so, and only drain() ends it. A session that is lost stays lost.
//
// PQstatus tells of a lost session only once everything has been read, so every path reads to the end and
// looks at each result: Pgpool-II reports 57P01, then XX000, then closes.
#pragma once
#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "aio/task.hpp"
#include "base/deadline.hpp"
#include "pg/connection.hpp"
#include "pg/detail/watchdog.hpp"

namespace citadel::pg {

// What a result of libpq's is.
enum class Kind : std::uint8_t { end, row, rows, command, copy_in, copy_out, sync, aborted, error };
Kind kind_of(const Rows& rows);

class Session {
 public:
  // Tries the host's addresses in turn, each with an equal share of the time that is left.
  static Task<Result<std::unique_ptr<Session>>> open(Executor executor, const ConnectOptions& options,
                                                     Deadline deadline);
  ~Session();
  Session(const Session&) = delete;

  SessionState state() const;
  PGconn* raw() const { return connection_; }
  // The first error of the call under way.
  const std::optional<Error>& error() const { return error_; }
  std::optional<Error> take_error() { return std::exchange(error_, std::nullopt); }
  bool under_way() const { return under_way_; }
  void mark_lost() { lost_ = true; }

  // May a call begin now? connection_lost, deadline_exceeded, or internal where one is under way.
  Result<void> ready(Deadline deadline) const;

  // Each queues one message. An error means that nothing was sent.
  Result<void> send_simple(const std::string& sql);
  Result<void> send_prepare(const std::string& name, std::string_view sql, std::span<const Oid> types);
  Result<void> send_execute(const std::string& name, const Params& params);

  // Sends what is queued, gathers all results until there are none, and gives the last one's rows, or the
  // first error; where the session was lost meanwhile, that error says so.
  Task<Result<Rows>> collect(Deadline deadline);

  // The finer steps, for streams, COPY and pipelines.
  Task<Result<void>> flush(Deadline deadline);
  // The next result, null at the end of the statement's.
  Task<Result<Rows>> next(Deadline deadline);
  void single_row_mode() { PQsetSingleRowMode(connection_); }
  // Ends the call: the error noted, or success.
  Result<void> finish();

  // COPY. False where the server has already ended it.
  bool put_copy(std::string_view data);
  // Null: COPY has all it needs; else the reason for which the server fails it.
  void end_copy(const char* error_message);
  // The next chunk; empty at the end. The bytes are good until the next call.
  Task<Result<Bytes>> get_copy(Deadline deadline);

  // Pipelines.
  bool enter_pipeline();
  bool sync_pipeline();
  void sync_seen();
  bool leave_pipeline();

  // Reads and throws away what is still to come. `cancel_seen` becomes true where an answer said that a
  // cancel had hit it.
  Task<Result<void>> drain(Deadline deadline, bool& cancel_seen);
  // Without waiting: has all been answered?
  bool answered();

  // Until the server sends something unasked.
  Task<Result<void>> readable(Deadline deadline);
  // Reads what is there. False where the session is lost.
  bool consume();

  // One that has arrived already.
  std::optional<Notification> take_notification();
  int server_version() const { return PQserverVersion(connection_); }

  static Error deadline_error();

 private:
  static Task<Result<std::unique_ptr<Session>>> open_at(Executor executor, const ConnectOptions& options,
                                                        const std::string& address, Deadline deadline);
  Session(Executor executor, PGconn* connection, Secret password);
  Task<Result<void>> await_result(Deadline deadline);
  void note_send();
  Result<void> sent(int good);
  // Takes note of a result that is an error.
  void note(const Rows& rows);
  Error lost_error() const;
  bool attach();

  PGconn* connection_;
  Secret password_;
  Watchdog watchdog_;
  bool under_way_ = false;
  bool lost_ = false;
  bool tls_ = false;
  bool pipeline_ = false;
  bool copying_in_ = false;
  int syncs_due_ = 0;
  bool in_block_at_send_ = false;
  std::optional<Error> error_;
  char* copy_chunk_ = nullptr;
};

}  // namespace citadel::pg
