// Connection's calls that carry many rows: stream, COPY in, COPY out.
#include "pg/detail/connection_impl.hpp"

namespace citadel::pg {
namespace {

// Reads what is left of a statement; its last result on success.
Task<Result<Rows>> read_to_end(Session& session, Deadline deadline) {
  Rows last;
  for (;;) {
    CITADEL_CO_ASSIGN(Rows rows, co_await session.next(deadline));
    const Kind kind = kind_of(rows);
    if (kind == Kind::end) break;
    // libpq repeats these until somebody serves the COPY.
    if (kind == Kind::copy_in) {
      session.end_copy("one COPY a call");
      CITADEL_CO_TRY(co_await session.flush(deadline));
    } else if (kind == Kind::copy_out) {
      session.mark_lost();
      co_return fail(Code::invalid_argument, "one COPY a call; the session is closed");
    }
    last = std::move(rows);
  }
  CITADEL_CO_TRY(session.finish());
  co_return last;
}

// Begins a COPY by simple query, the one way that Pgpool-II 4.3 survives, up to the server's readiness for
// it.
Task<Result<void>> begin_copy(Session& session, std::string_view sql, Kind wanted, Deadline deadline) {
  CITADEL_CO_TRY(session.ready(deadline));
  CITADEL_CO_TRY(session.send_simple(std::string(sql)));
  CITADEL_CO_TRY(co_await session.flush(deadline));
  CITADEL_CO_ASSIGN(const Rows first, co_await session.next(deadline));
  const Kind kind = kind_of(first);
  if (kind == wanted) co_return Result<void>();
  if (kind == Kind::copy_in) session.end_copy("not the COPY that was expected");
  if (kind == Kind::copy_out) {
    session.mark_lost();
  } else {
    auto end = co_await read_to_end(session, deadline);
    // Of a COPY that we ended ourselves the server's error says nothing new.
    if (!end && (kind == Kind::error || session.state() == SessionState::broken)) {
      co_return std::unexpected(std::move(end).error());
    }
  }
  co_return fail(Code::invalid_argument, "this statement is not the COPY that the call is for");
}

// Sends what `next` gives. The error of `next`, if it had one; the server's own are left to be read.
Task<Result<std::optional<Error>>> send_chunks(Session& session, Deadline deadline,
                                               const std::function<Result<std::string_view>()>& next) {
  for (;;) {
    auto chunk = next();
    if (!chunk) {
      session.end_copy(chunk.error().message.c_str());
      co_return std::optional<Error>(std::move(chunk).error());
    }
    if (chunk->empty()) break;
    if (!session.put_copy(*chunk)) co_return std::optional<Error>();
    CITADEL_CO_TRY(co_await session.flush(deadline));
  }
  session.end_copy(nullptr);
  co_return std::optional<Error>();
}

}  // namespace

Task<Result<std::int64_t>> Connection::copy_in(std::string_view sql, Deadline deadline,
                                               std::function<Result<std::string_view>()> next) {
  Session& session = *impl_->session;
  auto begun = co_await begin_copy(session, sql, Kind::copy_in, deadline);
  if (!begun) co_return std::unexpected(std::move(begun).error().in("copy_in"));
  CITADEL_CO_ASSIGN(std::optional<Error> given_up, co_await send_chunks(session, deadline, next));
  CITADEL_CO_TRY(co_await session.flush(deadline));
  auto end = co_await read_to_end(session, deadline);
  // The server only echoes why we gave up; but where the session was lost, that is what counts.
  if (given_up && session.state() != SessionState::broken) co_return std::unexpected(*std::move(given_up));
  if (!end) co_return std::unexpected(std::move(end).error().in("copy_in"));
  co_return end->affected();
}

Task<Result<std::int64_t>> Connection::copy_out(std::string_view sql, Deadline deadline,
                                                std::function<Result<void>(Bytes)> on_chunk) {
  Session& session = *impl_->session;
  auto begun = co_await begin_copy(session, sql, Kind::copy_out, deadline);
  if (!begun) co_return std::unexpected(std::move(begun).error().in("copy_out"));
  for (;;) {
    CITADEL_CO_ASSIGN(const Bytes chunk, co_await session.get_copy(deadline));
    if (chunk.empty()) break;
    if (auto taken = on_chunk(chunk); !taken) {
      // Where this fails, the session stays busy or is lost, and its owner sees to that.
      (void)co_await impl_->cancel_and_drain(deadline, nullptr);
      co_return std::unexpected(std::move(taken).error());
    }
  }
  auto end = co_await read_to_end(session, deadline);
  if (!end) co_return std::unexpected(std::move(end).error().in("copy_out"));
  co_return end->affected();
}

namespace {

struct Streamed {
  std::int64_t rows = 0;
  std::optional<Error> refused;  // on_row's
};

Task<Result<Streamed>> stream_rows(Connection::Impl& impl, Deadline deadline,
                                   const std::function<Result<void>(Row)>& on_row) {
  Session& session = *impl.session;
  session.single_row_mode();
  CITADEL_CO_TRY(co_await session.flush(deadline));
  Streamed streamed;
  for (;;) {
    CITADEL_CO_ASSIGN(const Rows rows, co_await session.next(deadline));
    if (kind_of(rows) == Kind::end) break;
    if (kind_of(rows) != Kind::row) continue;
    ++streamed.rows;
    if (auto taken = on_row(rows[0]); !taken) {
      streamed.refused = std::move(taken).error();
      (void)co_await impl.cancel_and_drain(deadline, nullptr);
      co_return streamed;
    }
  }
  CITADEL_CO_TRY(session.finish());
  co_return streamed;
}

}  // namespace

Task<Result<std::int64_t>> Connection::stream(const Statement& statement, const Params& params,
                                              Deadline deadline, std::function<Result<void>(Row)> on_row) {
  CITADEL_CO_TRY(impl_->session->ready(deadline));
  const bool outside_block = state() == SessionState::idle;
  for (bool first_try = true;; first_try = false) {
    bool was_cached = false;
    auto name = co_await impl_->ensure_prepared(statement, params.types(), was_cached, deadline);
    if (!name) co_return std::unexpected(std::move(name).error().in(place("stream", statement.name)));
    CITADEL_CO_TRY(impl_->session->send_execute(*name, params));
    auto streamed = co_await stream_rows(*impl_, deadline, on_row);
    if (streamed) {
      if (streamed->refused) co_return std::unexpected(*std::move(streamed->refused));
      co_return streamed->rows;
    }
    // A statement that is gone fails before its first row, so nothing was passed on.
    const bool gone = was_cached && impl_->evict_if_gone(streamed.error(), statement, params.types());
    if (!gone || !first_try || !outside_block || state() != SessionState::idle) {
      co_return std::unexpected(std::move(streamed).error().in(place("stream", statement.name)));
    }
  }
}

}  // namespace citadel::pg
