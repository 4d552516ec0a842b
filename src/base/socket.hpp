// Blocking waits on a socket, each by its Deadline: for commands that send; the daemon's own sockets belong
// to its executor.
//
//   CITADEL_TRY(wait_ready(socket.get(), POLLIN, deadline, "reading the receiver's answer"));
//
// Errors say `what` was waited for: deadline_exceeded; connection_lost, with what the socket says.
#pragma once
#include <string_view>

#include "base/deadline.hpp"
#include "base/error.hpp"

namespace citadel {

// What poll() takes: rounded up, an hour at most, 0 where the deadline is over.
int poll_milliseconds(Deadline deadline);

// Until one of `events` of poll(), or an error that the next call on the socket shows.
Result<void> wait_ready(int fd, short events, Deadline deadline, std::string_view what);

// Until the other side's kernel has everything that was written to a TCP socket, its end too where that was
// said. Together with the other side's end of the stream it says that the other side has read it all: a
// socket that closes over bytes that nobody read, or that get bytes later, answers with a reset.
Result<void> wait_delivered(int fd, Deadline deadline, std::string_view what);

}  // namespace citadel
