#include "resilience/adaptive_limiter.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.hpp"

namespace citadel::resilience {
namespace {

using namespace std::chrono_literals;

// Growing: the shortest look at a limit; calls may take so much longer at twice the limit for it to double
// again; and it stays where doubling brought at least this much.
constexpr auto grow_window = 15ms;
constexpr double grow_longer_max = 0.22;  // a logarithm
constexpr double grow_gain_min = 0.1;     // likewise
constexpr double grow_doubt_max = 0.1;    // likewise: of the duration to compare with
constexpr std::size_t grow_calls_min = 8;
constexpr std::size_t grow_rounds_max =
    4;  // so many calls for each one in flight, and it decides, certain or not

constexpr std::size_t window_calls_min = 16;
constexpr int window_durations = 3;  // a window holds so many calls one after another
constexpr auto settling_min = 3ms;

// Above this share of calls with somebody waiting, the queue is never empty and the limit bounds throughput;
// below the other one, nobody waits to speak of.
constexpr double saturated = 0.9;
constexpr double nobody = 0.05;
constexpr double mostly_used = 0.9;  // of the limit

constexpr int pairs_max = 8;  // then it is the other side's turn; what was seen is kept
constexpr int demand_pairs_max = 3;
constexpr double fading = 0.8;     // of what was seen, each time it is taken up again
constexpr double certainty = 2.0;  // standard errors
constexpr double noise_initial = 0.15 * 0.15;
constexpr double noise_floor = 0.005 * 0.005;
constexpr double noise_worth = 2.0;  // how many pairs the noise seen before is worth
constexpr double noise_smoothing = 0.3;
constexpr double free_longer_max = 0.1;  // demand-bound: so much longer is still "no longer", as a logarithm
constexpr double linear = 0.75;          // a rise that paid this share of its size starts growing again
// Another load, and not noise: so much more or less throughput, as a logarithm, and so many standard
// deviations.
constexpr double another_load_min = 0.5;
constexpr double another_load_noise = 4.0;
constexpr int long_stride_moves = 2;  // after so many moves one way, strides are long
constexpr double long_stride = 2.0;
constexpr double noise_for_long_stride = 0.06 * 0.06;  // where a small step's effect would drown
constexpr auto rest_when_cheap = 500ms;
constexpr auto unused_rest = 2s;  // where demand is far below the limit, comparisons are not worth much

double seconds(Monotonic::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

AdaptiveLimiter::AdaptiveLimiter(LimiterOptions options, MonotonicTime now)
    : options_(options),
      limit_(options.initial),
      base_(options.initial),
      last_finish_(now),
      filling_since_(now),
      noise_{noise_initial, noise_initial, 0},
      rest_(options.window_min) {
  CITADEL_CHECK(options_.min >= 1 && options_.min <= options_.initial && options_.initial <= options_.max,
                "a limiter needs 1 <= min <= initial <= max");
  CITADEL_CHECK(
      options_.step > 1.0 && options_.window_min.count() > 0 && options_.window_max >= options_.window_min,
      "a limiter steps by more than nothing and measures for some time");
  restart_window(now);
}

LimiterStatus AdaptiveLimiter::status() const {
  LimiterStatus status = status_;
  status.limit = limit_;
  status.base = base_;
  status.growing = growing_;
  status.noise = std::sqrt(noise_.by_count);
  return status;
}

void AdaptiveLimiter::on_finish(MonotonicTime now, Monotonic::duration duration, std::size_t in_flight,
                                bool somebody_waited) {
  const bool silent = went_silent(now);
  last_finish_ = now;
  if (silent) {
    // A rest without work, or a stall. The limit was not the reason: back to what was best, and measure anew.
    if (duration >= options_.stall) ++status_.stalls_total;
    trial_ = Trial{};
    have_rest_reading_ = false;
    grown_from_ = 0;
    limit_ = base_;
    restart_window(now + settling());
    return;
  }
  if (growing_) {
    // Only calls that ran at this limit alone, for their duration is the question.
    if (now - duration < window_.from) return;
    add(duration, in_flight, somebody_waited);
    if (window_.calls >= std::max(grow_calls_min, limit_ / 2) && now >= window_.from + grow_window) grow(now);
    return;
  }
  if (now < window_.from) return;
  if (!window_.open) {
    window_.open = true;
    window_.from = now;
    return;
  }
  add(duration, in_flight, somebody_waited);
  if (window_is_over(now)) climb(now);
}

// --- windows ---

bool AdaptiveLimiter::went_silent(MonotonicTime now) const {
  // Slow queries finish seldom: their own duration is no stall.
  return now - last_finish_ > std::max<Monotonic::duration>(options_.stall, 4 * typical_);
}

void AdaptiveLimiter::restart_window(MonotonicTime from) {
  window_ = Window{.from = from};
}

void AdaptiveLimiter::add(Monotonic::duration duration, std::size_t in_flight, bool somebody_waited) {
  ++window_.calls;
  window_.waited += somebody_waited ? 1 : 0;
  // The logarithm, so that one call of a second among a thousand short ones does not speak for them all.
  const double log_duration = std::log(std::max(seconds(duration), 1e-9));
  window_.log_duration_sum += log_duration;
  window_.log_duration_square_sum += log_duration * log_duration;
  window_.in_flight_sum += static_cast<double>(in_flight + 1);
}

bool AdaptiveLimiter::window_is_over(MonotonicTime now) const {
  const auto length =
      std::clamp<Monotonic::duration>(window_durations * typical_, options_.window_min, options_.window_max);
  const auto passed = now - window_.from;
  if (window_.calls >= window_calls_min && passed >= length) return true;
  return window_.calls > 0 && passed >= options_.window_max;
}

AdaptiveLimiter::Reading AdaptiveLimiter::read(MonotonicTime now) {
  const auto calls = static_cast<double>(window_.calls);
  const double passed = std::max(seconds(now - window_.from), 1e-9);
  const double mean = window_.log_duration_sum / calls;
  const Reading reading{
      .log_rate = std::log(calls / passed),
      .log_duration = mean,
      .log_duration_variance = std::max(0.0, window_.log_duration_square_sum / calls - mean * mean) / calls,
      .waited = static_cast<double>(window_.waited) / calls,
      .in_flight = window_.in_flight_sum / calls};
  status_.throughput = calls / passed;
  status_.duration_seconds = std::exp(reading.log_duration);
  typical_ = std::chrono::duration_cast<Monotonic::duration>(
      std::chrono::duration<double>(status_.duration_seconds));
  return reading;
}

// Until calls that began at another limit have ended, mostly.
Monotonic::duration AdaptiveLimiter::settling() const {
  return std::clamp<Monotonic::duration>(typical_ * 3 / 2, settling_min, options_.window_max / 2);
}

void AdaptiveLimiter::move_to(std::size_t limit, MonotonicTime now) {
  const bool moves = limit != limit_;
  limit_ = limit;
  if (moves) filling_since_ = now;
  restart_window(moves ? now + settling() : now);
}

// --- sessions that are still being opened ---

bool AdaptiveLimiter::lacks_sessions(const Reading& reading) const {
  return reading.waited >= saturated && reading.in_flight < mostly_used * static_cast<double>(limit_);
}

void AdaptiveLimiter::wait_for_sessions(MonotonicTime now, const Reading& reading) {
  if (now - filling_since_ < options_.fill_max) return restart_window(now);
  const auto busy = static_cast<std::size_t>(std::ceil(reading.in_flight));
  stop_growing(std::clamp(busy, options_.min, options_.max), false, now);
}

// --- growing ---

void AdaptiveLimiter::start_growing(MonotonicTime now) {
  growing_ = true;
  grown_from_ = 0;
  trial_ = Trial{};
  limit_ = base_;
  filling_since_ = now;
  restart_window(now);
}

void AdaptiveLimiter::grow(MonotonicTime now) {
  const Reading reading = read(now);
  if (lacks_sessions(reading)) return wait_for_sessions(now, reading);
  if (reading.waited < 0.5) return stop_growing(limit_, true, now);
  const bool enough = window_.calls >= grow_rounds_max * limit_;
  if (grown_from_ == 0) {
    if (std::sqrt(reading.log_duration_variance) > grow_doubt_max && !enough) return;
  } else {
    const double longer = reading.log_duration - grown_from_reading_.log_duration;
    const double doubt = std::sqrt(reading.log_duration_variance + grown_from_reading_.log_duration_variance);
    if (std::abs(longer - grow_longer_max) < doubt && !enough) return;
    // What is still in doubt goes up where it is not unlikely to pay: climbing mends it.
    const double gain = std::log(static_cast<double>(limit_) / static_cast<double>(grown_from_)) - longer;
    if (gain + doubt / 2 < grow_gain_min) return stop_growing(grown_from_, false, now);
    ++status_.raised_total;
    if (longer - doubt > grow_longer_max) return stop_growing(limit_, true, now);
  }
  if (limit_ == options_.max) return stop_growing(limit_, false, now);
  grown_from_ = limit_;
  grown_from_reading_ = reading;
  base_ = limit_;
  limit_ = std::min(limit_ * 2, options_.max);
  filling_since_ = now;
  restart_window(now);
}

void AdaptiveLimiter::stop_growing(std::size_t base, bool next_up, MonotonicTime now) {
  growing_ = false;
  grown_from_ = 0;
  base_ = base;
  next_up_ = next_up;
  rejects_in_row_ = moves_in_row_ = 0;
  rest_ = options_.window_min;
  forget_pending();
  begin_rest(now);
}

// --- climbing ---

void AdaptiveLimiter::climb(MonotonicTime now) {
  const Reading reading = read(now);
  if (lacks_sessions(reading)) return wait_for_sessions(now, reading);
  filling_since_ = now;
  if (trial_.limit != 0) {
    go_on_with_trial(now, reading);
  } else {
    rest(now, reading);
  }
}

void AdaptiveLimiter::begin_rest(MonotonicTime now) {
  rest_until_ = now + rest_;
  have_rest_reading_ = false;
  trial_ = Trial{};
  move_to(base_, now);
}

bool AdaptiveLimiter::is_another_load(const Reading& before, const Reading& now) const {
  const double threshold = std::max(another_load_min, another_load_noise * std::sqrt(noise_.by_count));
  return std::abs(now.log_rate - before.log_rate) > threshold ||
         std::abs(now.log_duration - before.log_duration) > threshold;
}

void AdaptiveLimiter::rest(MonotonicTime now, const Reading& reading) {
  if (!have_rest_reading_) {
    rest_reading_ = reading;
    have_rest_reading_ = true;
  }
  if (is_another_load(rest_reading_, reading)) return start_anew(now);
  if (now < rest_until_) return restart_window(now);
  begin_trial(now, reading);
}

// For another load, nothing of what was learned holds, but for the limit itself.
void AdaptiveLimiter::start_anew(MonotonicTime now) {
  forget_pending();
  noise_ = {noise_initial, noise_initial, 0};
  next_up_ = true;
  start_growing(now);
}

bool AdaptiveLimiter::may_try(bool up, const Reading& reading) const {
  if (up) return base_ < options_.max && reading.waited >= nobody;
  // Where few of the sessions are used, demand is small, and there is nothing to gain below.
  return base_ > options_.min &&
         (reading.waited >= saturated || reading.in_flight >= 0.5 * static_cast<double>(base_));
}

double AdaptiveLimiter::stride() const {
  const bool long_one = moves_in_row_ >= long_stride_moves ||
                        std::min(noise_.by_count, noise_.by_duration) > noise_for_long_stride;
  return long_one ? std::max(long_stride, options_.step) : options_.step;
}

std::size_t AdaptiveLimiter::step_from(std::size_t limit, bool up) const {
  const double factor = stride();
  const auto exact = static_cast<double>(limit);
  const auto next = up ? std::max(limit + 1, static_cast<std::size_t>(exact * factor))
                       : std::min(limit - 1, static_cast<std::size_t>(std::ceil(exact / factor)));
  return std::clamp(next, options_.min, options_.max);
}

void AdaptiveLimiter::begin_trial(MonotonicTime now, Reading reading) {
  if (!may_try(next_up_, reading)) {
    next_up_ = !next_up_;
    moves_in_row_ = 0;
  }
  if (!may_try(next_up_, reading)) {
    rest_ = unused_rest;
    return begin_rest(now);
  }
  // A limit far above what is in use would not be felt one step below.
  const auto used =
      std::clamp(static_cast<std::size_t>(std::ceil(reading.in_flight)), options_.min + 1, options_.max);
  trial_ = Trial{};
  trial_.limit = step_from(next_up_ ? base_ : std::min(base_, used), next_up_);
  trial_.up = next_up_;
  trial_.begun = now;
  trial_.base = reading;
  auto& pending = next_up_ ? pending_up_ : pending_down_;
  if (pending.base == base_ && pending.evidence.count > 0 && moves_in_row_ < long_stride_moves) {
    trial_.limit = pending.limit;
    trial_.evidence = pending.evidence;
    trial_.evidence.fade(fading);
  }
  pending = Pending{};
  move_to(base_, now);
}

void AdaptiveLimiter::forget_pending() {
  pending_up_ = Pending{};
  pending_down_ = Pending{};
}

void AdaptiveLimiter::go_on_with_trial(MonotonicTime now, const Reading& reading) {
  if (!trial_.have_first) {
    trial_.first = reading;
    trial_.have_first = true;
    trial_.at_trial = !trial_.at_trial;
    return move_to(trial_.at_trial ? trial_.limit : base_, now);
  }
  const Reading& base = trial_.at_trial ? trial_.first : reading;
  if (is_another_load(trial_.base, base)) return start_anew(now);
  end_pair(base, trial_.at_trial ? reading : trial_.first);
  switch (judge()) {
    case Verdict::accept:
      return accept(now);
    case Verdict::reject:
      return reject(now, true);
    case Verdict::undecided:
      if (trial_.pairs >= pairs_max) return reject(now, false);
      // The next pair begins on the side where this one ended.
      trial_.have_first = false;
      return restart_window(now);
  }
}

void AdaptiveLimiter::end_pair(const Reading& base, const Reading& trial) {
  const double longer = trial.log_duration - base.log_duration;
  trial_.evidence.add(trial.log_rate - base.log_rate, std::log(trial.in_flight / base.in_flight) - longer);
  trial_.evidence.longer += longer;
  trial_.evidence.waited += base.waited;
  trial_.base = base;
  trial_.tried = trial;
  ++trial_.pairs;
}

// --- evidence ---

void AdaptiveLimiter::Evidence::add(double gain_by_count, double gain_by_duration) {
  count += 1;
  by_count += gain_by_count;
  by_duration += gain_by_duration;
  by_count_square += gain_by_count * gain_by_count;
  by_duration_square += gain_by_duration * gain_by_duration;
  product += gain_by_count * gain_by_duration;
}

void AdaptiveLimiter::Evidence::fade(double share) {
  for (auto* sum :
       {&count, &by_count, &by_duration, &by_count_square, &by_duration_square, &product, &longer, &waited}) {
    *sum *= share;
  }
}

AdaptiveLimiter::Noise AdaptiveLimiter::Evidence::noise(const Noise& before) const {
  const double total = std::max(noise_worth + count - 1.0, noise_worth);
  const auto blend = [&](double old, double seen) { return (noise_worth * old + seen) / total; };
  return {.by_count =
              std::max(noise_floor, blend(before.by_count, by_count_square - by_count * by_count / count)),
          .by_duration = std::max(
              noise_floor, blend(before.by_duration, by_duration_square - by_duration * by_duration / count)),
          .both = blend(before.both, product - by_count * by_duration / count)};
}

void AdaptiveLimiter::learn_noise() {
  const auto seen = trial_.evidence.noise(noise_);
  noise_.by_count += noise_smoothing * (seen.by_count - noise_.by_count);
  noise_.by_duration += noise_smoothing * (seen.by_duration - noise_.by_duration);
  noise_.both += noise_smoothing * (seen.both - noise_.both);
}

AdaptiveLimiter::Gain AdaptiveLimiter::gain() const {
  const auto& seen = trial_.evidence;
  const auto noise = seen.noise(noise_);
  // The weights of least variance.
  const double spread = noise.by_count + noise.by_duration - 2 * noise.both;
  const double weight = spread > 0 ? std::clamp((noise.by_duration - noise.both) / spread, 0.0, 1.0) : 0.5;
  const double rest = 1 - weight;
  const double variance =
      weight * weight * noise.by_count + rest * rest * noise.by_duration + 2 * weight * rest * noise.both;
  return {.mean = (weight * seen.by_count + rest * seen.by_duration) / seen.count,
          .doubt = certainty * std::sqrt(std::max(variance, noise_floor) / seen.count)};
}

AdaptiveLimiter::Verdict AdaptiveLimiter::judge() const {
  const auto gain = this->gain();
  if (trial_.evidence.waited / trial_.evidence.count < saturated) return judge_demand_bound(gain);
  const double wanted = trial_.up ? options_.gain_min : -options_.loss_max;
  if (gain.mean - gain.doubt > wanted) return Verdict::accept;
  if (gain.mean + gain.doubt < wanted) return Verdict::reject;
  return Verdict::undecided;
}

AdaptiveLimiter::Verdict AdaptiveLimiter::judge_demand_bound(const Gain& gain) const {
  if (!trial_.up) {
    if (gain.mean - gain.doubt > options_.gain_min) return Verdict::accept;
    // What demand bounds is equal at any limit that suffices, and to find that out for certain takes long.
    const bool promising = gain.mean > options_.gain_min || trial_.pairs < demand_pairs_max;
    return promising ? Verdict::undecided : Verdict::reject;
  }
  if (trial_.pairs < 2) return Verdict::undecided;
  const bool free =
      trial_.evidence.longer / trial_.evidence.count < free_longer_max && gain.mean + gain.doubt > 0;
  return free ? Verdict::accept : Verdict::reject;
}

void AdaptiveLimiter::accept(MonotonicTime now) {
  const bool up = trial_.up;
  const auto to = trial_.limit;
  const double paid = gain().mean / std::log(static_cast<double>(to) / static_cast<double>(base_));
  ++(up ? status_.raised_total : status_.lowered_total);
  learn_noise();
  forget_pending();
  base_ = to;
  ++moves_in_row_;
  rejects_in_row_ = 0;
  rest_ = options_.window_min;
  if (up && paid > linear && to < options_.max) return start_growing(now);
  begin_trial(now, trial_.tried);
}

void AdaptiveLimiter::reject(MonotonicTime now, bool certain) {
  ++status_.rejected_total;
  const double loss = std::clamp(1.0 - std::exp(gain().mean), 0.0, 1.0);
  learn_noise();
  if (!certain) {
    (trial_.up ? pending_up_ : pending_down_) = {
        .base = base_, .limit = trial_.limit, .evidence = trial_.evidence};
  }
  // A long stride that went too far is tried again as a short one.
  const bool too_far = std::exchange(moves_in_row_, 0) >= long_stride_moves;
  if (too_far && certain) return begin_trial(now, trial_.base);
  next_up_ = !next_up_;
  const bool unused = certain && trial_.base.waited < nobody &&
                      trial_.base.in_flight < mostly_used * static_cast<double>(base_);
  if (++rejects_in_row_ < 2 && !unused) return begin_trial(now, trial_.base);

  // Neither side is better. Half of the comparison ran at the worse limit: rest until that is a small share.
  const double cost = loss * seconds(now - trial_.begun) / 2;
  const auto repaid = std::chrono::duration_cast<Monotonic::duration>(
      std::chrono::duration<double>(cost / options_.regret_max));
  // What is in doubt is looked at again soon.
  if (certain) rest_ = std::min<Monotonic::duration>(rest_ * 2, rest_when_cheap);
  rest_ = std::max(rest_, repaid);
  if (unused) rest_ = std::max<Monotonic::duration>(rest_, unused_rest);
  rest_ = std::min<Monotonic::duration>(rest_, options_.rest_max);
  begin_rest(now);
}

}  // namespace citadel::resilience
