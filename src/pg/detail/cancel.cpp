#include "pg/detail/cancel.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

#include "pg/detail/watchdog.hpp"

namespace citadel::pg {
namespace {

std::atomic<int> live_threads{0};

// What the thread and the coroutine share. The thread knows nothing of Asio: it may outlive the io_context.
struct Shared {
  explicit Shared(PGcancel* request) : cancel(request) {}
  ~Shared() {
    if (event >= 0) ::close(event);
    PQfreeCancel(cancel);
  }
  Shared(const Shared&) = delete;

  PGcancel* cancel;
  int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  bool good = false;  // written before the event, read after it
  std::array<char, 256> message{};
};

void request_on_this_thread(const std::shared_ptr<Shared>& shared) {
  shared->good =
      PQcancel(shared->cancel, shared->message.data(), static_cast<int>(shared->message.size())) != 0;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(shared->event, &one, sizeof one);
  live_threads.fetch_sub(1);
}

}  // namespace

Task<Result<void>> send_cancel_request(Executor executor, PGconn* connection, CancelWait wait,
                                       Deadline deadline) {
  PGcancel* const request = PQgetCancel(connection);
  if (request == nullptr)
    co_return fail(Code::connection_lost, "the session was lost", Retry::fresh_snapshot);
  auto shared = std::make_shared<Shared>(request);
  if (shared->event < 0) co_return fail_errno(errno, "eventfd for a cancel request");
  if (live_threads.fetch_add(1) >= cancel_threads_max) {
    live_threads.fetch_sub(1);
    co_return fail(Code::overloaded, "too many cancel requests hang already");
  }
  try {
    std::thread([shared] { request_on_this_thread(shared); }).detach();
  } catch (const std::system_error& error) {
    live_threads.fetch_sub(1);
    co_return fail(Code::overloaded, std::string("no thread for a cancel request: ") + error.what());
  }
  if (wait == CancelWait::none) co_return Result<void>();
  Watchdog watchdog(executor);
  if (!watchdog.attach(shared->event)) co_return fail_errno(errno, "a descriptor for a cancel request");
  if (co_await watchdog.readable(deadline) == Watchdog::Woke::timed_out) {
    co_return fail(Code::deadline_exceeded, "the cancel request was not taken by the deadline");
  }
  // The eventfd's read orders the thread's writes before ours.
  std::uint64_t count = 0;
  if (::read(shared->event, &count, sizeof count) != sizeof count) {
    co_return fail(Code::internal, "the cancel request's event was lost");
  }
  if (!shared->good) co_return fail(Code::unavailable, shared->message.data(), Retry::safe);
  co_return Result<void>();
}

}  // namespace citadel::pg
