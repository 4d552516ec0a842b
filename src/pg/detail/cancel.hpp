// A CancelRequest by libpq 15's PQcancel, which blocks, on a thread of its own.
#pragma once
#include <libpq-fe.h>

#include "aio/task.hpp"
#include "base/deadline.hpp"

namespace citadel::pg {

// Whether send_cancel_request waits for the other side to take the request. PostgreSQL has carried it out
// when it hangs up; Pgpool-II hangs up a second later and carries it out at its leisure, or never, so waiting
// tells nothing.
enum class CancelWait : std::uint8_t { taken, none };

// Asks the server that `connection` is with to cancel what runs on it. overloaded where cancel_threads_max
// requests already hang, which they do when Pgpool-II has no free child; deadline_exceeded leaves its thread
// to end when the other side lets it.
Task<Result<void>> send_cancel_request(Executor executor, PGconn* connection, CancelWait wait,
                                       Deadline deadline);

inline constexpr int cancel_threads_max = 32;

}  // namespace citadel::pg
