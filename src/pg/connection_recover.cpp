// How a session that a deadline left busy becomes idle again: cancel, drain, roll back, prove.
//
// A cancel is a signal to the backend, and one that comes late hits whatever runs then (pgx issue 2534). Both
// PostgreSQL's own CancelRequest and pg_cancel_backend() have sent the signal when they answer, so after them
// a round trip takes it up; Pgpool-II passes a CancelRequest on at its leisure, so there only an answer that
// says 'cancelled' proves that none is on its way, and without it the session must be closed.
#include "pg/detail/cancel.hpp"
#include "pg/detail/connection_impl.hpp"

namespace citadel::pg {
namespace {

// How long a cancel is given before it is sent again: it hits one statement, and a pipeline holds many.
constexpr std::chrono::milliseconds cancel_again_after{200};
// Round trips that a late cancel may spoil before the session is given up.
constexpr int proofs_max = 5;

constexpr Statement cancel_backend{"cancel_backend", "SELECT pg_catalog.pg_cancel_backend($1)"};

bool was_cancelled(const Error& error) {
  return std::string_view(error.sqlstate) == "57014";
}

}  // namespace

Task<Result<void>> Connection::Impl::request_cancel(Deadline deadline, Connection* cancel_with) {
  if (cancel_with != nullptr) {
    auto sent = co_await cancel_with->execute(cancel_backend, Params(std::int32_t{backend_pid}), deadline);
    if (!sent) co_return std::unexpected(std::move(sent).error());
    co_return Result<void>();  // false means that the backend is gone, which draining finds
  }
  if (route == Route::direct) {
    co_return co_await send_cancel_request(executor, session->raw(), CancelWait::taken, deadline);
  }
  cancel_at_large = true;
  co_return co_await send_cancel_request(executor, session->raw(), CancelWait::none, deadline);
}

Task<Result<void>> Connection::Impl::cancel_and_drain(Deadline deadline, Connection* cancel_with) {
  bool cancel_seen = false;
  while (!session->answered()) {
    // Through Pgpool-II one cancel is all: of a second nobody could tell when it has come.
    if (!cancel_at_large) {
      auto requested = co_await request_cancel(deadline, cancel_with);
      if (!requested) co_return std::unexpected(std::move(requested).error().in("cancel"));
    }
    const Deadline slice = cancel_at_large ? deadline : deadline.within(cancel_again_after);
    auto drained = co_await session->drain(slice, cancel_seen);
    if (drained) break;
    if (drained.error().code != Code::deadline_exceeded || deadline.expired()) co_return drained;
  }
  if (session->under_way()) CITADEL_CO_TRY(co_await session->drain(deadline, cancel_seen));
  if (cancel_at_large && !cancel_seen) {
    session->mark_lost();
    co_return fail(Code::connection_lost, "a cancel may still be on its way to this session, so it is closed",
                   Retry::fresh_snapshot);
  }
  cancel_at_large = false;
  co_return Result<void>();
}

Task<Result<void>> Connection::recover(Deadline deadline, Connection* cancel_with) {
  if (state() == SessionState::busy) {
    auto drained = co_await impl_->cancel_and_drain(deadline, cancel_with);
    if (!drained) co_return std::unexpected(std::move(drained).error().in("recover"));
  }
  // Pgpool-II may believe a transaction failed that PostgreSQL has ended (a COMMIT that was cancelled), and
  // then answers 25P02 until it sees a ROLLBACK. PostgreSQL only warns of one too many.
  bool roll_back = state() != SessionState::idle || impl_->route == Route::pgpool;
  for (int proof = 0; proof < proofs_max; ++proof) {
    auto answer = co_await impl_->simple(roll_back ? "ROLLBACK" : "SELECT 1", deadline);
    if (!answer && !was_cancelled(answer.error())) {
      co_return std::unexpected(std::move(answer).error().in("recover"));
    }
    if (answer && !roll_back && state() == SessionState::idle) co_return Result<void>();
    roll_back = state() != SessionState::idle || (roll_back && !answer);
  }
  impl_->session->mark_lost();
  co_return fail(Code::connection_lost, "the session could not be proven idle", Retry::fresh_snapshot);
}

}  // namespace citadel::pg
