// Waiting, always with a Deadline: sleep, a one-shot value, and a bound around any other operation.
#pragma once
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "aio/task.hpp"
#include "base/deadline.hpp"

namespace citadel::aio {

namespace detail {
// What co_spawn calls when a task has ended.
template <class T>
struct Completion {
  using type = void(std::exception_ptr, T);
};
template <>
struct Completion<void> {
  using type = void(std::exception_ptr);
};
}  // namespace detail

// Sleeps; ends early, by an exception, only when the coroutine is cancelled.
Task<> sleep_until(MonotonicTime when);
inline Task<> sleep_for(Monotonic::duration duration) {
  return sleep_until(Monotonic::now() + duration);
}

// A value that is set once and awaited by one coroutine. Both sides are on the same executor (one thread).
template <class T>
class OneShot {
 public:
  explicit OneShot(const Executor& executor) : timer_(executor) {}

  bool is_set() const { return value_.has_value(); }

  // The first value stays; a later one is dropped.
  void set(T value) {
    if (value_) return;
    value_.emplace(std::move(value));
    timer_.cancel();
  }

  // The value, or nullopt at the deadline. A value that was set in time is returned even where the deadline
  // has passed meanwhile. A coroutine that is cancelled gets nullopt at once; its next await throws.
  Task<std::optional<T>> wait(Deadline deadline) {
    if (!value_) {
      timer_.expires_at(deadline.when());
      co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    co_return std::exchange(value_, std::nullopt);
  }

 private:
  asio::steady_timer timer_;
  std::optional<T> value_;
};

// Runs `task` until the deadline, then cancels it (terminal) and waits for its end, so `task` must react to
// cancellation. For operations that do not take a deadline themselves. Throws what `task` throws, and
// operation_aborted where the caller is cancelled.
template <class T>
Task<Result<T>> with_deadline(Task<Result<T>> task, Deadline deadline, std::string_view what) {
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor);
  timer.expires_at(deadline.when());
  auto [order, exception, result, timer_error] =
      co_await asio::experimental::make_parallel_group(
          asio::co_spawn(executor, std::move(task), asio::deferred), timer.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  if (order[0] == 0) {
    if (exception) std::rethrow_exception(exception);
    co_return result;
  }
  // The loser may still have ended in the same moment: what it says, an error too, is worth more than a
  // timeout.
  if (!exception && (result || result.error().code != Code::cancelled)) co_return result;
  if (timer_error)
    throw boost::system::system_error(timer_error);  // not the deadline: the caller is cancelled
  co_return fail(Code::deadline_exceeded, std::string(what) + " did not end by the deadline");
}

// Runs `task` on another executor, which has one thread, and comes back with its result to the caller's own.
// Where the caller is cancelled, `task` is cancelled on its own thread a moment later; its result still comes
// back. The other thread lets go of the caller's executor a moment later, so the caller's io_context outlives
// that thread (declare it before the Runtime).
template <class T>
Task<T> run_on(Executor executor, Task<T> task) {
  // A cancel is passed on by a message, which may arrive after the caller has resumed and is gone. So the
  // signal that it sets off belongs to the message and to the task: co_spawn alone would keep it in the
  // caller's slot.
  const auto start = [executor](auto handler, Task<T> spawned) {
    auto signal = std::make_shared<asio::cancellation_signal>();
    if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
      slot.assign([signal, executor](asio::cancellation_type type) {
        asio::post(executor, [signal, type] { signal->emit(type); });
      });
    }
    const auto slot = signal->slot();
    const auto home = asio::get_associated_executor(handler, executor);
    auto resume = [signal = std::move(signal), handler = std::move(handler)](auto&&... outcome) mutable {
      std::move(handler)(std::forward<decltype(outcome)>(outcome)...);
    };
    asio::co_spawn(executor, std::move(spawned),
                   asio::bind_cancellation_slot(slot, asio::bind_executor(home, std::move(resume))));
  };
  using Signature = detail::Completion<T>::type;
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, Signature>(
      start, asio::use_awaitable, std::move(task));
}

}  // namespace citadel::aio
