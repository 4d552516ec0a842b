// Connection::pipeline: many statements in one round trip, each with its own Sync and so its own outcome.
#include "base/check.hpp"
#include "pg/detail/connection_impl.hpp"
#include "pg/statement_rules.hpp"

namespace citadel::pg {
namespace {

// One round trip holds all requests and answers in memory, here and on the server.
constexpr std::size_t pipeline_calls_max = 10'000;

struct Queued {
  std::string name;
  bool was_cached = false;
};

// Queues PREPARE where needed, the execution and a Sync.
Result<Queued> queue_call(Connection::Impl& impl, const Connection::Call& call) {
  Queued queued;
  if (const std::string* name = impl.prepared.find(call.statement->sql, call.params.types())) {
    queued = {*name, true};
  } else {
    queued.name = impl.prepared.new_name();
    CITADEL_TRY(impl.session->send_prepare(queued.name, call.statement->sql, call.params.types()));
  }
  CITADEL_TRY(impl.session->send_execute(queued.name, call.params));
  if (!impl.session->sync_pipeline())
    return fail(Code::connection_lost, "the session was lost", Retry::fresh_snapshot);
  return queued;
}

// The answers of one call, up to its Sync. The outer error: the session failed.
Task<Result<Result<Rows>>> read_call(Session& session, Deadline deadline) {
  Rows last;
  int ends_in_a_row = 0;
  for (;;) {
    CITADEL_CO_ASSIGN(Rows rows, co_await session.next(deadline));
    const Kind kind = kind_of(rows);
    if (kind == Kind::sync) break;
    if (kind != Kind::end) {
      ends_in_a_row = 0;
      if (kind != Kind::error && kind != Kind::aborted) last = std::move(rows);
      continue;
    }
    // A null ends each statement of the pipeline. Two in a row: nothing follows any more, the session is
    // lost.
    if (++ends_in_a_row > 1) {
      session.mark_lost();
      auto finished = session.finish();
      if (!finished) co_return std::unexpected(std::move(finished).error());
      co_return fail(Code::connection_lost, "the session was lost in a pipeline", Retry::fresh_snapshot);
    }
  }
  session.sync_seen();
  if (auto error = session.take_error()) co_return Result<Rows>(std::unexpected(*std::move(error)));
  co_return Result<Rows>(std::move(last));
}

}  // namespace

Task<Result<std::vector<Result<Rows>>>> Connection::pipeline(std::span<const Call> calls, Deadline deadline) {
  CITADEL_CHECK(calls.size() <= pipeline_calls_max, "a pipeline of more calls than memory should hold");
  std::vector<Result<Rows>> outcomes;
  outcomes.reserve(calls.size());
  CITADEL_CO_TRY(impl_->session->ready(deadline));
  if (calls.empty()) co_return outcomes;
  if (impl_->route != Route::direct) {
    for (const Call& call : calls) {
      outcomes.push_back(co_await execute(*call.statement, call.params, deadline));
      if (state() == SessionState::broken || state() == SessionState::busy) {
        co_return std::unexpected(std::move(outcomes.back()).error());
      }
    }
    co_return outcomes;
  }
  co_return co_await impl_->pipeline_direct(*this, calls, deadline);
}

Task<Result<std::vector<Result<Rows>>>> Connection::Impl::pipeline_direct(Connection& self,
                                                                          std::span<const Call> calls,
                                                                          Deadline deadline) {
  const bool outside_block = session->state() == SessionState::idle;
  if (!session->enter_pipeline()) co_return fail(Code::internal, "the session is not ready for a pipeline");
  std::vector<Queued> queued;
  queued.reserve(calls.size());
  for (const Call& call : calls) {
    CITADEL_CO_ASSIGN(auto one, queue_call(*this, call));
    queued.push_back(std::move(one));
  }
  CITADEL_CO_TRY(co_await session->flush(deadline));
  std::vector<Result<Rows>> outcomes;
  outcomes.reserve(calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    CITADEL_CO_ASSIGN(auto outcome, co_await read_call(*session, deadline));
    if (outcome && !queued[i].was_cached) {
      prepared.insert(queued[i].name, calls[i].statement->sql, calls[i].params.types());
    }
    outcomes.push_back(std::move(outcome));
  }
  if (!session->leave_pipeline()) session->mark_lost();
  CITADEL_CO_TRY(session->finish());
  CITADEL_CO_TRY(co_await evict_surplus(deadline));
  for (std::size_t i = 0; i < calls.size(); ++i) {
    auto& outcome = outcomes[i];
    if (outcome) continue;
    const Call& call = calls[i];
    if (queued[i].was_cached && evict_if_gone(outcome.error(), *call.statement, call.params.types()) &&
        outside_block) {
      outcome = co_await self.execute(*call.statement, call.params, deadline);
    } else {
      outcome = std::unexpected(std::move(outcome).error().in(place("pipeline", call.statement->name)));
    }
  }
  co_return outcomes;
}

}  // namespace citadel::pg
