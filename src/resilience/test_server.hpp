// TestServer: a modelled database for simulations: what N callers, of whom a limit lets some through, get
// done on a server whose total speed depends on how many calls it works on.
//
// Processor sharing: n calls in flight progress together at speed(n) units of work a second, each at speed(n)
// / n. A call has one unit of work on average. Events in virtual time; a run repeats from its seed. For tests
// only.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <numbers>
#include <queue>
#include <vector>

#include "base/clock.hpp"
#include "base/random.hpp"

namespace citadel::resilience::test {

using Speed = std::function<double(std::size_t in_flight)>;

// pgbench -S through Pgpool-II on two cores, measured: 5.7k/s with 1 busy, 12.7k with 10, 9.3k with 100. The
// curve through these points is N. Gunther's universal scalability law; its peak is near 16.
inline Speed like_pgpool() {
  return [](std::size_t in_flight) {
    const auto n = static_cast<double>(in_flight);
    return 5700.0 * n / (1.0 + 0.36296 * (n - 1.0) + 0.00246 * n * (n - 1.0));
  };
}

// `cores` serve at `rate` each; more calls neither help nor harm.
inline Speed saturating(double cores, double rate) {
  return [=](std::size_t in_flight) { return rate * std::min(cores, static_cast<double>(in_flight)); };
}

// Each call waits for `seconds`, however many there are, as pg_sleep does.
inline Speed pure_delay(double seconds) {
  return [=](std::size_t in_flight) { return static_cast<double>(in_flight) / seconds; };
}

inline double best(const Speed& speed, std::size_t max) {
  double best = 0;
  for (std::size_t n = 1; n <= max; ++n) best = std::max(best, speed(n));
  return best;
}

enum class Work : std::uint8_t {
  constant,
  exponential,
  heavy_tail,  // one call in a hundred has fifty times the work of the rest
};

class TestServer {
 public:
  TestServer(Speed speed, Work work, double noise, std::uint64_t seed)
      : speed_(std::move(speed)), work_(work), noise_(noise), random_(seed) {}

  void set_speed(Speed speed) { speed_ = std::move(speed); }
  void set_stalled(bool stalled) { stalled_ = stalled; }

  MonotonicTime now() const { return now_; }
  std::size_t in_flight() const { return calls_.size(); }

  void start(std::uint64_t tag) { calls_.push({done_ + draw_work(), now_, tag}); }

  struct Finished {
    std::uint64_t tag = 0;
    Monotonic::duration duration{};
  };
  // Goes on to the next call's end, or to `until` where that comes first (then false).
  bool run(MonotonicTime until, Finished& finished) {
    while (true) {
      change_noise();
      const auto stop = std::min(until, noise_until_);
      const double rate = calls_.empty() || stalled_ ? 0 : factor_ * speed_(calls_.size()) / calls_.size();
      const double left = calls_.empty() ? 0 : std::max(0.0, calls_.top().ends_at - done_);
      const double stop_after = std::chrono::duration<double>(stop - now_).count();
      if (rate > 0 && left / rate <= stop_after) {
        now_ += std::chrono::duration_cast<Monotonic::duration>(std::chrono::duration<double>(left / rate));
        done_ += left;
        finished = {calls_.top().tag, now_ - calls_.top().started};
        calls_.pop();
        return true;
      }
      done_ += rate * stop_after;
      now_ = stop;
      if (now_ >= until) return false;
    }
  }

  // A draw from the standard normal distribution (Box-Muller).
  double normal() {
    return std::sqrt(-2.0 * std::log(1.0 - random_.uniform())) *
           std::cos(2 * std::numbers::pi * random_.uniform());
  }
  Random& random() { return random_; }

 private:
  struct Call {
    double ends_at;  // on the scale of done_
    MonotonicTime started;
    std::uint64_t tag;
    bool operator>(const Call& other) const { return ends_at > other.ends_at; }
  };

  // The machine is not ours alone: its speed changes every 20 ms.
  void change_noise() {
    if (now_ < noise_until_) return;
    noise_until_ = now_ + std::chrono::milliseconds(20);
    factor_ = noise_ > 0 ? std::exp(noise_ * normal() - noise_ * noise_ / 2) : 1.0;
  }

  double draw_work() {
    switch (work_) {
      case Work::constant:
        return 1.0;
      case Work::exponential:
        return -std::log(1.0 - random_.uniform());
      case Work::heavy_tail:
        return random_.uniform() < 0.01 ? 50.0 / 1.49 : 1.0 / 1.49;
    }
    return 1.0;
  }

  Speed speed_;
  Work work_;
  double noise_;
  SeededRandom random_;
  bool stalled_ = false;
  MonotonicTime now_{std::chrono::hours(1)};
  MonotonicTime noise_until_{};
  double factor_ = 1.0;
  double done_ = 0;  // work done so far for a call that was there from the start
  std::priority_queue<Call, std::vector<Call>, std::greater<>> calls_;
};

}  // namespace citadel::resilience::test
