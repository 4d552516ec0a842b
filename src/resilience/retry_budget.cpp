#include "resilience/retry_budget.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace citadel::resilience {
namespace {

// Ten deposits of 0.1 are one token, though in floating point they fall just short of it.
constexpr double rounding = 1e-9;

double seconds(Monotonic::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

RetryBudget::RetryBudget(RetryBudgetOptions options, const Clock& clock)
    : options_(options), clock_(clock), tokens_(options.burst), filled_at_(clock.monotonic()) {
  CITADEL_CHECK(options_.ratio >= 0 && options_.per_second >= 0 && options_.burst >= 1.0,
                "a retry budget is not negative and holds at least one retry");
}

void RetryBudget::put(double tokens) {
  tokens_ = std::min(options_.burst, tokens_ + tokens);
}

void RetryBudget::fill_by_time() {
  const auto now = clock_.monotonic();
  put(options_.per_second * seconds(now - filled_at_));
  filled_at_ = now;
}

void RetryBudget::on_request() {
  ++requests_total_;
  put(options_.ratio);
}

bool RetryBudget::try_retry() {
  fill_by_time();
  if (tokens_ + rounding < 1.0) {
    ++refused_total_;
    return false;
  }
  tokens_ = std::max(0.0, tokens_ - 1.0);
  ++retries_total_;
  return true;
}

double RetryBudget::tokens() const {
  return std::min(options_.burst, tokens_ + options_.per_second * seconds(clock_.monotonic() - filled_at_));
}

}  // namespace citadel::resilience
