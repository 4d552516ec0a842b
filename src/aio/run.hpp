// run: drives an io_context on this thread until one coroutine has ended, and gives its value. For commands
// and tests.
#pragma once
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>
#include <optional>
#include <utility>

#include "aio/task.hpp"
#include "base/check.hpp"

namespace citadel::aio {

// Handlers of other coroutines run meanwhile, and stay where they are when `task` has ended. Exceptions pass
// through.
template <class T>
T run(asio::io_context& context, Task<T> task) {
  std::optional<T> value;
  std::exception_ptr exception;
  bool ended = false;
  asio::co_spawn(context, std::move(task), [&](std::exception_ptr thrown, T result) {
    exception = thrown;
    value.emplace(std::move(result));
    ended = true;
  });
  context.restart();
  while (!ended && context.run_one() > 0) {
  }
  CITADEL_CHECK(ended, "the coroutine waits for something that nobody will do");
  if (exception) std::rethrow_exception(exception);
  return std::move(*value);
}

inline void run(asio::io_context& context, Task<void> task) {
  run<bool>(context, [](Task<void> inner) -> Task<bool> {
    co_await std::move(inner);
    co_return true;
  }(std::move(task)));
}

}  // namespace citadel::aio
