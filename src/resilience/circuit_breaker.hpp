// CircuitBreaker: stops asking a database that does not answer, and asks carefully before it trusts it again.
//
//   closed ──failures or slow calls──► open ──open time over──► half_open ──► closed, or open again
//
// - A call asks acquire(), and says through its Permit how it went. A Permit that is dropped without an
//   outcome is returned: the call counts for nothing, and in half_open its place is free again.
// - The rates are taken over the last calls (WindowKind::count) or the last seconds (WindowKind::time), and
//   only from calls_min calls on. Beside them, calls that have all failed for failing_for open it: a database
//   that hangs lets few calls end, and the rate of a busy window would show it late. failing_for spares what
//   is over at once, such as a server that drops all sessions and is back. What was lent in an earlier state
//   decides nothing in a later one.
// - Each opening that follows soon on the last one lasts longer (open_initial × open_multiplier^n, at most
//   open_ceiling), with up to 20% less by chance, so that many daemons do not ask in the same moment.
// - half_open lends half_open_permits at most, and decides when all have answered, or before, when enough
//   have failed.
// - Never counted against the database: local saturation, callers' mistakes, cancellation: see classify().
// - forced_open refuses all, forced_closed (switched off) lends all and counts nothing, observe_only lends
//   all and counts how often it would have opened.
//
// After M. Nygard, "Release It!", and the windows and slow-call rate of resilience4j.
// Single executor: no locks, no threads. The clock, the random source and the breaker outlive every Permit.
// Nothing is allocated while closed.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/random.hpp"

namespace citadel::resilience {

enum class BreakerState : std::uint8_t { closed, open, half_open, forced_open, forced_closed, observe_only };
inline constexpr std::size_t breaker_state_count = 6;
std::string_view to_string(BreakerState state);

enum class WindowKind : std::uint8_t { count, time };

struct BreakerOptions {
  WindowKind window = WindowKind::time;
  std::size_t window_calls = 100;                 // count: the last so many calls
  std::chrono::milliseconds window_time{10'000};  // time: the last so long, in ten slices
  std::size_t calls_min = 20;                     // fewer decide nothing
  double failure_rate = 0.5;                      // opens at this share of failures
  std::chrono::milliseconds slow_call{2'000};     // a call that takes as long is slow, however it ended
  double slow_call_rate = 0.8;                    // opens at this share of slow calls; above 1: never
  std::chrono::milliseconds answer_within{500};   // a deadline that ends a call later than this is a failure
  std::size_t failures_in_row = 10;               // opens at so many failures without a success between,
  std::chrono::milliseconds failing_for{1'000};   //   where the first of them is as long ago
  std::chrono::milliseconds open_initial{500};
  std::chrono::milliseconds open_ceiling{30'000};
  double open_multiplier = 2.0;
  std::size_t half_open_permits = 5;
};

enum class Outcome : std::uint8_t {
  success,  // the database answered, be it with an error that is the caller's
  failure,  // the database could not be reached, or did not answer in a time that is its fault
  ignored,  // says nothing about the database
};

// What an error says about the database. Pure; `took` is how long the call to the database took, without
// waiting for a session.
// - failure: unavailable, connection_lost, commit_unknown, io_error, corrupt, unauthenticated (no session can
//   be opened, and a storm of logins would not help).
// - deadline_exceeded: failure where the database had answer_within to answer; ignored where the caller gave
//   it less.
// - statement_timeout: success, for it answered. It took long, so it counts as slow where it took slow_call.
// - any other error with an SQLSTATE: success, for it answered: constraints, deadlocks, rights, a full disk.
// - the rest, local: ignored (overloaded, cancelled, invalid_argument, …).
Outcome classify(const Error& error, Monotonic::duration took, const BreakerOptions& options);

struct BreakerStatus {
  BreakerState state = BreakerState::closed;
  std::string reason;  // why it is in this state: "failure rate 0.62 of 40 calls; last: connection_lost: …"
  std::size_t calls = 0;    // in the window
  double failure_rate = 0;  // of the window; 0 without calls
  double slow_call_rate = 0;
  Monotonic::duration retry_after{};  // open: until half_open; else zero
  std::size_t permits_out = 0;
  std::uint64_t permitted_total = 0, refused_total = 0, success_total = 0, failure_total = 0, slow_total = 0,
                ignored_total = 0, would_open_total = 0;
  std::array<std::uint64_t, breaker_state_count> entered_total{};  // by state: how often it was entered
};

class CircuitBreaker {
 public:
  // Leave to make one call. Move-only.
  class [[nodiscard]] Permit {
   public:
    Permit(Permit&& other) noexcept
        : breaker_(std::exchange(other.breaker_, nullptr)), epoch_(other.epoch_) {}
    Permit& operator=(Permit&& other) noexcept {
      if (this != &other) {
        release();
        breaker_ = std::exchange(other.breaker_, nullptr);
        epoch_ = other.epoch_;
      }
      return *this;
    }
    ~Permit() { release(); }

    // Once; a second outcome is dropped.
    void record(Outcome outcome, Monotonic::duration took);
    void succeeded(Monotonic::duration took) { record(Outcome::success, took); }
    // Classifies the error; a failure's text becomes part of the reason.
    void failed(const Error& error, Monotonic::duration took);
    // Returns the permit unused.
    void release() noexcept;

   private:
    friend class CircuitBreaker;
    Permit(CircuitBreaker* breaker, std::uint64_t epoch) : breaker_(breaker), epoch_(epoch) {}
    CircuitBreaker* breaker_;
    std::uint64_t epoch_;
  };

  using Listener = std::function<void(BreakerState from, BreakerState to, std::string_view reason)>;

  CircuitBreaker(BreakerOptions options, const Clock& clock, Random& random);
  ~CircuitBreaker();  // CHECK: no Permit is out
  CircuitBreaker(const CircuitBreaker&) = delete;
  CircuitBreaker& operator=(const CircuitBreaker&) = delete;

  // A Permit; or unavailable (Retry::safe) with the reason and the time until the next attempt. The error is
  // not one to be recorded: no call was made.
  Result<Permit> acquire();

  // Whether acquire() would lend now. Changes nothing.
  bool would_permit() const;

  // An operator's hand: BreakerState::forced_open, forced_closed, observe_only; or closed, to go back to work
  // with an empty window. CHECK: no other.
  void force(BreakerState state, std::string_view reason);

  BreakerState state() const { return state_; }
  BreakerStatus status() const;
  const BreakerOptions& options() const { return options_; }

  // Called after each transition, inside the call that caused it. It must not destroy the breaker.
  void on_transition(Listener listener) { listener_ = std::move(listener); }

 private:
  struct Slice {
    std::uint64_t tick = 0;  // which slice of time this is
    std::uint32_t calls = 0, failures = 0, slow = 0;
  };
  static constexpr std::size_t slice_count = 10;

  Result<Permit> acquire_not_closed();
  std::unexpected<Error> refuse();
  Permit lend();
  void settle(std::uint64_t epoch, Outcome outcome, bool slow);
  void settle_half_open(bool failed, bool slow);
  void add_to_window(bool failed, bool slow);
  void add_by_count(bool failed, bool slow);
  void add_by_time(bool failed, bool slow);
  void expire_slices(std::uint64_t tick);
  void clear_window();
  bool rates_reached() const;
  void count_in_row(bool failed);
  bool failed_for_long() const;
  std::string rates_text() const;
  void open(std::string reason);
  void enter(BreakerState to, std::string reason);
  Monotonic::duration next_open_time(MonotonicTime now);

  const BreakerOptions options_;
  const Clock& clock_;
  Random& random_;
  Listener listener_;

  BreakerState state_ = BreakerState::closed;
  std::string reason_ = "started";
  std::string last_failure_;
  std::uint64_t epoch_ = 0;  // grows with each transition
  MonotonicTime entered_at_;
  MonotonicTime open_until_{};
  Monotonic::duration last_open_{};
  int openings_in_row_ = 0;

  Slice sum_;  // of the window
  std::size_t failures_in_row_ = 0;
  MonotonicTime failing_since_{};         // of the first of them
  std::vector<std::uint8_t> last_calls_;  // count: a ring of bits
  std::size_t next_call_ = 0;
  std::array<Slice, slice_count> slices_{};  // time
  Monotonic::duration slice_time_;

  std::size_t half_open_lent_ = 0;  // out or answered in this half_open
  std::uint32_t half_open_answers_ = 0, half_open_failures_ = 0, half_open_slow_ = 0;
  BreakerStatus totals_;  // only the counters are used
};

}  // namespace citadel::resilience
