// Deadline: the moment by which a caller has its answer. It is set once, where a request enters, and carried
// down through every wait: queue, connect, statement, retries. There is no default and no "none": a wait that
// may be long says how long. A value type on the monotonic clock.
#pragma once
#include <algorithm>

#include "base/clock.hpp"

namespace citadel {

class Deadline {
 public:
  static Deadline at(MonotonicTime when) { return Deadline(when); }
  static Deadline after(Monotonic::duration duration) { return Deadline(Monotonic::now() + duration); }
  static Deadline after(Monotonic::duration duration, const Clock& clock) {
    return Deadline(clock.monotonic() + duration);
  }

  MonotonicTime when() const { return when_; }
  bool expired(MonotonicTime now = Monotonic::now()) const { return now >= when_; }
  // Never negative.
  Monotonic::duration remaining(MonotonicTime now = Monotonic::now()) const {
    return std::max(when_ - now, Monotonic::duration::zero());
  }
  // The earlier of this deadline and `duration` from now: a step may be given less than the whole.
  Deadline within(Monotonic::duration duration, MonotonicTime now = Monotonic::now()) const {
    return Deadline(std::min(when_, now + duration));
  }
  friend auto operator<=>(Deadline, Deadline) = default;

 private:
  explicit Deadline(MonotonicTime when) : when_(when) {}
  MonotonicTime when_;
};

}  // namespace citadel
