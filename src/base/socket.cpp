#include "base/socket.hpp"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

namespace citadel {
namespace {

constexpr auto delivery_poll = std::chrono::milliseconds(5);

std::unexpected<Error> late(std::string_view what) {
  return fail(Code::deadline_exceeded, fmt::format("{}: not by the deadline", what));
}

}  // namespace

int poll_milliseconds(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.remaining()).count();
  return static_cast<int>(std::min<std::int64_t>(left, 3'600'000));
}

Result<void> wait_ready(int fd, short events, Deadline deadline, std::string_view what) {
  for (;;) {
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&entry, 1, poll_milliseconds(deadline));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return fail_errno(errno, what);
    if (deadline.expired()) return late(what);
  }
}

Result<void> wait_delivered(int fd, Deadline deadline, std::string_view what) {
  for (;;) {
    int error = 0, left = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || ::ioctl(fd, SIOCOUTQ, &left) != 0)
      return fail_errno(errno, what);
    if (error != 0) return fail(Code::connection_lost, fmt::format("{}: {}", what, std::strerror(error)));
    if (left == 0) return {};
    if (deadline.expired()) return late(what);
    // sleep: no event of poll() tells of an acknowledgement
    std::this_thread::sleep_for(delivery_poll);
  }
}

}  // namespace citadel
