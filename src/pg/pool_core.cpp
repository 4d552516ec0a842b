#include "pg/pool_core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.hpp"

namespace citadel::pg {
namespace {

constexpr double lifetime_jitter = 0.1;
constexpr unsigned reopen_doublings_max = 20;
constexpr std::chrono::milliseconds upkeep_interval_min{1}, upkeep_interval_max{1'000};

// Often enough that no limit is overrun by more than a quarter or a second.
Monotonic::duration upkeep_interval_for(const PoolLimits& limits) {
  const auto shortest = std::min({limits.lifetime, limits.idle_timeout, limits.leak_after});
  return std::clamp(shortest / 4, upkeep_interval_min, upkeep_interval_max);
}

}  // namespace

PoolCore::PoolCore(PoolLimits limits, std::uint64_t seed, MonotonicTime now)
    : limits_(limits),
      upkeep_interval_(upkeep_interval_for(limits)),
      random_(seed),
      last_return_(now),
      upkeep_at_(now + upkeep_interval_) {
  CITADEL_CHECK(limits.size_max >= 1 && limits.size_min <= limits.size_max,
                "size_min or size_max is out of range");
  CITADEL_CHECK(limits.opening_max >= 1, "opening_max must be 1 or more");
  slots_.resize(limits.size_max);
  for (std::size_t i = limits.size_max; i-- > 0;) free_.push_back(static_cast<Slot>(i));
  counts_[static_cast<std::size_t>(State::free)] = limits.size_max;
  idle_.reserve(limits.size_max);
  if (limits.adaptive && limits.size_max > 1) {
    const std::size_t least = 2;
    limiter_.emplace(
        resilience::LimiterOptions{.min = least,
                                   .max = limits.size_max,
                                   .initial = std::clamp<std::size_t>(10, least, limits.size_max)},
        now);
  }
}

std::size_t PoolCore::limit() const {
  return limiter_ ? limiter_->limit() : limits_.size_max;
}

void PoolCore::enter(Slot slot, State state, MonotonicTime now) {
  auto& place = slots_[slot];
  --counts_[static_cast<std::size_t>(place.state)];
  ++counts_[static_cast<std::size_t>(state)];
  place.state = state;
  place.since = now;
}

void PoolCore::start(MonotonicTime now) {
  keep_min_ = true;
  schedule(now);
}

bool PoolCore::must_validate(const Place& place, MonotonicTime now) const {
  return place.proven < suspect_before_ || now - place.proven >= limits_.validate_after;
}

void PoolCore::lend(Slot slot, Origin origin, MonotonicTime now) {
  auto& place = slots_[slot];
  enter(slot, State::lent, now);
  place.origin = origin;
  place.leak_reported = false;
  ++totals_.acquired;
}

PoolCore::Asked PoolCore::acquire(MonotonicTime now, Origin origin) {
  if (closing_) return {Asked::Kind::refused};
  if (waiting_ == 0 && !paused_ && !idle_.empty() && count(State::lent) < limit()) {
    const Slot slot = idle_.back();
    if (!must_validate(slots_[slot], now)) {
      idle_.pop_back();
      lend(slot, origin, now);
      return {Asked::Kind::granted, slot};
    }
  }
  if (waiting_ >= limits_.queue_max) {
    ++totals_.refused_queue;
    return {Asked::Kind::refused};
  }
  const Waiter waiter = enqueue(now, origin);
  schedule(now);
  return {Asked::Kind::queued, none, waiter};
}

PoolCore::Waiter PoolCore::enqueue(MonotonicTime now, Origin origin) {
  if (free_waiters_.empty()) {
    free_waiters_.push_back(static_cast<Waiter>(waiters_.size()));
    waiters_.emplace_back();
  }
  const Waiter waiter = free_waiters_.back();
  free_waiters_.pop_back();
  waiters_[waiter] = {.before = last_, .after = none, .queued = true, .since = now, .origin = origin};
  (last_ == none ? first_ : waiters_[last_].after) = waiter;
  last_ = waiter;
  ++waiting_;
  last_wait_ = now;
  return waiter;
}

void PoolCore::leave_queue(Waiter waiter) {
  CITADEL_CHECK(waiter < waiters_.size() && waiters_[waiter].queued, "this waiter is not in the queue");
  auto& node = waiters_[waiter];
  (node.before == none ? first_ : waiters_[node.before].after) = node.after;
  (node.after == none ? last_ : waiters_[node.after].before) = node.before;
  node.queued = false;
  free_waiters_.push_back(waiter);
  --waiting_;
}

Error PoolCore::expire(Waiter waiter) {
  leave_queue(waiter);
  ++totals_.refused_time;
  const auto there = slots_.size() - count(State::free) - count(State::opening);
  if (paused_)
    return Error(Code::overloaded, "no session was lent by the deadline: the pool is paused", Retry::safe);
  if (there == 0 && last_open_error_) {
    return Error(Code::unavailable,
                 "no session could be opened by the deadline: " + last_open_error_->to_string(), Retry::safe);
  }
  if (there == 0) {
    return Error(Code::unavailable, "no session was opened by the deadline: the server has not answered yet",
                 Retry::safe);
  }
  return Error(Code::overloaded,
               fmt::format("no session came free by the deadline: {} of {} are lent, {} callers wait",
                           count(State::lent), slots_.size(), waiting_),
               Retry::safe);
}

void PoolCore::cancel(Waiter waiter) {
  leave_queue(waiter);
}

void PoolCore::release(Slot slot, Return how, MonotonicTime now) {
  CITADEL_CHECK(slot < slots_.size() && slots_[slot].state == State::lent,
                "a session came back that is not lent");
  auto& place = slots_[slot];
  const auto lent_at = place.since;
  last_return_ = now;
  if (how == Return::broken) {
    lose(slot, now);
  } else if (how == Return::demoted) {
    demote(slot, now);
  } else if (how == Return::unsettled) {
    enter(slot, State::recovering, now);
    act(Do::recover, slot);
  } else {
    if (how == Return::idle) place.proven = now;
    settle(slot, now);
  }
  if (limiter_ && (how == Return::idle || how == Return::unsettled)) {
    if (waiting_ > 0) last_wait_ = now;
    limiter_->on_finish(now, now - lent_at, count(State::lent), last_wait_ >= lent_at);
  }
  if (waiting_ > 0 || how != Return::idle) schedule(now);
}

// A session that works has come: idle, or closed where its time is over.
void PoolCore::settle(Slot slot, MonotonicTime now) {
  const auto& place = slots_[slot];
  if (closing_ || place.generation != generation_ || now >= place.expires) {
    close_session(slot, now);
    if (!closing_) open_more(now);
    return;
  }
  enter(slot, State::idle, now);
  idle_.push_back(slot);
}

void PoolCore::close_session(Slot slot, MonotonicTime now) {
  enter(slot, State::free, now);
  free_.push_back(slot);
  ++totals_.closed;
  act(Do::close, slot);
}

// A session has died.
void PoolCore::lose(Slot slot, MonotonicTime now) {
  const bool of_this_generation = slots_[slot].generation == generation_;
  suspect_before_ = now;
  close_session(slot, now);
  if (!of_this_generation) return;
  if (losses_ == 0 || now - losing_since_ > loss_window) {
    losses_ = 0;
    losing_since_ = now;
  }
  if (++losses_ >= losses_flush) flush_by_itself("sessions were lost together", now);
}

void PoolCore::demote(Slot slot, MonotonicTime now) {
  const bool of_this_generation = slots_[slot].generation == generation_;
  close_session(slot, now);
  if (of_this_generation) flush_by_itself("a session's server takes no writes", now);
}

void PoolCore::flush_by_itself(std::string_view reason, MonotonicTime now) {
  if (closing_ || now < flush_again_at_) return;
  const bool goes_on = now < flush_again_at_ + flush_pause_;
  flush_pause_ = goes_on ? std::min<Monotonic::duration>(2 * flush_pause_, flush_pause_ceiling)
                         : Monotonic::duration(flush_pause_first);
  flush_again_at_ = now + flush_pause_;
  begin_generation(reason, now);
}

void PoolCore::begin_generation(std::string_view reason, MonotonicTime now) {
  ++generation_;
  flush_reason_ = reason;
  losses_ = 0;
  for (const Slot slot : std::exchange(idle_, {})) close_session(slot, now);
}

MonotonicTime PoolCore::lifetime_end(MonotonicTime now) {
  const double share = 1 - lifetime_jitter + 2 * lifetime_jitter * random_.uniform();
  return now + std::chrono::duration_cast<Monotonic::duration>(limits_.lifetime * share);
}

void PoolCore::opened(Slot slot, MonotonicTime now) {
  CITADEL_CHECK(slots_[slot].state == State::opening, "a session was opened that nobody asked for");
  ++totals_.opened;
  last_coming_ = now;
  failures_ = 0;
  last_open_error_.reset();
  auto& place = slots_[slot];
  place.expires = lifetime_end(now);
  place.proven = now;
  settle(slot, now);
  schedule(now);
}

void PoolCore::open_failed(Slot slot, Error error, MonotonicTime now) {
  CITADEL_CHECK(slots_[slot].state == State::opening, "an open failed that nobody asked for");
  enter(slot, State::free, now);
  free_.push_back(slot);
  if (closing_) return;
  ++totals_.open_failed;
  last_open_error_ = std::move(error);
  // Opens that were under way together fail together: that is one failure, not sixteen.
  if (failures_ == 0 || now >= reopen_at_) {
    const auto doublings = std::min(failures_, reopen_doublings_max);
    ++failures_;
    const auto most = std::min<std::chrono::milliseconds>(
        limits_.reopen_first * (std::int64_t{1} << doublings), limits_.reopen_ceiling);
    reopen_at_ = now + std::chrono::duration_cast<Monotonic::duration>(most * random_.uniform());
  }
  schedule(now);
}

void PoolCore::validated(Slot slot, bool good, MonotonicTime now) {
  CITADEL_CHECK(slots_[slot].state == State::validating, "a session was validated that nobody asked for");
  if (good) {
    last_coming_ = now;
    slots_[slot].proven = now;
    settle(slot, now);
  } else {
    lose(slot, now);
  }
  schedule(now);
}

void PoolCore::recovered(Slot slot, bool good, MonotonicTime now) {
  CITADEL_CHECK(slots_[slot].state == State::recovering, "a session was recovered that nobody asked for");
  if (good) {
    ++totals_.recovered;
    slots_[slot].proven = now;
    settle(slot, now);
  } else {
    suspect_before_ = now;
    close_session(slot, now);
  }
  schedule(now);
}

// Whether the waiter with `ahead` others before it may have a session once those are served. Where it only
// lacks patience, the moment when it has it is noted.
bool PoolCore::may_serve(std::size_t ahead, MonotonicTime now) {
  if (waiting_ <= ahead) return false;
  if (count(State::lent) + ahead < limit()) return true;
  Waiter waiter = first_;
  for (std::size_t i = 0; i < ahead; ++i) waiter = waiters_[waiter].after;
  auto patient_at = waiters_[waiter].since + limits_.patience;
  if (ahead > 0) {
    // It waits for what is on its way: more at once would only come more slowly. Not so where calls are
    // stuck; and where it is the opens, one more is tried each time.
    const auto moved_at = count(State::lent) < limit() ? last_coming_ : last_return_;
    patient_at = std::max(patient_at, moved_at + limits_.patience);
  }
  if (now >= patient_at) return true;
  patience_at_ = std::min(patience_at_, patient_at);
  return false;
}

void PoolCore::schedule(MonotonicTime now) {
  patience_at_ = MonotonicTime::max();
  open_is_delayed_ = false;
  if (closing_ || paused_) return;
  serve_from_idle(now);
  open_more(now);
}

void PoolCore::serve_from_idle(MonotonicTime now) {
  while (!idle_.empty()) {
    const Slot slot = idle_.back();
    const bool validate = must_validate(slots_[slot], now);
    if (!may_serve(validate ? on_their_way() : 0, now)) return;
    idle_.pop_back();
    if (validate) {
      enter(slot, State::validating, now);
      last_coming_ = now;
      act(Do::validate, slot);
      continue;
    }
    const Waiter waiter = first_;
    leave_queue(waiter);
    lend(slot, waiters_[waiter].origin, now);
    act(Do::hand, slot, waiter);
  }
}

void PoolCore::open_more(MonotonicTime now) {
  if (closing_ || paused_) return;
  while (!free_.empty() && count(State::opening) < limits_.opening_max) {
    const bool below_min = keep_min_ && slots_.size() - free_.size() < limits_.size_min;
    if (!below_min && !may_serve(on_their_way(), now)) return;
    if (failures_ > 0) {
      if (count(State::opening) > 0) return;
      if (now < reopen_at_) {
        open_is_delayed_ = true;
        return;
      }
    }
    open_one(now);
  }
}

void PoolCore::open_one(MonotonicTime now) {
  const Slot slot = free_.back();
  free_.pop_back();
  enter(slot, State::opening, now);
  last_coming_ = now;
  slots_[slot].generation = generation_;
  act(Do::open, slot);
}

void PoolCore::tick(MonotonicTime now) {
  if (now >= upkeep_at_) upkeep(now);
  schedule(now);
}

void PoolCore::upkeep(MonotonicTime now) {
  upkeep_at_ = now + upkeep_interval_;
  close_aged(now);
  for (Slot slot = 0; slot < slots_.size(); ++slot) {
    auto& place = slots_[slot];
    if (place.state != State::lent || place.leak_reported || now - place.since < limits_.leak_after) continue;
    place.leak_reported = true;
    ++totals_.leaked;
    act(Do::report_leak, slot);
  }
}

void PoolCore::close_aged(MonotonicTime now) {
  std::size_t there = slots_.size() - free_.size();
  std::erase_if(idle_, [&](Slot slot) {
    const auto& place = slots_[slot];
    const bool unneeded = now - place.since >= limits_.idle_timeout && there > limits_.size_min;
    if (now < place.expires && !unneeded) return false;
    --there;
    close_session(slot, now);
    return true;
  });
}

void PoolCore::flush(MonotonicTime now) {
  begin_generation("somebody asked for it", now);
  schedule(now);
}

void PoolCore::pause() {
  paused_ = true;
}

void PoolCore::resume(MonotonicTime now) {
  paused_ = false;
  schedule(now);
}

void PoolCore::close() {
  closing_ = true;
  while (first_ != none) {
    act(Do::refuse, none, first_);
    leave_queue(first_);
  }
  for (const Slot slot : std::exchange(idle_, {})) close_session(slot, slots_[slot].since);
}

std::optional<PoolCore::Action> PoolCore::next_action() {
  if (next_action_ == actions_.size()) return std::nullopt;
  const Action action = actions_[next_action_++];
  if (next_action_ == actions_.size()) {
    actions_.clear();
    next_action_ = 0;
  }
  return action;
}

MonotonicTime PoolCore::next_wake() const {
  if (closing_) return MonotonicTime::max();
  auto wake = patience_at_;
  if (open_is_delayed_) wake = std::min(wake, reopen_at_);
  if (free_.size() < slots_.size()) wake = std::min(wake, upkeep_at_);
  return wake;
}

void PoolCore::check_books() const {
  std::array<std::size_t, 6> counted{};
  for (const auto& place : slots_) ++counted[static_cast<std::size_t>(place.state)];
  CITADEL_CHECK(counted == counts_, "the counts of states are wrong");
  CITADEL_CHECK(free_.size() == count(State::free), "the free list is wrong");
  CITADEL_CHECK(idle_.size() == count(State::idle), "the idle list is wrong");
  for (const Slot slot : idle_)
    CITADEL_CHECK(slots_[slot].state == State::idle, "an idle session is not idle");
  for (const Slot slot : free_) CITADEL_CHECK(slots_[slot].state == State::free, "a free slot is not free");
  CITADEL_CHECK(std::ranges::is_sorted(idle_, {}, [&](Slot slot) { return slots_[slot].since; }),
                "idle sessions are not in the order of their age");
  std::size_t queued = 0;
  MonotonicTime before = MonotonicTime::min();
  for (Waiter waiter = first_; waiter != none; waiter = waiters_[waiter].after) {
    CITADEL_CHECK(waiters_[waiter].queued && waiters_[waiter].since >= before, "the queue is out of order");
    before = waiters_[waiter].since;
    ++queued;
  }
  CITADEL_CHECK(queued == waiting_, "the count of waiters is wrong");
  CITADEL_CHECK(waiting_ <= limits_.queue_max, "the queue is longer than queue_max");
  CITADEL_CHECK(waiters_.size() - free_waiters_.size() == waiting_, "a waiter is neither queued nor free");
}

}  // namespace citadel::pg
