#include "resilience/backoff.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace citadel::resilience {

Backoff::Backoff(BackoffOptions options, Random& random)
    : options_(options), random_(&random), bound_(options.initial) {
  CITADEL_CHECK(
      options_.initial.count() > 0 && options_.ceiling >= options_.initial && options_.multiplier >= 1.0,
      "a backoff begins above zero and does not shrink");
}

Monotonic::duration Backoff::next() {
  const auto wait = Monotonic::duration(
      static_cast<Monotonic::rep>(random_->below(static_cast<std::uint64_t>(bound_.count()))));
  // As a double, so that a large multiplier meets the ceiling and not an overflow.
  const double grown = static_cast<double>(bound_.count()) * options_.multiplier;
  const Monotonic::duration ceiling = options_.ceiling;
  bound_ = grown >= static_cast<double>(ceiling.count())
               ? ceiling
               : Monotonic::duration(static_cast<Monotonic::rep>(grown));
  ++attempts_;
  return wait;
}

void Backoff::reset() {
  bound_ = options_.initial;
  attempts_ = 0;
}

}  // namespace citadel::resilience
