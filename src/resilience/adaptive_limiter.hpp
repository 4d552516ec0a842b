// AdaptiveLimiter: how many sessions to keep busy, so that the database finishes as much as it can.
//
// A hundred sessions are a ceiling, not a goal. Where a server is bound by its cores, more sessions only wait
// inside it and cost it time (through Pgpool-II on two cores: 12.7k point selects a second with 10 busy, 9.3k
// with 100); where queries wait for something else, throughput grows with every session. The limiter finds
// out which, and follows.
//
//   AdaptiveLimiter limiter({.min = 2, .max = 100}, now);
//   start:   if (in_flight < limiter.limit()) ++in_flight, …
//   finish:  --in_flight; limiter.on_finish(now, duration, in_flight, somebody_waited);
//
// How it decides. It is in one of two modes:
// - growing, at the start and whenever a rise paid almost fully: the limit doubles as long as calls take no
//   longer.
// - climbing: it compares the limit with one step above or below, in alternating windows (A B, B A, A B, …),
//   so that a drift of the load cancels out. It goes up where throughput gains for certain, and down where it
//   certainly does not lose: of equals the smaller wins. Noise makes it wait, not move. Where neither side is
//   better it rests, up to rest_max, unless throughput or duration change meanwhile.
// Where demand alone bounds throughput (nobody waited, or seldom), it goes down only where fewer sessions
// finish more, and up where more sessions spare callers a wait without costing the database time. A stall, in
// which nothing finishes, throws the comparison away: it tells nothing about the limit. Nor does a window in
// which callers waited though fewer were busy than the limit allows: their sessions are still being opened.
// It waits for them, up to fill_max, and then takes what it can have for the limit.
//
// Sources: hill climbing on throughput as in the .NET ThreadPool (Hellerstein, Morrison, Eilebrecht 2009);
// slow start and the look at durations as in TCP Vegas (Brakmo, Peterson 1995) and Netflix's
// concurrency-limits; the ABBA order of comparisons from metrology. Pure: no clock of its own, no chance, no
// allocation. Single executor.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/clock.hpp"

namespace citadel::resilience {

struct LimiterOptions {
  std::size_t min = 2;
  std::size_t max = 100;
  std::size_t initial = 10;
  std::chrono::milliseconds window_min{40};     // the shortest measurement
  std::chrono::milliseconds window_max{1'000};  // the longest, for slow queries
  std::chrono::milliseconds rest_max{10'000};   // between comparisons, when nothing changes
  std::chrono::milliseconds stall{500};  // this long without a finished call tells nothing about the limit
  std::chrono::milliseconds fill_max{2'000};  // for the sessions that a higher limit needs
  double step = 1.4;                          // a comparison's distance
  double gain_min = 0.01;                     // up only for more than this share of throughput
  double loss_max = 0.01;                     // down only where less than this share is lost
  double regret_max = 0.02;  // comparisons may cost this share of throughput: dear ones are made seldom
};

struct LimiterStatus {
  std::size_t limit = 0;  // now, which may be one that is being tried
  std::size_t base = 0;   // what it takes for best
  bool growing = false;
  double throughput = 0;        // calls a second in the last whole window
  double duration_seconds = 0;  // geometric mean in it
  double noise = 0;             // of a comparison: standard deviation of throughput's ratio
  std::uint64_t raised_total = 0, lowered_total = 0, rejected_total = 0, stalls_total = 0;
};

class AdaptiveLimiter {
 public:
  // CHECK: 1 ≤ min ≤ initial ≤ max, step > 1.
  AdaptiveLimiter(LimiterOptions options, MonotonicTime now);

  // How many may be busy now. More may be, for a while: calls that run are never stopped for it.
  std::size_t limit() const { return limit_; }

  // A call has ended after `duration`; `in_flight` are still busy. `somebody_waited`: there is, or was while
  // this call ran, a caller who waits for a session. Leave out calls whose session broke: they tell nothing
  // about the limit.
  void on_finish(MonotonicTime now, Monotonic::duration duration, std::size_t in_flight,
                 bool somebody_waited);

  LimiterStatus status() const;

 private:
  // What is seen in a stretch of time. The call that opens it is not counted: it ended at its beginning.
  struct Window {
    MonotonicTime from{};  // opens with the first call that ends then or later
    bool open = false;
    std::size_t calls = 0;
    std::size_t waited = 0;  // of them, those while somebody waited
    double log_duration_sum = 0, log_duration_square_sum = 0;
    double in_flight_sum = 0;
  };
  // A finished window. Logarithms of calls a second and of seconds; a difference of them is a ratio.
  struct Reading {
    double log_rate = 0;
    double log_duration = 0;
    double log_duration_variance = 0;  // of the mean
    double waited = 0;                 // share of calls
    double in_flight = 0;
  };
  // How far comparisons scatter: variances of one pair's gain by the number of calls and by their duration,
  // and the covariance.
  struct Noise {
    double by_count, by_duration, both;
  };
  // What pairs of windows showed. Throughput shows in the number of calls a second and, by Little's law, in
  // the calls in flight over their duration. Which is steadier depends on the load, so they are weighed by
  // their scatter.
  struct Evidence {
    double count = 0, by_count = 0, by_duration = 0;  // sums of the log ratio of throughput, trial to base
    double by_count_square = 0, by_duration_square = 0, product = 0;
    double longer = 0;  // sum of the log ratio of duration
    double waited = 0;  // sum of the base's share

    void add(double gain_by_count, double gain_by_duration);
    void fade(double share);
    // Together with the noise seen before, since a few pairs say little about it.
    Noise noise(const Noise& before) const;
  };
  struct Gain {
    double mean, doubt;  // true gain ± doubt
  };
  // A comparison of base_ with `limit`.
  struct Trial {
    std::size_t limit = 0;  // 0: none is running
    bool up = false;
    bool at_trial = false;    // which side is being measured
    bool have_first = false;  // of the pair
    Reading first{};
    Reading base{}, tried{};  // the last ones
    int pairs = 0;
    Evidence evidence{};
    MonotonicTime begun{};
  };
  // An undecided comparison, to be gone on with.
  struct Pending {
    std::size_t base = 0, limit = 0;
    Evidence evidence{};
  };
  enum class Verdict : std::uint8_t { undecided, accept, reject };

  bool went_silent(MonotonicTime now) const;
  void restart_window(MonotonicTime from);
  void add(Monotonic::duration duration, std::size_t in_flight, bool somebody_waited);
  bool window_is_over(MonotonicTime now) const;
  Reading read(MonotonicTime now);
  Monotonic::duration settling() const;
  void move_to(std::size_t limit, MonotonicTime now);

  void start_growing(MonotonicTime now);
  void grow(MonotonicTime now);
  void stop_growing(std::size_t base, bool next_up, MonotonicTime now);

  bool lacks_sessions(const Reading& reading) const;
  void wait_for_sessions(MonotonicTime now, const Reading& reading);

  void climb(MonotonicTime now);
  bool is_another_load(const Reading& before, const Reading& now) const;
  void start_anew(MonotonicTime now);
  void rest(MonotonicTime now, const Reading& reading);
  void begin_rest(MonotonicTime now);
  bool may_try(bool up, const Reading& reading) const;
  void begin_trial(MonotonicTime now, Reading reading);
  void go_on_with_trial(MonotonicTime now, const Reading& reading);
  void end_pair(const Reading& base, const Reading& trial);
  Gain gain() const;
  void learn_noise();
  Verdict judge() const;
  Verdict judge_demand_bound(const Gain& gain) const;
  void accept(MonotonicTime now);
  void reject(MonotonicTime now, bool certain);
  void forget_pending();
  double stride() const;
  std::size_t step_from(std::size_t limit, bool up) const;

  LimiterOptions options_;
  std::size_t limit_;
  std::size_t base_;
  Window window_;
  Monotonic::duration typical_{};  // a call's duration in the last window
  MonotonicTime last_finish_;
  MonotonicTime filling_since_;  // since when sessions are lacking, or may be

  bool growing_ = true;
  std::size_t grown_from_ = 0;  // growing: the limit before; 0: there is nothing to compare with yet
  Reading grown_from_reading_;  // growing: at it

  Trial trial_;
  Pending pending_down_, pending_up_;
  Noise noise_;
  bool next_up_ = true;
  int moves_in_row_ = 0;
  int rejects_in_row_ = 0;
  Monotonic::duration rest_;
  MonotonicTime rest_until_{};
  bool have_rest_reading_ = false;
  Reading rest_reading_;
  LimiterStatus status_;
};

}  // namespace citadel::resilience
