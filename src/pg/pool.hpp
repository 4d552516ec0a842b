// Pool: up to `size_max` sessions, lent one at a time, first come first served.
//
// - FIFO with direct handover: a returned session goes straight to the first waiter.
// - Bounded in queue (queue_max) and time (the caller's Deadline): both refusals are Code::overloaded, a
//   local condition that no breaker may count against the database.
// - Adaptive: it keeps as many sessions busy as the database answers fastest with (resilience-style limiter
//   inside the pool's core), never more than size_max; a waiter who has waited `patience` is served beyond
//   the adaptive limit.
// - A session goes back only when it is proven idle; a busy or failed one is recovered in the background
//   first.
// - A new generation closes all sessions: the idle ones at once, lent ones on return. It begins by flush(),
// and
//   by itself where several sessions are lost together or one's server takes no writes, as after a failover
//   (the rule stands in pool_core.hpp).
//
// The decisions are PoolCore (pool_core.hpp), pure and simulated; this class moves bytes. All calls on its
// executor.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

#include "aio/task.hpp"
#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "pg/connection.hpp"

namespace citadel::pg {

struct PoolOptions {
  ConnectOptions connect;
  std::size_t size_min = 4;    // kept open when idle
  std::size_t size_max = 100;  // never more, those being opened and recovered included
  std::size_t queue_max = 1000;
  // At the same time: Pgpool-II takes clients on slowly, and a server that comes back must not be stormed.
  std::size_t opening_max = 16;
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds recover_timeout{3'000};
  std::chrono::milliseconds lifetime{30 * 60'000};  // ± 10% jitter
  std::chrono::milliseconds idle_timeout{10 * 60'000};
  std::chrono::milliseconds validate_after{
      30'000};                                   // idle longer than this: one round trip before it is lent
  std::chrono::milliseconds leak_after{60'000};  // lent longer than this: reported once, with its origin
  std::chrono::milliseconds patience{50};
  // After an open failed, one at a time is tried: after a random part of reopen_first, doubling up to
  // reopen_ceiling.
  std::chrono::milliseconds reopen_first{100};
  std::chrono::milliseconds reopen_ceiling{2'000};
  bool adaptive = true;
  // A way to PostgreSQL past Pgpool-II, as the same user: one connection, opened when first needed, on which
  // running statements of other sessions are cancelled. Without it a cancel goes the way the session went,
  // and through a Pgpool-II without a free child it is lost.
  std::optional<ConnectOptions> direct;
};

struct PoolStatus {
  std::size_t open = 0, idle = 0, lent = 0, opening = 0, recovering = 0, waiting = 0;
  std::size_t limit = 0;  // what the adaptive limiter allows now
  std::uint64_t generation = 0;
  std::uint64_t acquired_total = 0, refused_queue_total = 0, refused_time_total = 0, opened_total = 0,
                open_failed_total = 0, closed_total = 0, recovered_total = 0, leaked_total = 0,
                reprepared_total = 0;
  bool paused = false;
  std::optional<Error> last_open_error;
};

class Pool;

// A session, lent. Returns it when destroyed. Move-only; on the pool's executor.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();
  Connection& operator*() const;
  Connection* operator->() const;
  explicit operator bool() const { return connection_ != nullptr; }
  // Its server takes no writes: it is a standby, or has become one. The session is closed when returned, and
  // with it the pool's generation may end.
  void demote();

 private:
  friend class Pool;
  Lease(Pool* pool, Connection* connection, std::uint32_t slot)
      : pool_(pool), connection_(connection), slot_(slot) {}
  Pool* pool_ = nullptr;
  Connection* connection_ = nullptr;
  std::uint32_t slot_ = 0;
};

class Pool {
 public:
  // `clock` outlives the pool. Nothing is opened before start() or the first acquire().
  Pool(Executor executor, PoolOptions options, const Clock& clock, std::uint64_t seed);
  ~Pool();  // after close(), and after every Lease (CHECK)
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Opens size_min sessions, and starts the upkeep. The error of the first that fails; the pool works on
  // regardless.
  Task<Result<void>> start(Deadline deadline);

  // overloaded (queue full, or the deadline passed while waiting), unavailable (a session could not be opened
  // and none is there), cancelled (closing).
  // `name`, a literal, and `place` stand in the report of a leak.
  Task<Result<Lease>> acquire(Deadline deadline, std::string_view name = {},
                              std::source_location place = std::source_location::current());

  void flush();  // begins a new generation
  void pause();  // acquire() waits; sessions lent come back
  void resume();
  // Refuses all who wait, waits for lent sessions until the deadline, and closes all. deadline_exceeded names
  // a session that is still lent, by its origin; it goes on to be owned, and close() may be called
  // again.
  Task<Result<void>> close(Deadline deadline);

  // For sessions opened from now on, cancels' too. Those that are open stay: PostgreSQL asks for a password
  // once.
  void set_password(Secret password);

  PoolStatus status() const;
  const PoolOptions& options() const;
  // Called with the seconds waited for each acquire that succeeded; for metrics. May be empty.
  void on_acquired(std::function<void(double)> observer);

 private:
  friend class Lease;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::pg
