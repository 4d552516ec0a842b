// What a Connection is made of.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "pg/connection.hpp"
#include "pg/detail/prepared.hpp"
#include "pg/detail/session.hpp"

namespace citadel::pg {

struct Connection::Impl {
  Impl(Executor e, std::unique_ptr<Session> s, const ConnectOptions& options)
      : executor(std::move(e)), session(std::move(s)), prepared(options.prepared_max), route(options.route) {}

  // The statement's name on the server, preparing it first where it is not there. `was_cached` tells which.
  Task<Result<std::string>> ensure_prepared(const Statement& statement, std::span<const Oid> types,
                                            bool& was_cached, Deadline deadline);
  // Sends the execution of a prepared statement. 26000 and a stale plan evict it; `again` tells that a second
  // try is right.
  Task<Result<Rows>> execute_once(const Statement& statement, const Params& params, bool& again,
                                  Deadline deadline);
  // Looks whether the error is that of a statement that is gone or stale. Forgets the stale one; where one is
  // gone, all.
  bool evict_if_gone(const Error& error, const Statement& statement, std::span<const Oid> types);
  // Frees on the server what the cache has no room for. Outside a transaction only: there an error would
  // spoil it.
  Task<Result<void>> evict_surplus(Deadline deadline);

  Task<Result<Rows>> simple(std::string_view sql, Deadline deadline);
  // One round trip of the calls that are `due`; afterwards those that must run again are.
  Task<Result<void>> pipeline_pass(std::span<const Call> calls, std::vector<std::size_t>& due,
                                   std::vector<Result<Rows>>& outcomes, PipelineSync sync, Deadline deadline);
  // Cancels what runs and reads to the end. Afterwards no cancel of ours is on its way, or the session is
  // lost.
  Task<Result<void>> cancel_and_drain(Deadline deadline, Connection* cancel_with);
  // Asks for the cancel once.
  Task<Result<void>> request_cancel(Deadline deadline, Connection* cancel_with);

  Executor executor;
  std::unique_ptr<Session> session;
  PreparedCache prepared;
  Route route;
  int backend_pid = 0;
  // All statements were forgotten; what the server still has of them is freed before the next is prepared.
  bool deallocate_due = false;
  // A cancel went out through Pgpool-II, and no answer has shown yet that it arrived.
  bool cancel_at_large = false;
  std::uint64_t reprepared_total = 0;
};

// The place that an error names: "execute select_one".
std::string place(std::string_view verb, std::string_view name);

}  // namespace citadel::pg
