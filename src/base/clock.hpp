// Clock: where time comes from. What decides by time takes a Clock& (or the time itself), so that tests move
// it by hand. What waits for the kernel (timers, sockets, processes) and the Deadline that bounds it read the
// monotonic clock directly: no test can move the kernel's. Durations use the monotonic clock, which a change
// of the wall clock does not touch; records carry the wall clock, in UTC.
#pragma once
#include <chrono>

namespace citadel {

using Monotonic = std::chrono::steady_clock;
using MonotonicTime = Monotonic::time_point;
// Wall-clock time in UTC; microseconds, as PostgreSQL keeps it.
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime monotonic() const = 0;
  virtual WallTime wall() const = 0;
};

// The machine's clocks. Thread-safe.
const Clock& system_clock();

// A clock that stands still until it is moved. Not thread-safe.
class ManualClock final : public Clock {
 public:
  MonotonicTime monotonic() const override { return monotonic_; }
  WallTime wall() const override { return wall_; }
  // Moves both clocks forward.
  void advance(std::chrono::nanoseconds by) {
    monotonic_ += std::chrono::duration_cast<Monotonic::duration>(by);
    wall_ += std::chrono::duration_cast<std::chrono::microseconds>(by);
  }
  // Moves the wall clock alone, as an operator or NTP may.
  void jump_wall(std::chrono::microseconds by) { wall_ += by; }

 private:
  MonotonicTime monotonic_{std::chrono::hours(1)};
  WallTime wall_{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}};
};

}  // namespace citadel
