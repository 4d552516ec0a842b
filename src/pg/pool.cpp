#include "pg/pool.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "aio/gate.hpp"
#include "aio/wait.hpp"
#include "base/check.hpp"
#include "base/log.hpp"
#include "pg/cancel_line.hpp"
#include "pg/pool_core.hpp"

namespace citadel::pg {
namespace {

using Slot = PoolCore::Slot;
using State = PoolCore::State;

// What close() gives its own coroutines to end after it cancelled them.
constexpr std::chrono::milliseconds join_grace{100};
// The part of recover_timeout that a recovery waits for its turn on the direct connection; then it goes
// without.
constexpr int turn_share = 2;

PoolLimits limits_of(const PoolOptions& options) {
  return {.size_min = options.size_min,
          .size_max = options.size_max,
          .queue_max = options.queue_max,
          .opening_max = options.opening_max,
          .lifetime = options.lifetime,
          .idle_timeout = options.idle_timeout,
          .validate_after = options.validate_after,
          .leak_after = options.leak_after,
          .patience = options.patience,
          .reopen_first = options.reopen_first,
          .reopen_ceiling = options.reopen_ceiling,
          .adaptive = options.adaptive};
}

// The exception that is under way, as an Error: our own coroutines end with a report to the core, whatever
// happens.
Error current_error() {
  try {
    throw;
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) return Error(Code::cancelled, "the pool closes");
    return Error(Code::internal, error.what());
  } catch (const std::exception& error) {
    return Error(Code::internal, error.what());
  }
}

std::string place_of(const std::source_location& place) {
  return fmt::format("{}:{} ({})", place.file_name(), place.line(), place.function_name());
}

}  // namespace

struct Pool::Impl {
  // A session's home; its index is the core's slot.
  struct Seat {
    std::unique_ptr<Connection> connection;
    bool demoted = false;
  };

  // A caller inside acquire(). Whatever way its coroutine ends, it leaves the queue and no session stays with
  // it.
  struct Caller {
    Caller(Impl& owner, PoolCore::Waiter id) : impl(owner), waiter(id), answer(owner.executor) {
      if (impl.callers.size() <= waiter) impl.callers.resize(waiter + 1);
      impl.callers[waiter] = this;
      ++impl.callers_live;
    }
    ~Caller() {
      --impl.callers_live;
      if (queued) impl.core.cancel(waiter);
      if (slot != PoolCore::none) impl.core.release(slot, PoolCore::Return::unused, impl.now());
      impl.carry_out();
    }
    Caller(const Caller&) = delete;

    void give(Slot given) {
      queued = false;
      slot = given;
      answer.set(true);
    }

    Impl& impl;
    PoolCore::Waiter waiter;
    aio::OneShot<bool> answer;
    bool queued = true;
    Slot slot = PoolCore::none;
  };

  Impl(Executor e, PoolOptions o, const Clock& c, std::uint64_t seed)
      : executor(e),
        options(std::move(o)),
        clock(c),
        core(limits_of(options), seed, c.monotonic()),
        gate(e),
        seats(options.size_max),
        wake(e),
        changed(e),
        cancel_line(e) {}

  MonotonicTime now() const { return clock.monotonic(); }

  void carry_out();
  void carry_out(const PoolCore::Action& action);
  void close_session(Slot slot);
  void report_leak(Slot slot);
  void arm();
  void opened_or_failed(const Result<void>& outcome);
  void give_back(Slot slot);
  Result<Lease> lend(Pool& pool, Slot slot, MonotonicTime asked_at);
  std::unexpected<Error> refusal() const;

  Task<> open(Slot slot);
  Task<> validate(Slot slot);
  Task<> recover(Slot slot);
  Task<> upkeep();

  Executor executor;
  PoolOptions options;  // only the password ever changes
  const Clock& clock;
  PoolCore core;
  aio::Gate gate;
  std::vector<Seat> seats;
  std::vector<Caller*> callers;  // by the core's waiter
  std::size_t callers_live = 0;
  asio::steady_timer wake;
  MonotonicTime armed_at = MonotonicTime::max();
  bool upkeep_runs = false;
  bool closing = false;
  bool joining = false;                        // the gate takes nothing any more
  asio::steady_timer changed;                  // cancelled at every change while closing
  aio::OneShot<Result<void>>* warm = nullptr;  // start() waits for it
  CancelLine cancel_line;
  std::uint64_t reprepared_closed = 0;  // of sessions that are closed
  std::uint64_t generation = 1;         // that carry_out() has seen
  std::function<void(double)> observer;
};

// --- decisions carried out

void Pool::Impl::carry_out() {
  if (std::exchange(generation, core.generation()) != core.generation()) {
    log::warning("pool", "all sessions are replaced",
                 {{"reason", core.flush_reason()}, {"generation", generation}});
  }
  while (const auto action = core.next_action()) carry_out(*action);
  arm();
  if (closing) changed.cancel();
}

void Pool::Impl::carry_out(const PoolCore::Action& action) {
  using Do = PoolCore::Do;
  switch (action.what) {
    case Do::hand:
      return callers[action.waiter]->give(action.slot);
    case Do::refuse:
      return callers[action.waiter]->give(PoolCore::none);
    case Do::open:
      return gate.spawn("pool: open", open(action.slot));
    case Do::validate:
      return gate.spawn("pool: validate", validate(action.slot));
    case Do::recover:
      return gate.spawn("pool: recover", recover(action.slot));
    case Do::close:
      return close_session(action.slot);
    case Do::report_leak:
      return report_leak(action.slot);
  }
}

void Pool::Impl::close_session(Slot slot) {
  auto& connection = seats[slot].connection;
  CITADEL_CHECK(connection, "a session that is not there is to be closed");
  reprepared_closed += connection->reprepared_total();
  connection.reset();
}

void Pool::Impl::report_leak(Slot slot) {
  log::warning("pool", "a session has not come back; its caller holds it or has lost it",
               {{"acquired_for", core.origin(slot).name},
                {"acquired_at", place_of(core.origin(slot).place)},
                {"backend_pid", seats[slot].connection->backend_pid()},
                {"leak_after_ms", options.leak_after.count()}});
}

// Makes the upkeep wake when the core needs it.
void Pool::Impl::arm() {
  if (joining) return;
  const auto when = core.next_wake();
  if (when >= armed_at) return;
  armed_at = when;
  if (!upkeep_runs) {
    upkeep_runs = true;
    gate.spawn("pool: upkeep", upkeep());
  } else {
    wake.expires_at(when);
  }
}

Task<> Pool::Impl::upkeep() {
  for (;;) {
    armed_at = core.next_wake();
    wake.expires_at(armed_at);
    co_await wake.async_wait(asio::as_tuple(asio::use_awaitable));
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none)
      co_return;
    armed_at = MonotonicTime::min();  // carry_out() need not arm: the loop does
    core.tick(now());
    carry_out();
  }
}

Task<> Pool::Impl::open(Slot slot) {
  Result<std::unique_ptr<Connection>> session;
  try {
    session = co_await Connection::connect(executor, options.connect,
                                           Deadline::after(options.connect_timeout, clock));
  } catch (...) {
    session = std::unexpected(current_error());
  }
  Result<void> outcome;
  if (session) {
    if (core.last_open_error()) log::info("pool", "sessions can be opened again");
    seats[slot] = {std::move(*session), false};
    core.opened(slot, now());
  } else {
    outcome = std::unexpected(session.error());
    if (!core.last_open_error() && !closing) {
      log::warning("pool", "a session cannot be opened; it is tried again while somebody needs one",
                   {{"error", session.error()}});
    }
    core.open_failed(slot, std::move(session).error(), now());
  }
  opened_or_failed(outcome);
  carry_out();
}

// Tells start() when its work is done.
void Pool::Impl::opened_or_failed(const Result<void>& outcome) {
  if (!warm) return;
  const auto there = options.size_max - core.count(State::free) - core.count(State::opening);
  if (!outcome || there >= options.size_min) warm->set(outcome);
}

Task<> Pool::Impl::validate(Slot slot) {
  Result<void> outcome;
  try {
    outcome = co_await seats[slot].connection->validate(Deadline::after(options.recover_timeout, clock));
  } catch (...) {
    outcome = std::unexpected(current_error());
  }
  core.validated(slot, outcome.has_value(), now());
  carry_out();
}

Task<> Pool::Impl::recover(Slot slot) {
  Result<void> outcome;
  try {
    auto& connection = *seats[slot].connection;
    const auto deadline = Deadline::after(options.recover_timeout, clock);
    CancelLine::Turn turn(cancel_line);
    Connection* cancel_with = nullptr;
    if (options.direct && connection.state() == SessionState::busy) {
      cancel_with =
          co_await turn.take(*options.direct, deadline.within(options.recover_timeout / turn_share, now()));
    }
    outcome = co_await connection.recover(deadline, cancel_with);
  } catch (...) {
    outcome = std::unexpected(current_error());
  }
  if (!outcome && !closing) {
    log::warning("pool", "a session could not be recovered and is closed", {{"error", outcome.error()}});
  }
  core.recovered(slot, outcome.has_value(), now());
  carry_out();
}

// --- lending

Result<Lease> Pool::Impl::lend(Pool& pool, Slot slot, MonotonicTime asked_at) {
  auto& seat = seats[slot];
  seat.demoted = false;
  if (observer) observer(std::chrono::duration<double>(now() - asked_at).count());
  return Lease(&pool, seat.connection.get(), slot);
}

void Pool::Impl::give_back(Slot slot) {
  using Return = PoolCore::Return;
  const auto& seat = seats[slot];
  auto how = Return::unsettled;
  if (seat.connection->state() == SessionState::idle) how = Return::idle;
  if (seat.connection->state() == SessionState::broken) how = Return::broken;
  if (seat.demoted) how = Return::demoted;
  // Once the gate has closed nobody can recover it.
  if (how == Return::unsettled && joining) how = Return::broken;
  core.release(slot, how, now());
  carry_out();
}

std::unexpected<Error> Pool::Impl::refusal() const {
  if (closing) return fail(Code::cancelled, "the connection pool closes");
  return fail(
      Code::overloaded,
      fmt::format("{} callers wait for a session already, which is pool.queue_max", options.queue_max),
      Retry::safe);
}

Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      connection_(std::exchange(other.connection_, nullptr)),
      slot_(other.slot_) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    Lease old(std::move(*this));
    pool_ = std::exchange(other.pool_, nullptr);
    connection_ = std::exchange(other.connection_, nullptr);
    slot_ = other.slot_;
  }
  return *this;
}

Lease::~Lease() {
  if (pool_) pool_->impl_->give_back(slot_);
}

Connection& Lease::operator*() const {
  CITADEL_CHECK(connection_, "an empty Lease is used");
  return *connection_;
}
Connection* Lease::operator->() const {
  return &**this;
}

void Lease::demote() {
  if (pool_) pool_->impl_->seats[slot_].demoted = true;
}

// --- the pool

Pool::Pool(Executor executor, PoolOptions options, const Clock& clock, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(std::move(executor), std::move(options), clock, seed)) {}

Pool::~Pool() {
  CITADEL_CHECK(impl_->core.count(State::free) == impl_->seats.size() && impl_->callers_live == 0,
                "a Pool was destroyed before it was closed, or before a Lease");
}

Task<Result<void>> Pool::start(Deadline deadline) {
  auto& impl = *impl_;
  aio::OneShot<Result<void>> warm(impl.executor);
  impl.warm = &warm;
  struct Forget {
    Impl& impl;
    ~Forget() { impl.warm = nullptr; }
  } forget{impl};
  impl.core.start(impl.now());
  impl.carry_out();
  if (impl.options.size_min == 0) co_return Result<void>();
  auto outcome = co_await warm.wait(deadline);
  if (!outcome) {
    co_return fail(Code::deadline_exceeded,
                   fmt::format("{} sessions were not open by the deadline", impl.options.size_min));
  }
  co_return std::move(*outcome);
}

Task<Result<Lease>> Pool::acquire(Deadline deadline, std::string_view name, std::source_location place) {
  auto& impl = *impl_;
  const auto asked_at = impl.now();
  const auto asked = impl.core.acquire(asked_at, {place, name});
  if (asked.kind == PoolCore::Asked::Kind::granted) co_return impl.lend(*this, asked.slot, asked_at);
  if (asked.kind == PoolCore::Asked::Kind::refused) co_return impl.refusal();

  Impl::Caller caller(impl, asked.waiter);
  impl.carry_out();
  co_await caller.answer.wait(deadline);
  if (caller.slot != PoolCore::none) {
    co_return impl.lend(*this, std::exchange(caller.slot, PoolCore::none), asked_at);
  }
  if (!caller.queued) co_return impl.refusal();
  if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) {
    co_return fail(Code::cancelled, "the caller was cancelled while it waited for a session");
  }
  caller.queued = false;
  co_return std::unexpected(impl.core.expire(asked.waiter));
}

void Pool::flush() {
  impl_->core.flush(impl_->now());
  impl_->carry_out();
}

void Pool::pause() {
  impl_->core.pause();
}

void Pool::resume() {
  impl_->core.resume(impl_->now());
  impl_->carry_out();
}

Task<Result<void>> Pool::close(Deadline deadline) {
  auto& impl = *impl_;
  impl.closing = true;
  impl.core.close();
  if (impl.warm) impl.warm->set(impl.refusal());
  impl.carry_out();
  const auto busy = [&impl] {
    return impl.core.count(State::lent) + impl.core.count(State::recovering) + impl.callers_live > 0;
  };
  while (busy() && !deadline.expired()) {
    impl.changed.expires_at(deadline.when());
    co_await impl.changed.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  impl.joining = true;
  auto joined = co_await impl.gate.close(Deadline::after(join_grace));
  // Where something has not ended, it may be a recovery that still holds that connection.
  if (joined) impl.cancel_line.hang_up();
  for (Slot slot = 0; slot < impl.seats.size(); ++slot) {
    if (impl.core.state(slot) != State::lent) continue;
    const auto origin = impl.core.origin(slot);
    co_return fail(Code::deadline_exceeded,
                   fmt::format("a session is still lent; it was acquired for '{}' at {}", origin.name,
                               place_of(origin.place)));
  }
  co_return joined;
}

PoolStatus Pool::status() const {
  const auto& core = impl_->core;
  const auto& totals = core.totals();
  PoolStatus status;
  status.idle = core.count(State::idle);
  status.lent = core.count(State::lent);
  status.opening = core.count(State::opening);
  status.recovering = core.count(State::recovering);
  status.open = status.idle + status.lent + status.recovering + core.count(State::validating);
  status.waiting = core.waiting();
  status.limit = core.limit();
  status.generation = core.generation();
  status.acquired_total = totals.acquired;
  status.refused_queue_total = totals.refused_queue;
  status.refused_time_total = totals.refused_time;
  status.opened_total = totals.opened;
  status.open_failed_total = totals.open_failed;
  status.closed_total = totals.closed;
  status.recovered_total = totals.recovered;
  status.leaked_total = totals.leaked;
  status.reprepared_total = impl_->reprepared_closed;
  for (const auto& seat : impl_->seats) {
    if (seat.connection) status.reprepared_total += seat.connection->reprepared_total();
  }
  status.paused = core.paused();
  status.last_open_error = core.last_open_error();
  return status;
}

void Pool::set_password(Secret password) {
  if (impl_->options.direct) impl_->options.direct->password = password;
  impl_->options.connect.password = std::move(password);
}

const PoolOptions& Pool::options() const {
  return impl_->options;
}

void Pool::on_acquired(std::function<void(double)> observer) {
  impl_->observer = std::move(observer);
}

}  // namespace citadel::pg
