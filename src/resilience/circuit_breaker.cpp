#include "resilience/circuit_breaker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.hpp"

namespace citadel::resilience {
namespace {

constexpr std::uint8_t failed_bit = 1;
constexpr std::uint8_t slow_bit = 2;
// Beyond this many the open time has long reached its ceiling.
constexpr int openings_in_row_max = 32;
constexpr double open_jitter = 0.2;
constexpr std::size_t reason_text_max = 200;

double share(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string_view to_string(BreakerState state) {
  switch (state) {
    case BreakerState::closed:
      return "closed";
    case BreakerState::open:
      return "open";
    case BreakerState::half_open:
      return "half_open";
    case BreakerState::forced_open:
      return "forced_open";
    case BreakerState::forced_closed:
      return "forced_closed";
    case BreakerState::observe_only:
      return "observe_only";
  }
  return "closed";
}

Outcome classify(const Error& error, Monotonic::duration took, const BreakerOptions& options) {
  switch (error.code) {
    case Code::unavailable:
    case Code::connection_lost:
    case Code::commit_unknown:
    case Code::io_error:
    case Code::corrupt:
    case Code::unauthenticated:
      return Outcome::failure;
    case Code::deadline_exceeded:
      return took >= options.answer_within ? Outcome::failure : Outcome::ignored;
    case Code::statement_timeout:
      return Outcome::success;
    // A local limit, or the caller's own wish: whatever SQLSTATE it carries says nothing of the database's
    // health.
    case Code::overloaded:
    case Code::cancelled:
      return Outcome::ignored;
    default:
      return error.sqlstate[0] != '\0' ? Outcome::success : Outcome::ignored;
  }
}

// --- Permit ---

void CircuitBreaker::Permit::record(Outcome outcome, Monotonic::duration took) {
  auto* breaker = std::exchange(breaker_, nullptr);
  if (breaker != nullptr) breaker->settle(epoch_, outcome, took >= breaker->options_.slow_call);
}

void CircuitBreaker::Permit::failed(const Error& error, Monotonic::duration took) {
  if (breaker_ == nullptr) return;
  const auto outcome = classify(error, took, breaker_->options_);
  if (outcome == Outcome::failure) {
    breaker_->last_failure_ =
        fmt::format("{}: {}", to_string(error.code), error.message).substr(0, reason_text_max);
  }
  record(outcome, took);
}

void CircuitBreaker::Permit::release() noexcept {
  auto* breaker = std::exchange(breaker_, nullptr);
  if (breaker != nullptr) breaker->settle(epoch_, Outcome::ignored, false);
}

// --- lending ---

CircuitBreaker::CircuitBreaker(BreakerOptions options, const Clock& clock, Random& random)
    : options_(options),
      clock_(clock),
      random_(random),
      entered_at_(clock.monotonic()),
      slice_time_(Monotonic::duration(options.window_time) / slice_count) {
  CITADEL_CHECK(options_.window_calls > 0 && options_.calls_min > 0 && options_.failures_in_row > 0 &&
                    options_.half_open_permits > 0,
                "a breaker decides from at least one call");
  CITADEL_CHECK(slice_time_.count() > 0, "the breaker's window is a positive time");
  CITADEL_CHECK(options_.window == WindowKind::time || options_.calls_min <= options_.window_calls,
                "calls_min never fits the breaker's window");
  CITADEL_CHECK(options_.open_multiplier >= 1.0 && options_.open_initial.count() > 0 &&
                    options_.open_ceiling >= options_.open_initial,
                "the breaker's open time does not shrink");
  if (options_.window == WindowKind::count) last_calls_.reserve(options_.window_calls);
}

CircuitBreaker::~CircuitBreaker() {
  CITADEL_CHECK(totals_.permits_out == 0, "a breaker was destroyed before its permits");
}

Result<CircuitBreaker::Permit> CircuitBreaker::acquire() {
  if (state_ == BreakerState::closed) [[likely]]
    return lend();
  return acquire_not_closed();
}

Result<CircuitBreaker::Permit> CircuitBreaker::acquire_not_closed() {
  if (state_ == BreakerState::open && clock_.monotonic() >= open_until_) {
    enter(BreakerState::half_open, "the open time is over");
  }
  switch (state_) {
    case BreakerState::open:
    case BreakerState::forced_open:
      return refuse();
    case BreakerState::half_open:
      if (half_open_lent_ >= options_.half_open_permits) return refuse();
      ++half_open_lent_;
      return lend();
    default:
      return lend();
  }
}

CircuitBreaker::Permit CircuitBreaker::lend() {
  ++totals_.permits_out;
  ++totals_.permitted_total;
  return Permit(this, epoch_);
}

std::unexpected<Error> CircuitBreaker::refuse() {
  ++totals_.refused_total;
  if (state_ == BreakerState::open) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(open_until_ - clock_.monotonic());
    return fail(Code::unavailable,
                fmt::format("the circuit breaker is open for another {} ms: {}", left.count(), reason_),
                Retry::safe);
  }
  return fail(Code::unavailable, fmt::format("the circuit breaker is {}: {}", to_string(state_), reason_),
              state_ == BreakerState::forced_open ? Retry::never : Retry::safe);
}

bool CircuitBreaker::would_permit() const {
  switch (state_) {
    case BreakerState::open:
      return clock_.monotonic() >= open_until_;
    case BreakerState::forced_open:
      return false;
    case BreakerState::half_open:
      return half_open_lent_ < options_.half_open_permits;
    default:
      return true;
  }
}

// --- outcomes ---

void CircuitBreaker::settle(std::uint64_t epoch, Outcome outcome, bool slow) {
  --totals_.permits_out;
  switch (outcome) {
    case Outcome::success:
      ++totals_.success_total;
      break;
    case Outcome::failure:
      ++totals_.failure_total;
      break;
    case Outcome::ignored:
      ++totals_.ignored_total;
      break;
  }
  if (outcome != Outcome::ignored && slow) ++totals_.slow_total;
  if (epoch != epoch_) return;

  const bool failed = outcome == Outcome::failure;
  if (state_ == BreakerState::half_open) {
    if (outcome == Outcome::ignored) {
      --half_open_lent_;
    } else {
      settle_half_open(failed, slow);
    }
    return;
  }
  if (outcome == Outcome::ignored || state_ == BreakerState::forced_closed) return;
  add_to_window(failed, slow);
  count_in_row(failed);
  if (!(failed || slow) || !(rates_reached() || failed_for_long())) return;
  if (state_ == BreakerState::closed) {
    open(rates_text());
  } else if (state_ == BreakerState::observe_only) {
    ++totals_.would_open_total;
    reason_ = "would have opened: " + rates_text();
    clear_window();
  }
}

void CircuitBreaker::settle_half_open(bool failed, bool slow) {
  ++half_open_answers_;
  half_open_failures_ += failed ? 1 : 0;
  half_open_slow_ += slow ? 1 : 0;
  // Against all permits, not those answered so far: one failure among the first must not decide alone.
  const double failure_rate = share(half_open_failures_, options_.half_open_permits);
  const double slow_rate = share(half_open_slow_, options_.half_open_permits);
  if (failure_rate >= options_.failure_rate || slow_rate >= options_.slow_call_rate) {
    open(fmt::format("{} of {} trial calls failed, {} were slow{}{}", half_open_failures_, half_open_answers_,
                     half_open_slow_, last_failure_.empty() ? "" : "; last: ", last_failure_));
  } else if (half_open_answers_ >= options_.half_open_permits) {
    enter(BreakerState::closed, fmt::format("{} trial calls went well", half_open_answers_));
  }
}

// --- window ---

void CircuitBreaker::add_to_window(bool failed, bool slow) {
  if (options_.window == WindowKind::count) {
    add_by_count(failed, slow);
  } else {
    add_by_time(failed, slow);
  }
}

void CircuitBreaker::add_by_count(bool failed, bool slow) {
  const auto call = static_cast<std::uint8_t>((failed ? failed_bit : 0) | (slow ? slow_bit : 0));
  if (last_calls_.size() < options_.window_calls) {
    last_calls_.push_back(call);
    ++sum_.calls;
  } else {
    const auto old = std::exchange(last_calls_[next_call_], call);
    sum_.failures -= (old & failed_bit) != 0 ? 1 : 0;
    sum_.slow -= (old & slow_bit) != 0 ? 1 : 0;
    next_call_ = (next_call_ + 1) % options_.window_calls;
  }
  sum_.failures += failed ? 1 : 0;
  sum_.slow += slow ? 1 : 0;
}

void CircuitBreaker::expire_slices(std::uint64_t tick) {
  if (sum_.tick == tick) return;
  sum_ = Slice{.tick = tick};
  for (auto& slice : slices_) {
    if (slice.tick + slice_count <= tick) {
      slice = Slice{};
    } else {
      sum_.calls += slice.calls;
      sum_.failures += slice.failures;
      sum_.slow += slice.slow;
    }
  }
}

void CircuitBreaker::add_by_time(bool failed, bool slow) {
  const auto tick = static_cast<std::uint64_t>(clock_.monotonic().time_since_epoch() / slice_time_);
  expire_slices(tick);
  auto& slice = slices_[tick % slice_count];
  slice.tick = tick;
  for (auto* into : {&slice, &sum_}) {
    ++into->calls;
    into->failures += failed ? 1 : 0;
    into->slow += slow ? 1 : 0;
  }
}

void CircuitBreaker::clear_window() {
  failures_in_row_ = 0;
  sum_ = Slice{};
  slices_.fill(Slice{});
  last_calls_.clear();
  next_call_ = 0;
}

void CircuitBreaker::count_in_row(bool failed) {
  if (!failed) {
    failures_in_row_ = 0;
    return;
  }
  if (failures_in_row_++ == 0) failing_since_ = clock_.monotonic();
}

bool CircuitBreaker::failed_for_long() const {
  return failures_in_row_ >= options_.failures_in_row &&
         clock_.monotonic() - failing_since_ >= options_.failing_for;
}

bool CircuitBreaker::rates_reached() const {
  return sum_.calls >= options_.calls_min && (share(sum_.failures, sum_.calls) >= options_.failure_rate ||
                                              share(sum_.slow, sum_.calls) >= options_.slow_call_rate);
}

std::string CircuitBreaker::rates_text() const {
  auto text = fmt::format("failure rate {:.2f}, slow call rate {:.2f} of {} calls",
                          share(sum_.failures, sum_.calls), share(sum_.slow, sum_.calls), sum_.calls);
  if (failures_in_row_ > 1) text += fmt::format(", the last {} failed", failures_in_row_);
  if (!last_failure_.empty()) text += "; last: " + last_failure_;
  return text;
}

// --- transitions ---

Monotonic::duration CircuitBreaker::next_open_time(MonotonicTime now) {
  // From half_open the trial failed; from closed the trust was too early where it lasted less than the time
  // it stayed open before.
  const bool in_row =
      state_ == BreakerState::half_open || (openings_in_row_ > 0 && now - entered_at_ < last_open_);
  openings_in_row_ = in_row ? std::min(openings_in_row_ + 1, openings_in_row_max) : 1;
  const double scaled = static_cast<double>(options_.open_initial.count()) *
                        std::pow(options_.open_multiplier, openings_in_row_ - 1);
  const double capped = std::min(scaled, static_cast<double>(options_.open_ceiling.count()));
  const double jittered = capped * (1.0 - open_jitter * random_.uniform());
  return std::chrono::duration_cast<Monotonic::duration>(std::chrono::duration<double, std::milli>(jittered));
}

void CircuitBreaker::open(std::string reason) {
  const auto now = clock_.monotonic();
  last_open_ = next_open_time(now);
  open_until_ = now + last_open_;
  enter(BreakerState::open, std::move(reason));
}

void CircuitBreaker::enter(BreakerState to, std::string reason) {
  const auto from = std::exchange(state_, to);
  ++epoch_;
  ++totals_.entered_total[static_cast<std::size_t>(to)];
  entered_at_ = clock_.monotonic();
  reason_ = std::move(reason);
  half_open_lent_ = 0;
  half_open_answers_ = half_open_failures_ = half_open_slow_ = 0;
  clear_window();
  if (to == BreakerState::closed) last_failure_.clear();
  // A copy: the listener may force the breaker and so change reason_.
  if (listener_) listener_(from, to, std::string(reason_));
}

void CircuitBreaker::force(BreakerState state, std::string_view reason) {
  CITADEL_CHECK(state != BreakerState::open && state != BreakerState::half_open,
                "open and half_open are the breaker's own decisions");
  openings_in_row_ = 0;
  enter(state, std::string(reason));
}

BreakerStatus CircuitBreaker::status() const {
  BreakerStatus status = totals_;
  status.state = state_;
  status.reason = reason_;
  const auto now = clock_.monotonic();
  Slice sum = sum_;
  if (options_.window == WindowKind::time) {
    // Slices that have expired since the last call do not show.
    const auto tick = static_cast<std::uint64_t>(now.time_since_epoch() / slice_time_);
    sum = Slice{};
    for (const auto& slice : slices_) {
      if (slice.tick + slice_count <= tick) continue;
      sum.calls += slice.calls;
      sum.failures += slice.failures;
      sum.slow += slice.slow;
    }
  }
  status.calls = sum.calls;
  status.failure_rate = share(sum.failures, sum.calls);
  status.slow_call_rate = share(sum.slow, sum.calls);
  if (state_ == BreakerState::open)
    status.retry_after = std::max(open_until_ - now, Monotonic::duration::zero());
  return status;
}

}  // namespace citadel::resilience
