// Watchdog: ends the wait on a socket at its deadline, at the price of about one timer operation a deadline's
// length instead of one a wait: the timer is set again only when the new deadline is earlier than the one it
// is set to, or when it has fired.
#pragma once
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "aio/task.hpp"
#include "base/deadline.hpp"

namespace citadel::pg {

class Watchdog {
 public:
  explicit Watchdog(const Executor& executor);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;

  // Waits are for a copy of `fd` from now on. libpq closes its own descriptor as soon as a session breaks,
  // and another thread may get the number at once; a registration by that number would then be somebody
  // else's. False where there are no descriptors left.
  bool attach(int fd);
  void detach();

  enum class Woke : std::uint8_t { ready, timed_out };
  // Until the socket is readable, or the deadline. Throws operation_aborted when the coroutine was cancelled.
  Task<Woke> readable(Deadline deadline);
  // Until it is readable or writable.
  Task<Woke> readable_or_writable(Deadline deadline);

 private:
  // Outlives the Watchdog until the timer's last handler has run.
  struct State;
  void begin(Deadline deadline);
  Woke end(const boost::system::error_code& error);
  std::shared_ptr<State> state_;
};

}  // namespace citadel::pg
