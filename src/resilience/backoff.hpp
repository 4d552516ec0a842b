// Backoff: how long to wait before the next attempt: exponential, with full jitter.
//
//   Backoff backoff({.initial = 50ms, .ceiling = 2s}, random);
//   co_await aio::sleep_for(backoff.next());   // between 0 and 50 ms, then 0 and 100 ms, … 0 and 2 s
//
// The wait is uniform in [0, min(ceiling, initial × multiplier^n)), so callers that failed together do not
// come back together. After M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog 2015: of the
// forms measured there full jitter costs the server least. Pure: sleeps not, and knows no deadline; the
// caller bounds the wait by its own.
#pragma once
#include <chrono>

#include "base/clock.hpp"
#include "base/random.hpp"

namespace citadel::resilience {

struct BackoffOptions {
  std::chrono::milliseconds initial{50};
  std::chrono::milliseconds ceiling{2'000};
  double multiplier = 2.0;
};

class Backoff {
 public:
  // CHECK: 0 < initial ≤ ceiling, multiplier ≥ 1. `random` outlives the object.
  Backoff(BackoffOptions options, Random& random);

  // The wait before the next attempt, and one step on.
  Monotonic::duration next();

  // The wait that the next call of next() stays below.
  Monotonic::duration bound() const { return bound_; }

  // Attempts counted since the start or the last reset().
  int attempts() const { return attempts_; }

  // After a success.
  void reset();

 private:
  BackoffOptions options_;
  Random* random_;
  Monotonic::duration bound_;
  int attempts_ = 0;
};

}  // namespace citadel::resilience
