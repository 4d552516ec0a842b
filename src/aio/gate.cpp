#include "aio/gate.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>

#include "base/check.hpp"
#include "base/log.hpp"

namespace citadel::aio {

struct Gate::State {
  struct Member {
    std::string name;
    asio::cancellation_signal cancel;
  };

  explicit State(Executor e) : executor(std::move(e)) {}

  // Somebody in wait_empty(). A timer each: one for all would be set, and so cancelled, by each in turn.
  struct Waiter {
    explicit Waiter(State& s) : state(s), timer(s.executor) { state.waiters.push_back(this); }
    ~Waiter() { state.waiters.remove(this); }
    Waiter(const Waiter&) = delete;
    State& state;
    asio::steady_timer timer;  // cancelled when the last member ends
  };

  Executor executor;
  std::list<Member> members;
  std::list<Waiter*> waiters;
  bool closing = false;

  void ended(std::list<Member>::iterator member, std::exception_ptr exception) {
    if (exception) report(*member, exception);
    members.erase(member);
    if (!members.empty()) return;
    for (auto* waiter : waiters) waiter->timer.cancel();
  }

  static void report(const Member& member, std::exception_ptr exception) {
    try {
      std::rethrow_exception(exception);
    } catch (const boost::system::system_error& error) {
      if (error.code() == asio::error::operation_aborted) return;
      log::error("aio", "a coroutine threw", {{"coroutine", member.name}, {"error", error.what()}});
    } catch (const std::exception& error) {
      log::error("aio", "a coroutine threw", {{"coroutine", member.name}, {"error", error.what()}});
    }
  }

  static Task<Result<void>> wait_empty(std::shared_ptr<State> self, Deadline deadline) {
    Waiter waiter(*self);
    while (!self->members.empty()) {
      if (deadline.expired()) {
        co_return fail(Code::deadline_exceeded,
                       fmt::format("coroutine '{}' has not ended", self->members.front().name));
      }
      waiter.timer.expires_at(deadline.when());
      co_await waiter.timer.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    co_return Result<void>();
  }
};

Gate::Gate(Executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

Gate::~Gate() {
  CITADEL_CHECK(state_->members.empty(), "a Gate was destroyed before it was closed");
}

void Gate::spawn(std::string_view name, Task<> task) {
  if (state_->closing) return;
  auto& members = state_->members;
  const auto member = members.emplace(members.end());
  member->name = name;
  asio::co_spawn(state_->executor, std::move(task),
                 asio::bind_cancellation_slot(member->cancel.slot(),
                                              [state = state_, member](std::exception_ptr exception) {
                                                state->ended(member, exception);
                                              }));
}

std::size_t Gate::live() const {
  return state_->members.size();
}

Task<Result<void>> Gate::drain(Deadline deadline) {
  return State::wait_empty(state_, deadline);
}

Task<Result<void>> Gate::close(Deadline deadline) {
  auto state = state_;
  state->closing = true;
  // A coroutine may end inside emit() and leave the list; taking the next member first keeps the walk valid.
  for (auto member = state->members.begin(); member != state->members.end();) {
    const auto current = member++;
    current->cancel.emit(asio::cancellation_type::terminal);
  }
  co_return co_await State::wait_empty(state, deadline);
}

}  // namespace citadel::aio
