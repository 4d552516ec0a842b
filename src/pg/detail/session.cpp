#include "pg/detail/session.hpp"

#include <limits>
#include <utility>

#include "base/check.hpp"
#include "base/crash_point.hpp"
#include "base/log.hpp"
#include "pg/detail/failure.hpp"

namespace citadel::pg {
namespace {

// TLS may hold decrypted bytes that the socket no longer announces, so a wait under TLS looks again this
// often.
constexpr std::chrono::milliseconds tls_recheck{20};

}  // namespace

Kind kind_of(const Rows& rows) {
  if (rows.raw() == nullptr) return Kind::end;
  switch (PQresultStatus(rows.raw())) {
    case PGRES_SINGLE_TUPLE:
      return Kind::row;
    case PGRES_TUPLES_OK:
      return Kind::rows;
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
      return Kind::command;
    case PGRES_COPY_IN:
      return Kind::copy_in;
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
      return Kind::copy_out;
    case PGRES_PIPELINE_SYNC:
      return Kind::sync;
    case PGRES_PIPELINE_ABORTED:
      return Kind::aborted;
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
    case PGRES_FATAL_ERROR:
      break;
  }
  return Kind::error;
}

Error Session::deadline_error() {
  return Error(Code::deadline_exceeded, "the database did not answer by the deadline");
}

Session::~Session() {
  if (copy_chunk_ != nullptr) PQfreemem(copy_chunk_);
  watchdog_.detach();
  PQfinish(connection_);
}

SessionState Session::state() const {
  if (lost_) return SessionState::broken;
  if (under_way_) return SessionState::busy;
  switch (PQtransactionStatus(connection_)) {
    case PQTRANS_IDLE:
      return SessionState::idle;
    case PQTRANS_INTRANS:
      return SessionState::in_block;
    case PQTRANS_INERROR:
      return SessionState::failed;
    case PQTRANS_ACTIVE:
      return SessionState::busy;
    case PQTRANS_UNKNOWN:
      break;
  }
  return SessionState::broken;
}

Error Session::lost_error() const {
  Failure failure = failure_of(connection_, false, password_);
  failure.error.code = Code::connection_lost;
  // Outside BEGIN a statement commits by itself, and may have done so.
  failure.error.retry = in_block_at_send_ ? Retry::fresh_snapshot : Retry::never;
  return std::move(failure.error);
}

Result<void> Session::ready(Deadline deadline) const {
  if (lost_ || state() == SessionState::broken) {
    return fail(Code::connection_lost, "the session was lost before this call", Retry::fresh_snapshot);
  }
  if (under_way_)
    return fail(Code::internal, "a call is still under way on this session: recover() it first");
  if (deadline.expired()) return std::unexpected(deadline_error());
  return {};
}

// Every statement passes here, BEGIN and COMMIT too.
void Session::note_send() {
  crash_point(CrashPoint::pg_statement_before_send);
  // Once something is under way, libpq only says that.
  if (!under_way_) in_block_at_send_ = PQtransactionStatus(connection_) != PQTRANS_IDLE;
}

Result<void> Session::sent(int good) {
  if (good != 0) {
    crash_point(CrashPoint::pg_statement_after_send);
    if (!under_way_) {
      under_way_ = true;
      error_.reset();
    }
    return {};
  }
  // Nothing can be read any more from a session that refuses to send.
  if (PQstatus(connection_) == CONNECTION_BAD) {
    lost_ = true;
    return std::unexpected(lost_error());
  }
  return fail(Code::internal, PQerrorMessage(connection_));
}

Result<void> Session::send_simple(const std::string& sql) {
  note_send();
  return sent(PQsendQuery(connection_, sql.c_str()));
}

Result<void> Session::send_prepare(const std::string& name, std::string_view sql,
                                   std::span<const Oid> types) {
  note_send();
  return sent(PQsendPrepare(connection_, name.c_str(), std::string(sql).c_str(),
                            static_cast<int>(types.size()), types.data()));
}

Result<void> Session::send_execute(const std::string& name, const Params& params) {
  note_send();
  const Params::Wire wire = params.wire();
  return sent(PQsendQueryPrepared(connection_, name.c_str(), static_cast<int>(params.size()),
                                  wire.values.data(), wire.lengths.data(), wire.formats.data(), 1));
}

bool Session::consume() {
  return PQconsumeInput(connection_) != 0;
}

Task<Result<void>> Session::readable(Deadline deadline) {
  const Deadline slice = tls_ ? deadline.within(tls_recheck) : deadline;
  if (co_await watchdog_.readable(slice) == Watchdog::Woke::timed_out && deadline.expired()) {
    co_return std::unexpected(deadline_error());
  }
  co_return Result<void>();
}

Task<Result<void>> Session::flush(Deadline deadline) {
  // A failure (-1) is left to the reading side, which knows the server's last words.
  while (PQflush(connection_) == 1) {
    const Deadline slice = tls_ ? deadline.within(tls_recheck) : deadline;
    if (co_await watchdog_.readable_or_writable(slice) == Watchdog::Woke::timed_out && deadline.expired()) {
      co_return std::unexpected(deadline_error());
    }
    // The server may wait for us to read before it reads again.
    if (!consume()) break;
  }
  co_return Result<void>();
}

Task<Result<void>> Session::await_result(Deadline deadline) {
  while (PQisBusy(connection_) != 0) {
    CITADEL_CO_TRY(co_await readable(deadline));
    if (!consume()) break;  // PQgetResult has the reason
    if (tls_ && PQisBusy(connection_) != 0 && !consume()) break;
  }
  co_return Result<void>();
}

void Session::note(const Rows& rows) {
  const Kind kind = kind_of(rows);
  if (kind == Kind::copy_in) copying_in_ = true;
  if (kind != Kind::error) return;
  copying_in_ = false;
  Failure failure = failure_of(rows.raw());
  if (failure.session_lost) {
    lost_ = true;
    if (!in_block_at_send_) failure.error.retry = Retry::never;
  }
  if (!error_) {
    error_ = std::move(failure.error);
  } else if (failure.session_lost) {
    error_->code = Code::connection_lost;
    error_->retry = failure.error.retry;
  }
}

Result<void> Session::finish() {
  under_way_ = false;
  copying_in_ = false;
  if (PQstatus(connection_) == CONNECTION_BAD) {
    lost_ = true;
    if (!error_) error_ = lost_error();
  }
  if (!error_) return {};
  if (lost_ && error_->code != Code::connection_lost) {
    error_->code = Code::connection_lost;
    error_->retry = in_block_at_send_ ? Retry::fresh_snapshot : Retry::never;
  }
  return std::unexpected(*std::exchange(error_, std::nullopt));
}

Task<Result<Rows>> Session::next(Deadline deadline) {
  if (PQisBusy(connection_) != 0) CITADEL_CO_TRY(co_await await_result(deadline));
  Rows rows(PQgetResult(connection_));
  note(rows);
  co_return rows;
}

Task<Result<Rows>> Session::collect(Deadline deadline) {
  if (PQflush(connection_) == 1) CITADEL_CO_TRY(co_await flush(deadline));
  Rows last;
  for (;;) {
    if (PQisBusy(connection_) != 0) CITADEL_CO_TRY(co_await await_result(deadline));
    Rows rows(PQgetResult(connection_));
    const Kind kind = kind_of(rows);
    if (kind == Kind::end) break;
    note(rows);
    if (kind == Kind::copy_in) {
      end_copy("COPY belongs into copy_in");
      CITADEL_CO_TRY(co_await flush(deadline));
    } else if (kind == Kind::copy_out) {
      lost_ = true;
      co_return fail(Code::invalid_argument, "COPY … TO STDOUT belongs into copy_out; the session is closed");
    } else if (kind != Kind::error) {
      last = std::move(rows);
    }
  }
  CITADEL_CO_TRY(finish());
  co_return last;
}

bool Session::put_copy(std::string_view data) {
  CITADEL_CHECK(data.size() <= std::numeric_limits<int>::max(), "a chunk of COPY has more than 2 GiB");
  crash_point(CrashPoint::pg_copy_before_data);
  // 0 would mean that the bytes are not taken yet; libpq says it only when it has no memory for them, because
  // the caller flushes after each chunk.
  return PQputCopyData(connection_, data.data(), static_cast<int>(data.size())) == 1;
}

void Session::end_copy(const char* error_message) {
  crash_point(CrashPoint::pg_copy_before_end);
  copying_in_ = false;
  PQputCopyEnd(connection_, error_message);
}

Task<Result<Bytes>> Session::get_copy(Deadline deadline) {
  for (;;) {
    if (copy_chunk_ != nullptr) PQfreemem(std::exchange(copy_chunk_, nullptr));
    const int size = PQgetCopyData(connection_, &copy_chunk_, 1);
    if (size > 0) co_return as_bytes({copy_chunk_, static_cast<std::size_t>(size)});
    if (size < 0) co_return Bytes();  // the end, or an error: the next result tells
    CITADEL_CO_TRY(co_await readable(deadline));
    if (!consume()) co_return Bytes();
    if (tls_) consume();
  }
}

std::optional<Notification> Session::take_notification() {
  const std::unique_ptr<PGnotify, void (*)(void*)> arrived(PQnotifies(connection_), &PQfreemem);
  if (!arrived) return std::nullopt;
  return Notification{arrived->relname, arrived->extra, arrived->be_pid};
}

bool Session::enter_pipeline() {
  pipeline_ = PQenterPipelineMode(connection_) != 0;
  return pipeline_;
}

bool Session::sync_pipeline() {
  if (PQpipelineSync(connection_) == 0) return false;
  ++syncs_due_;
  under_way_ = true;
  return true;
}

void Session::sync_seen() {
  --syncs_due_;
}

bool Session::leave_pipeline() {
  if (PQexitPipelineMode(connection_) == 0) return false;
  pipeline_ = false;
  return true;
}

bool Session::answered() {
  if (!consume()) return true;  // lost: draining ends at once
  return PQisBusy(connection_) == 0 && !pipeline_ && !copying_in_ &&
         PQtransactionStatus(connection_) != PQTRANS_ACTIVE;
}

Task<Result<void>> Session::drain(Deadline deadline, bool& cancel_seen) {
  if (copying_in_) end_copy("given up");
  CITADEL_CO_TRY(co_await flush(deadline));
  int empty_in_a_row = 0;
  for (;;) {
    CITADEL_CO_ASSIGN(Rows rows, co_await next(deadline));
    if (rows.raw() == nullptr) {
      // In a pipeline a null ends each statement; two without a result between mean that nothing is left.
      if (!pipeline_ || (syncs_due_ <= 0 && ++empty_in_a_row > 1) || PQstatus(connection_) == CONNECTION_BAD)
        break;
      continue;
    }
    empty_in_a_row = 0;
    const Kind kind = kind_of(rows);
    if (kind == Kind::sync) sync_seen();
    if (kind == Kind::copy_in) {
      end_copy("given up");
      CITADEL_CO_TRY(co_await flush(deadline));
    }
    while (kind == Kind::copy_out) {
      CITADEL_CO_ASSIGN(const Bytes chunk, co_await get_copy(deadline));
      if (chunk.empty()) break;
    }
    // statement_timeout and a COPY given up are 57014 too. On a server that speaks another language no cancel
    // is ever proven, which errs on the safe side.
    if (error_ && error_->message == "canceling statement due to user request") cancel_seen = true;
    error_.reset();
  }
  if (pipeline_ && !leave_pipeline()) lost_ = true;
  (void)finish();
  if (lost_) co_return fail(Code::connection_lost, "the session was lost", Retry::fresh_snapshot);
  co_return Result<void>();
}

}  // namespace citadel::pg
