#include "pg/connection.hpp"

#include <fmt/format.h>

#include "pg/detail/connection_impl.hpp"
#include "pg/statement_rules.hpp"

namespace citadel::pg {
namespace {

// Any comment in front makes Pgpool-II ask the primary.
constexpr std::string_view primary_hint = "/*primary*/ ";
constexpr std::string_view pid_sql = "/*primary*/ SELECT pg_catalog.pg_backend_pid()";

bool is_state(const Error& error, std::string_view state) {
  return std::string_view(error.sqlstate) == state;
}

}  // namespace

std::string place(std::string_view verb, std::string_view name) {
  return fmt::format("{} {}", verb, name);
}

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() = default;

Task<Result<std::unique_ptr<Connection>>> Connection::connect(Executor executor, ConnectOptions options,
                                                              Deadline deadline) {
  auto session = co_await Session::open(executor, options, deadline);
  if (!session) {
    co_return std::unexpected(
        std::move(session).error().in(fmt::format("connect {}:{}", options.host, options.port)));
  }
  auto impl = std::make_unique<Impl>(std::move(executor), *std::move(session), options);
  auto rows = co_await impl->simple(pid_sql, deadline);
  if (!rows) {
    Error error = std::move(rows).error().in(fmt::format("connect {}:{}", options.host, options.port));
    // Nothing was begun on it: whoever asked may ask again.
    if (error.code == Code::connection_lost) {
      error.code = Code::unavailable;
      error.retry = Retry::safe;
    }
    co_return std::unexpected(std::move(error));
  }
  if (rows->size() != 1) co_return fail(Code::internal, "the server did not tell its backend's pid");
  impl->backend_pid = (*rows)[0].get<std::int32_t>(0);
  co_return std::unique_ptr<Connection>(new Connection(std::move(impl)));
}

Task<Result<Rows>> Connection::Impl::simple(std::string_view sql, Deadline deadline) {
  CITADEL_CO_TRY(session->ready(deadline));
  CITADEL_CO_TRY(session->send_simple(std::string(sql)));
  co_return co_await session->collect(deadline);
}

Task<Result<void>> Connection::Impl::evict_surplus(Deadline deadline) {
  while (session->state() == SessionState::idle) {
    const auto name = prepared.evict_surplus();
    if (!name) break;
    auto gone = co_await simple("DEALLOCATE " + *name, deadline);
    // Gone already is as good.
    if (!gone && !is_state(gone.error(), "26000")) co_return std::unexpected(std::move(gone).error());
  }
  co_return Result<void>();
}

Task<Result<std::string>> Connection::Impl::ensure_prepared(const Statement& statement,
                                                            std::span<const Oid> types, bool& was_cached,
                                                            Deadline deadline) {
  if (const std::string* name = prepared.find(statement.sql, types)) {
    was_cached = true;
    co_return *name;
  }
  was_cached = false;
  CITADEL_CO_TRY(check_allowed(route, statement.sql));
  if (std::exchange(deallocate_due, false)) CITADEL_CO_TRY(co_await simple("DEALLOCATE ALL", deadline));
  std::string name = prepared.new_name();
  CITADEL_CO_TRY(session->send_prepare(name, statement.sql, types));
  auto made = co_await session->collect(deadline);
  if (!made) co_return std::unexpected(std::move(made).error());
  prepared.insert(name, statement.sql, types);
  CITADEL_CO_TRY(co_await evict_surplus(deadline));
  co_return name;
}

bool Connection::Impl::evict_if_gone(const Error& error, const Statement& statement,
                                     std::span<const Oid> types) {
  const bool gone = is_state(error, "26000");
  const bool stale = is_state(error, "0A000") && error.retry == Retry::fresh_snapshot;
  if (!gone && !stale) return false;
  if (prepared.find(statement.sql, types) != nullptr) ++reprepared_total;
  if (stale) {
    prepared.erase(statement.sql, types);
    return true;
  }
  // Where one is gone, all may be: a DEALLOCATE ALL takes them together. Were each found out by itself, a
  // transaction would have to run again once for each of its statements.
  prepared.clear();
  deallocate_due = true;
  return true;
}

Task<Result<Rows>> Connection::Impl::execute_once(const Statement& statement, const Params& params,
                                                  bool& again, Deadline deadline) {
  again = false;
  const std::string* name = prepared.find(statement.sql, params.types());
  bool was_cached = name != nullptr;
  std::string made;
  if (name == nullptr) {
    CITADEL_CO_ASSIGN(made, co_await ensure_prepared(statement, params.types(), was_cached, deadline));
    name = &made;
  }
  const bool outside_block = session->state() == SessionState::idle;
  CITADEL_CO_TRY(session->send_execute(*name, params));
  auto rows = co_await session->collect(deadline);
  if (!rows && was_cached && evict_if_gone(rows.error(), statement, params.types())) {
    again = outside_block && session->state() == SessionState::idle;
  }
  co_return rows;
}

Task<Result<Rows>> Connection::execute(const Statement& statement, const Params& params, Deadline deadline,
                                       Routing routing) {
  CITADEL_CO_TRY(impl_->session->ready(deadline));
  Statement sent = statement;
  std::string hinted;
  if (routing == Routing::primary && impl_->route == Route::pgpool) {
    hinted.reserve(primary_hint.size() + statement.sql.size());
    hinted.append(primary_hint).append(statement.sql);
    sent.sql = hinted;
  }
  bool again = false;
  auto rows = co_await impl_->execute_once(sent, params, again, deadline);
  if (again) rows = co_await impl_->execute_once(sent, params, again, deadline);
  if (!rows) co_return std::unexpected(std::move(rows).error().in(place("execute", statement.name)));
  co_return rows;
}

Task<Result<Rows>> Connection::execute_simple(std::string_view sql, Deadline deadline) {
  CITADEL_CO_TRY(check_allowed(impl_->route, sql));
  co_return co_await impl_->simple(sql, deadline);
}

Task<Result<void>> Connection::validate(Deadline deadline) {
  auto rows = co_await impl_->simple("SELECT 1", deadline);
  if (!rows) co_return std::unexpected(std::move(rows).error().in("validate"));
  co_return Result<void>();
}

Task<Result<Notification>> Connection::next_notification(Deadline deadline) {
  if (impl_->route != Route::direct) {
    co_return fail(Code::unsupported, "notifications need a direct connection, not one through Pgpool-II");
  }
  Session& session = *impl_->session;
  // Not ready(): waiting for a notification sends nothing, so a deadline that has passed is no reason not to
  // look.
  if (session.state() == SessionState::broken || session.under_way()) CITADEL_CO_TRY(session.ready(deadline));
  for (;;) {
    if (auto notification = session.take_notification()) co_return *std::move(notification);
    CITADEL_CO_TRY(co_await session.readable(deadline));
    if (!session.consume()) {
      session.mark_lost();
      co_return fail(Code::connection_lost, "the session that listens was lost", Retry::fresh_snapshot);
    }
  }
}

SessionState Connection::state() const {
  return impl_->session->state();
}
int Connection::backend_pid() const {
  return impl_->backend_pid;
}
int Connection::server_version() const {
  return impl_->session->server_version();
}
Route Connection::route() const {
  return impl_->route;
}
Executor Connection::executor() const {
  return impl_->executor;
}
std::size_t Connection::prepared_count() const {
  return impl_->prepared.size();
}
std::uint64_t Connection::reprepared_total() const {
  return impl_->reprepared_total;
}

}  // namespace citadel::pg
