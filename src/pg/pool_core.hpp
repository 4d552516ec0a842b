// PoolCore: every decision of the connection pool, and nothing else: no socket, no clock, no thread.
//
// Events go in (a caller wants a session, a session was opened, time passed); decisions come out of
// next_action(), which the driver (pg/pool.cpp) carries out. Time is a parameter and never goes back.
//
//   const auto asked = core.acquire(now, origin);   // granted at once, queued, or refused
//   ...
//   core.release(slot, Return::idle, now);
//   while (const auto action = core.next_action()) carry_out(*action);
//
// What it promises:
// - A slot is one place for a session; there are size_max. A session that is opened, validated or recovered
//   has one too.
// - Waiters are served first come first served. A session that comes back goes to the first of them at once.
// - No more than limit() sessions are lent, unless the first waiter has waited `patience`; never more than
//   size_max. Beyond the limit they are opened one at a time, unless no session came back for as long.
//   Where fewer than limit() are lent and the rest is on its way, one more is tried each `patience` in which
//   none of them came.
// - A session is opened only where waiters outnumber the sessions on their way, or fewer than size_min are
//   there.
// - After an open failed, one at a time is tried, with exponential backoff and full jitter, until one
//   succeeds.
// - After a session was found broken, those that lay idle at that time are validated before they are lent:
//   one death is rarely alone.
// - After several sessions were lost together (losses_flush within loss_window), or one turned out to lead to
// a
//   server that takes no writes, all sessions of its generation are flushed: a failover has taken place, or a
//   restart. Not again before flush_pause_first is over, which doubles up to flush_pause_ceiling where it
//   goes on: a server that stays read-only must not cost its readers all sessions with every write.
// - The idle session used last is lent first, so that the others age and are closed down to size_min.
// - Nothing is lost: each waiter is handed a session, refused, or taken out by expire() or cancel().
//
// Not thread-safe. A call that does not fit the slot's or waiter's state is a bug (CHECK).
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <source_location>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/random.hpp"
#include "resilience/adaptive_limiter.hpp"

namespace citadel::pg {

// The pool's own limits; what they mean stands at PoolOptions.
struct PoolLimits {
  std::size_t size_min = 4;
  std::size_t size_max = 100;
  std::size_t queue_max = 1000;
  std::size_t opening_max = 16;
  std::chrono::milliseconds lifetime{30 * 60'000};
  std::chrono::milliseconds idle_timeout{10 * 60'000};
  std::chrono::milliseconds validate_after{30'000};
  std::chrono::milliseconds leak_after{60'000};
  std::chrono::milliseconds patience{50};
  std::chrono::milliseconds reopen_first{100};
  std::chrono::milliseconds reopen_ceiling{2'000};
  bool adaptive = true;
};

inline constexpr std::size_t losses_flush = 3;
inline constexpr std::chrono::milliseconds loss_window{1'000};
inline constexpr std::chrono::milliseconds flush_pause_first{1'000}, flush_pause_ceiling{60'000};

class PoolCore {
 public:
  // Who has a session: where in the code it was asked for, and a literal that says what for, or "".
  struct Origin {
    std::source_location place{};
    std::string_view name{};
  };

  using Slot = std::uint32_t;
  using Waiter = std::uint32_t;
  static constexpr std::uint32_t none = UINT32_MAX;

  enum class State : std::uint8_t { free, opening, idle, validating, lent, recovering };

  // How a lent session comes back.
  enum class Return : std::uint8_t {
    idle,       // proven idle
    unused,     // idle, and nothing was done with it
    unsettled,  // in a transaction, or a statement may still run
    broken,     // gone
    demoted,    // its server takes no writes (any more)
  };

  enum class Do : std::uint8_t {
    hand,         // `slot`'s session is `waiter`'s now; the waiter is out of the queue
    refuse,       // `waiter` is out of the queue: the pool closes
    open,         // open a session for `slot`; then opened() or open_failed()
    validate,     // prove the session of `slot`; then validated()
    recover,      // bring the session of `slot` to idle; then recovered()
    close,        // close the session of `slot`: the slot is free already
    report_leak,  // the session of `slot` is lent since leak_after; its origin is origin(slot)
  };
  struct Action {
    Do what;
    Slot slot = none;
    Waiter waiter = none;
  };

  struct Asked {
    enum class Kind : std::uint8_t { granted, queued, refused } kind;
    Slot slot = none;      // granted
    Waiter waiter = none;  // queued
  };

  struct Counts {
    std::uint64_t acquired = 0, refused_queue = 0, refused_time = 0, opened = 0, open_failed = 0, closed = 0,
                  recovered = 0, leaked = 0;
  };

  PoolCore(PoolLimits limits, std::uint64_t seed, MonotonicTime now);

  // From now on size_min sessions are kept open.
  void start(MonotonicTime now);
  Asked acquire(MonotonicTime now, Origin origin);
  // The waiter's deadline has come: it leaves the queue, with this error.
  Error expire(Waiter waiter);
  // The waiter is not interested any more.
  void cancel(Waiter waiter);
  void release(Slot slot, Return how, MonotonicTime now);
  void opened(Slot slot, MonotonicTime now);
  void open_failed(Slot slot, Error error, MonotonicTime now);
  void validated(Slot slot, bool good, MonotonicTime now);
  void recovered(Slot slot, bool good, MonotonicTime now);
  // Due at next_wake(), harmless earlier.
  void tick(MonotonicTime now);
  // A new generation: idle sessions close, others when they come back.
  void flush(MonotonicTime now);
  // Nobody is served and nothing is opened until resume().
  void pause();
  void resume(MonotonicTime now);
  // Refuses all waiters, closes what is idle, and everything else as it comes back. For good.
  void close();

  std::optional<Action> next_action();
  // When tick() must be called at the latest; MonotonicTime::max() for never.
  MonotonicTime next_wake() const;

  // Closed, and every slot free.
  bool ended() const { return closing_ && count(State::free) == slots_.size(); }
  std::size_t count(State state) const { return counts_[static_cast<std::size_t>(state)]; }
  std::size_t waiting() const { return waiting_; }
  std::size_t limit() const;
  std::uint64_t generation() const { return generation_; }
  // Why the generation is what it is: a literal.
  std::string_view flush_reason() const { return flush_reason_; }
  bool paused() const { return paused_; }
  State state(Slot slot) const { return slots_[slot].state; }
  Origin origin(Slot slot) const { return slots_[slot].origin; }
  const Counts& totals() const { return totals_; }
  // The error of the last open that failed, while none has succeeded since.
  const std::optional<Error>& last_open_error() const { return last_open_error_; }

  // CHECKs that the books agree with each other. Takes time; for tests.
  void check_books() const;

 private:
  struct Place {
    State state = State::free;
    bool leak_reported = false;
    std::uint64_t generation = 0;
    MonotonicTime since{};    // in this state
    MonotonicTime proven{};   // when it was last known to work
    MonotonicTime expires{};  // its lifetime's end
    Origin origin{};
  };
  struct Queued {
    Waiter before = none, after = none;
    bool queued = false;
    MonotonicTime since{};
    Origin origin{};
  };

  void enter(Slot slot, State state, MonotonicTime now);
  void act(Do what, Slot slot = none, Waiter waiter = none) { actions_.push_back({what, slot, waiter}); }
  void settle(Slot slot, MonotonicTime now);
  void close_session(Slot slot, MonotonicTime now);
  void lose(Slot slot, MonotonicTime now);
  void demote(Slot slot, MonotonicTime now);
  void flush_by_itself(std::string_view reason, MonotonicTime now);
  void begin_generation(std::string_view reason, MonotonicTime now);
  void lend(Slot slot, Origin origin, MonotonicTime now);
  bool must_validate(const Place& place, MonotonicTime now) const;
  Waiter enqueue(MonotonicTime now, Origin origin);
  void leave_queue(Waiter waiter);
  bool may_serve(std::size_t ahead, MonotonicTime now);
  std::size_t on_their_way() const { return count(State::opening) + count(State::validating); }
  void schedule(MonotonicTime now);
  void serve_from_idle(MonotonicTime now);
  void open_more(MonotonicTime now);
  void open_one(MonotonicTime now);
  void upkeep(MonotonicTime now);
  void close_aged(MonotonicTime now);
  MonotonicTime lifetime_end(MonotonicTime now);

  const PoolLimits limits_;
  const Monotonic::duration upkeep_interval_;
  SeededRandom random_;
  MonotonicTime last_return_;  // of a lent session, in whatever state
  // When a session was last set on its way, or came from there.
  MonotonicTime last_coming_ = MonotonicTime{};
  std::optional<resilience::AdaptiveLimiter> limiter_;
  std::vector<Place> slots_;
  std::vector<Slot> free_;
  std::vector<Slot> idle_;  // the longest idle first
  std::array<std::size_t, 6> counts_{};
  std::vector<Queued> waiters_;
  std::vector<Waiter> free_waiters_;
  Waiter first_ = none, last_ = none;
  std::size_t waiting_ = 0;
  MonotonicTime last_wait_ = MonotonicTime::min();  // when somebody waited last
  std::vector<Action> actions_;
  std::size_t next_action_ = 0;

  bool keep_min_ = false, paused_ = false, closing_ = false;
  std::uint64_t generation_ = 1;
  std::string_view flush_reason_ = "started";
  std::size_t losses_ = 0;  // of this generation, since losing_since_
  MonotonicTime losing_since_{};
  MonotonicTime flush_again_at_ = MonotonicTime::min();  // not before, where nobody asks for it
  Monotonic::duration flush_pause_{};
  MonotonicTime suspect_before_ = MonotonicTime::min();
  unsigned failures_ = 0;  // opens that failed in a row, those that failed together counted once
  MonotonicTime reopen_at_ = MonotonicTime::min();
  bool open_is_delayed_ = false;
  MonotonicTime patience_at_ = MonotonicTime::max();
  MonotonicTime upkeep_at_;
  std::optional<Error> last_open_error_;
  Counts totals_;
};

}  // namespace citadel::pg
