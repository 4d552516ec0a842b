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
#include <functional>
#include <map>
#include <numbers>
#include <unordered_map>
#include <utility>

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
  TestServer(Speed speed, Work work, double noise, std::uint64_t seed,
             MonotonicTime begin = MonotonicTime(std::chrono::hours(1)))
      : speed_(std::move(speed)), work_(work), noise_(noise), random_(seed), now_(begin) {}

  void set_speed(Speed speed) { speed_ = std::move(speed); }
  void set_stalled(bool stalled) { stalled_ = stalled; }

  MonotonicTime now() const { return now_; }
  std::size_t in_flight() const { return calls_.size(); }

  // `tag` is not in use.
  void start(std::uint64_t tag) {
    const double ends_at = done_ + draw_work();
    calls_.emplace(Key{ends_at, tag}, now_);
    ends_.emplace(tag, ends_at);
  }
  // The client has gone, and its session with it.
  void abandon(std::uint64_t tag) {
    const auto end = ends_.find(tag);
    if (end == ends_.end()) return;
    calls_.erase(Key{end->second, tag});
    ends_.erase(end);
  }
  // When something changes next, if nobody starts or abandons a call; max() where nothing does.
  MonotonicTime next_event() {
    change_noise();
    if (calls_.empty() || stalled_) return MonotonicTime::max();
    const double left = std::max(0.0, calls_.begin()->first.first - done_);
    const auto end =
        now_ + std::chrono::ceil<Monotonic::duration>(std::chrono::duration<double>(left / rate()));
    return std::min(end, noise_until_);
  }

  struct Finished {
    std::uint64_t tag = 0;
    Monotonic::duration duration{};
  };
  // Goes on to the next call's end, or to `until` where that comes first (then false).
  bool run(MonotonicTime until, Finished& finished) {
    while (true) {
      change_noise();
      const auto stop = std::min(until, noise_until_);
      const double rate = this->rate();
      const double left = calls_.empty() ? 0 : std::max(0.0, calls_.begin()->first.first - done_);
      const double stop_after = std::chrono::duration<double>(stop - now_).count();
      if (rate > 0 && left / rate <= stop_after) {
        now_ += std::chrono::duration_cast<Monotonic::duration>(std::chrono::duration<double>(left / rate));
        done_ += left;
        const auto call = calls_.begin();
        finished = {call->first.second, now_ - call->second};
        ends_.erase(finished.tag);
        calls_.erase(call);
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
  using Key = std::pair<double, std::uint64_t>;  // where it ends on the scale of done_, tag

  double rate() const {
    if (calls_.empty() || stalled_) return 0;
    return factor_ * speed_(calls_.size()) / static_cast<double>(calls_.size());
  }

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
  MonotonicTime now_;
  MonotonicTime noise_until_{};
  double factor_ = 1.0;
  double done_ = 0;                     // work done so far for a call that was there from the start
  std::map<Key, MonotonicTime> calls_;  // since when
  std::unordered_map<std::uint64_t, double> ends_;
};

}  // namespace citadel::resilience::test
