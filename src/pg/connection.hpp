// Connection: one session with PostgreSQL, directly or through Pgpool-II, asynchronous, on one executor.
//
// Every call takes a Deadline and returns by it. A call that its deadline ends leaves the connection in state
// `busy`: the statement may still run. Such a connection is given to recover(), which cancels, drains and
// proves it before anybody uses it again; or it is closed. Errors carry an SQLSTATE where the server gave
// one; see pg/sqlstate.hpp for how an SQLSTATE becomes a Code. A session that breaks outside COMMIT is
// connection_lost, inside COMMIT commit_unknown.
//
// One call at a time: the caller awaits one before it starts the next. Not thread-safe; all calls on its
// executor.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aio/task.hpp"
#include "base/deadline.hpp"
#include "base/error.hpp"
#include "base/secret.hpp"
#include "pg/value.hpp"

namespace citadel::pg {

enum class TlsMode : std::uint8_t { disable, prefer, require, verify_ca, verify_full };

// How the session reaches PostgreSQL. It decides what is allowed on it: see facts in
// docs/connection-pooling.md.
enum class Route : std::uint8_t {
  pgpool,  // one statement a Sync; LISTEN, session SET and advisory session locks are refused by our own code
  direct,
};

struct ConnectOptions {
  std::string host;  // a name, an address, or the folder of a Unix socket
  std::uint16_t port = 5433;
  std::string database;
  std::string user;
  Secret password;
  TlsMode tls = TlsMode::prefer;
  std::string tls_ca_file;  // for verify_ca and verify_full
  std::string application_name = "citadel";
  Route route = Route::pgpool;
  // Unacknowledged data or keepalive probes older than this break the socket (TCP_USER_TIMEOUT).
  std::chrono::milliseconds tcp_user_timeout{10'000};
  std::size_t prepared_max = 256;  // statements kept prepared on one session; the least recently used leaves
};

// A statement that is written once in the code. `name` stands in errors, metrics and logs. Both must outlive
// every use, so they are string literals.
struct Statement {
  std::string_view name;
  std::string_view sql;
};

// Where Pgpool-II may send a statement. `primary` puts a comment in front of the statement, which forces the
// primary while Pgpool-II's allow_sql_comments is off; the statement is prepared under that text.
enum class Routing : std::uint8_t { any, primary };

// How the calls of a pipeline stand to each other outside BEGIN. `each`: every call commits by itself.
// `once`: all are one implicit transaction, which costs less than half; only for calls that merely read,
// because those behind a failed one run again, and those before it are rolled back.
enum class PipelineSync : std::uint8_t { each, once };

enum class SessionState : std::uint8_t {
  idle,      // outside a transaction, nothing under way
  in_block,  // inside BEGIN
  failed,    // inside BEGIN, after an error: only ROLLBACK or ROLLBACK TO
  busy,      // a call ended before its statement did: recover() or close
  broken,    // the session is gone
};

struct Notification {
  std::string channel;
  std::string payload;
  int backend_pid;
};

class Connection {
 public:
  struct Impl;

  // Connects and proves the session with one round trip, which also reads the backend's pid.
  static Task<Result<std::unique_ptr<Connection>>> connect(Executor executor, ConnectOptions options,
                                                           Deadline deadline);
  // Closes the socket at once; whatever ran there is rolled back by the server.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Prepared on first use, binary both ways. 0A000 (its result type changed) evicts it from the cache; 26000
  // (statement gone: DEALLOCATE, failover) evicts all, because all may be gone. Outside a transaction it is
  // prepared again and repeated once, unseen.
  Task<Result<Rows>> execute(const Statement& statement, const Params& params, Deadline deadline,
                             Routing routing = Routing::any);

  // Simple protocol, text results, no parameters; may hold several statements, of which the last one's rows
  // return. For BEGIN, COMMIT, SET LOCAL, DDL. `sql` must hold no outside input.
  Task<Result<Rows>> execute_simple(std::string_view sql, Deadline deadline);

  struct Call {
    const Statement* statement;
    Params params;
  };
  // All calls in one round trip (Route::direct), each with its own outcome. On Route::pgpool they go one
  // after another. The outer Result fails only where the session does. At most 10,000 calls (CHECK).
  Task<Result<std::vector<Result<Rows>>>> pipeline(std::span<const Call> calls, Deadline deadline,
                                                   PipelineSync sync = PipelineSync::each);

  // Rows one at a time in constant memory. Where on_row returns an error the rest is cancelled and drained,
  // and that error returned. Rows that came before an error are partial: nothing was promised until this
  // returns a value, which is their count. Pgpool-II may keep rows back for as long as the server goes on
  // sending: a slow statement's first row can come with its last. On a direct session it comes at once.
  Task<Result<std::int64_t>> stream(const Statement& statement, const Params& params, Deadline deadline,
                                    std::function<Result<void>(Row)> on_row);

  // COPY … FROM STDIN (FORMAT binary), by simple query as Pgpool-II needs it. `next` is asked for chunks of
  // the encoded stream (see CopyWriter) until it gives an empty one; an error from it fails the COPY on the
  // server too. Returns the rows copied.
  Task<Result<std::int64_t>> copy_in(std::string_view sql, Deadline deadline,
                                     std::function<Result<std::string_view>()> next);
  // COPY … TO STDOUT. on_chunk sees the stream in the server's chunks. Returns the rows copied.
  Task<Result<std::int64_t>> copy_out(std::string_view sql, Deadline deadline,
                                      std::function<Result<void>(Bytes)> on_chunk);

  // Waits for the next NOTIFY on a channel that was LISTENed to by execute_simple. Route::direct only
  // (unsupported).
  Task<Result<Notification>> next_notification(Deadline deadline);

  // From busy to idle: cancels what runs (through `cancel_with`, a direct connection, by pg_cancel_backend,
  // where given; else by a CancelRequest on a thread of its own), drains the answer, rolls back, and proves
  // with a round trip that no late cancel hits the next statement. An error means: close it.
  Task<Result<void>> recover(Deadline deadline, Connection* cancel_with = nullptr);

  // A round trip. An error means: close it.
  Task<Result<void>> validate(Deadline deadline);

  SessionState state() const;
  // The backend that serves the session, by pg_backend_pid(), not the pid that Pgpool-II shows.
  int backend_pid() const;
  int server_version() const;  // 150020 for 15.20
  Route route() const;
  Executor executor() const;
  // Statements now prepared, and how often one had to be prepared again.
  std::size_t prepared_count() const;
  std::uint64_t reprepared_total() const;

 private:
  explicit Connection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::pg
