// RetryBudget: keeps retries a small share of requests, so that a struggling database is not buried under
// them.
//
//   budget.on_request();                      // once for each first attempt
//   if (!budget.try_retry()) return error;    // once before each further attempt
//
// A token bucket: each request puts in `ratio` of a token, `per_second` come in by time, each retry takes
// one. It holds at most `burst`, with which it starts. So over any stretch of time
//   retries ≤ ratio × requests + per_second × seconds + burst,
// and with the default ratio attempts stay within 1.1 × requests, but for a small constant. per_second exists
// for an almost idle process, which could never retry otherwise.
//
// After the RetryBudget of Twitter's Finagle and gRPC's retry throttling (proposal A6). Pure, no allocation.
// Single executor. The clock outlives the budget.
#pragma once
#include <cstdint>

#include "base/clock.hpp"

namespace citadel::resilience {

struct RetryBudgetOptions {
  double ratio = 0.1;
  double per_second = 1.0;
  double burst = 10.0;
};

class RetryBudget {
 public:
  // CHECK: none is negative, burst ≥ 1.
  RetryBudget(RetryBudgetOptions options, const Clock& clock);

  void on_request();

  // Takes a token. False: do not retry; give the caller the error of the last attempt.
  [[nodiscard]] bool try_retry();

  // Tokens now.
  double tokens() const;
  std::uint64_t requests_total() const { return requests_total_; }
  std::uint64_t retries_total() const { return retries_total_; }
  std::uint64_t refused_total() const { return refused_total_; }

 private:
  void put(double tokens);
  void fill_by_time();

  RetryBudgetOptions options_;
  const Clock& clock_;
  double tokens_;
  MonotonicTime filled_at_;
  std::uint64_t requests_total_ = 0, retries_total_ = 0, refused_total_ = 0;
};

}  // namespace citadel::resilience
