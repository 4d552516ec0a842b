// Connection::pipeline: many statements in one round trip.
#include "base/check.hpp"
#include "pg/detail/connection_impl.hpp"

namespace citadel::pg {
namespace {

// One round trip holds all requests and answers in memory, here and on the server.
constexpr std::size_t pipeline_calls_max = 10'000;

struct Answer {
  Result<Rows> outcome;
  bool skipped = false;  // not run, because a call before it failed in the same Sync
};

// The answer of one statement of the pipeline. The outer error: the session failed.
Task<Result<Answer>> read_answer(Session& session, Deadline deadline) {
  Answer answer;
  bool any = false;
  for (;;) {
    CITADEL_CO_ASSIGN(Rows rows, co_await session.next(deadline));
    const Kind kind = kind_of(rows);
    if (kind == Kind::end) break;
    any = true;
    if (kind == Kind::aborted) answer.skipped = true;
    if (kind != Kind::error && kind != Kind::aborted) answer.outcome = std::move(rows);
  }
  // Nothing at all, where an answer is due: the session is gone, and libpq has told all that it knows.
  if (!any) session.mark_lost();
  if (session.state() == SessionState::broken) {
    auto finished = session.finish();
    if (!finished) co_return std::unexpected(std::move(finished).error());
    co_return fail(Code::connection_lost, "the session was lost in a pipeline", Retry::fresh_snapshot);
  }
  if (auto error = session.take_error()) answer.outcome = std::unexpected(*std::move(error));
  co_return answer;
}

Task<Result<void>> read_sync(Session& session, Deadline deadline) {
  CITADEL_CO_ASSIGN(const Rows rows, co_await session.next(deadline));
  if (kind_of(rows) == Kind::sync) {
    session.sync_seen();
    co_return Result<void>();
  }
  session.mark_lost();
  auto finished = session.finish();
  if (!finished) co_return finished;
  co_return fail(Code::connection_lost, "the session was lost in a pipeline", Retry::fresh_snapshot);
}

}  // namespace

Task<Result<std::vector<Result<Rows>>>> Connection::pipeline(std::span<const Call> calls, Deadline deadline,
                                                             PipelineSync sync) {
  CITADEL_CHECK(calls.size() <= pipeline_calls_max, "a pipeline of more calls than memory should hold");
  CITADEL_CO_TRY(impl_->session->ready(deadline));
  std::vector<Result<Rows>> outcomes(calls.size());
  const bool outside_block = state() == SessionState::idle;
  if (impl_->route != Route::direct) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      outcomes[i] = co_await execute(*calls[i].statement, calls[i].params, deadline);
      if (state() == SessionState::broken || state() == SessionState::busy) {
        co_return std::unexpected(std::move(outcomes[i]).error());
      }
    }
    co_return outcomes;
  }
  std::vector<std::size_t> due(calls.size());
  for (std::size_t i = 0; i < due.size(); ++i) due[i] = i;
  std::vector<bool> repeated(calls.size());
  while (!due.empty()) {
    const std::vector<std::size_t> sent = due;
    // What a failed call has skipped is due again, in a pass that is shorter by one at least.
    CITADEL_CO_TRY(co_await impl_->pipeline_pass(calls, due, outcomes, sync, deadline));
    for (const std::size_t i : sent) {
      if (outcomes[i]) continue;
      const Statement& statement = *calls[i].statement;
      if (outside_block && !repeated[i] &&
          impl_->evict_if_gone(outcomes[i].error(), statement, calls[i].params.types())) {
        repeated[i] = true;
        outcomes[i] = Result<Rows>();
        due.push_back(i);
      } else {
        outcomes[i] = std::unexpected(std::move(outcomes[i]).error().in(place("pipeline", statement.name)));
      }
    }
  }
  co_return outcomes;
}

Task<Result<void>> Connection::Impl::pipeline_pass(std::span<const Call> calls, std::vector<std::size_t>& due,
                                                   std::vector<Result<Rows>>& outcomes, PipelineSync sync,
                                                   Deadline deadline) {
  // New statements are prepared before, each once, however often it stands in the pipeline.
  std::vector<std::size_t> sent;
  std::vector<std::string> names;
  for (const std::size_t i : due) {
    bool was_cached = false;
    auto name = co_await ensure_prepared(*calls[i].statement, calls[i].params.types(), was_cached, deadline);
    if (name) {
      sent.push_back(i);
      names.push_back(*std::move(name));
    } else {
      if (session->under_way() || session->state() == SessionState::broken) {
        co_return std::unexpected(std::move(name).error());
      }
      outcomes[i] = std::unexpected(std::move(name).error());
    }
  }
  due.clear();
  if (sent.empty()) co_return Result<void>();
  const bool outside_block = session->state() == SessionState::idle;
  if (!session->enter_pipeline()) co_return fail(Code::internal, "the session is not ready for a pipeline");
  for (std::size_t k = 0; k < sent.size(); ++k) {
    CITADEL_CO_TRY(session->send_execute(names[k], calls[sent[k]].params));
    if ((sync == PipelineSync::each || k + 1 == sent.size()) && !session->sync_pipeline()) {
      session->mark_lost();
      co_return fail(Code::connection_lost, "the session was lost", Retry::fresh_snapshot);
    }
  }
  CITADEL_CO_TRY(co_await session->flush(deadline));
  for (std::size_t k = 0; k < sent.size(); ++k) {
    CITADEL_CO_ASSIGN(auto answer, co_await read_answer(*session, deadline));
    if (!answer.skipped) {
      outcomes[sent[k]] = std::move(answer.outcome);
    } else if (outside_block) {
      due.push_back(sent[k]);
    } else {
      outcomes[sent[k]] =
          fail(Code::internal, "not run: a call before it has failed, and the transaction with it");
    }
    if (sync == PipelineSync::each || k + 1 == sent.size())
      CITADEL_CO_TRY(co_await read_sync(*session, deadline));
  }
  if (!session->leave_pipeline()) session->mark_lost();
  co_return session->finish();
}

}  // namespace citadel::pg
