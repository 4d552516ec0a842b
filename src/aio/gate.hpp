// Gate: the owner of spawned coroutines. Nothing in Citadel is spawned detached: a room that needs a
// background coroutine has a Gate, and closes it before its members go.
//
//   Gate gate(executor);
//   gate.spawn("health", watch_health());
//   ...
//   CITADEL_CO_TRY(co_await gate.close(deadline));   // cancels what still runs, and waits for it
//
// All calls come from the Gate's executor (one thread). drain() and close() may wait side by side, but not in
// a coroutine of the Gate's own, which would wait for itself. Destroying a Gate with live coroutines is a bug
// (CHECK).
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "aio/task.hpp"
#include "base/deadline.hpp"

namespace citadel::aio {

class Gate {
 public:
  explicit Gate(Executor executor);
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // Starts `task`. `name` stands in the log when the coroutine throws. After close() has begun, the task is
  // dropped unstarted.
  void spawn(std::string_view name, Task<> task);

  // How many spawned coroutines have not ended.
  std::size_t live() const;

  // Waits, without cancelling, until all have ended. deadline_exceeded names one that has not.
  Task<Result<void>> drain(Deadline deadline);

  // Cancels all (cancellation_type::terminal) and waits until they have ended. deadline_exceeded names one
  // that has not; it goes on to be owned, and close() may be called again.
  Task<Result<void>> close(Deadline deadline);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace citadel::aio
