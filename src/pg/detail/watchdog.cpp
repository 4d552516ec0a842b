#include "pg/detail/watchdog.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace citadel::pg {

struct Watchdog::State : std::enable_shared_from_this<State> {
  explicit State(const Executor& executor) : descriptor(executor), timer(executor) {}

  asio::posix::stream_descriptor descriptor;
  asio::steady_timer timer;
  MonotonicTime deadline;
  bool alive = true;
  bool armed = false;
  bool waiting = false;
  bool timed_out = false;

  void arm() {
    armed = true;
    timer.expires_at(deadline);
    timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      // Aborted: set to another time, whose own handler comes.
      if (!error && self->alive) self->fired();
    });
  }

  void fired() {
    armed = false;
    if (!waiting) return;
    if (Monotonic::now() < deadline) {
      arm();
      return;
    }
    timed_out = true;
    descriptor.cancel();
  }
};

Watchdog::Watchdog(const Executor& executor) : state_(std::make_shared<State>(executor)) {}

Watchdog::~Watchdog() {
  detach();
  state_->alive = false;
  state_->timer.cancel();
}

bool Watchdog::attach(int fd) {
  detach();
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return false;
  boost::system::error_code error;
  state_->descriptor.assign(copy, error);
  if (error) ::close(copy);
  return !error;
}

void Watchdog::detach() {
  if (!state_->descriptor.is_open()) return;
  // Not close(): Asio then leaves it to the kernel to forget the descriptor, which it does only once no copy
  // is open.
  ::close(state_->descriptor.release());
}

void Watchdog::begin(Deadline deadline) {
  state_->deadline = deadline.when();
  state_->timed_out = false;
  state_->waiting = true;
  if (!state_->armed || state_->timer.expiry() > state_->deadline) state_->arm();
}

Watchdog::Woke Watchdog::end(const boost::system::error_code& error) {
  state_->waiting = false;
  if (error != asio::error::operation_aborted)
    return Woke::ready;  // other errors: libpq finds them on the socket
  if (state_->timed_out) return Woke::timed_out;
  throw boost::system::system_error(error);
}

Task<Watchdog::Woke> Watchdog::readable(Deadline deadline) {
  begin(deadline);
  auto [error] = co_await state_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                                        asio::as_tuple(asio::use_awaitable));
  co_return end(error);
}

Task<Watchdog::Woke> Watchdog::readable_or_writable(Deadline deadline) {
  begin(deadline);
  auto& descriptor = state_->descriptor;
  auto [order, read_error, write_error] =
      co_await asio::experimental::make_parallel_group(
          descriptor.async_wait(asio::posix::stream_descriptor::wait_read, asio::deferred),
          descriptor.async_wait(asio::posix::stream_descriptor::wait_write, asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  co_return end(order[0] == 0 ? read_error : write_error);
}

}  // namespace citadel::pg
