#include "resilience/adaptive_limiter.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "resilience/test_server.hpp"

namespace citadel::resilience {
namespace {

using namespace std::chrono_literals;
using test::TestServer;
using test::Work;

// Callers who call again as soon as they have their answer, through a limiter.
class ClosedLoop {
 public:
  ClosedLoop(std::size_t callers, test::Speed speed, Work work, double noise, std::uint64_t seed,
             LimiterOptions options = {})
      : server_(std::move(speed), work, noise, seed), limiter_(options, server_.now()), waiting_(callers) {}

  // Lets `time` pass; calls finished a second.
  double run(Monotonic::duration time) {
    const auto until = server_.now() + time;
    std::size_t calls = 0;
    admit();
    TestServer::Finished finished;
    while (server_.run(until, finished)) {
      ++calls;
      ++waiting_;
      // The caller who has just been answered stands at the end of the queue.
      limiter_.on_finish(server_.now(), finished.duration, server_.in_flight(), waiting_ > 1);
      admit();
      limit_sum_ += limiter_.limit();
    }
    mean_limit_ = calls == 0 ? 0 : static_cast<double>(limit_sum_) / static_cast<double>(calls);
    limit_sum_ = 0;
    return static_cast<double>(calls) / std::chrono::duration<double>(time).count();
  }

  void set_callers(std::size_t callers) {
    const auto busy = server_.in_flight();
    waiting_ = callers > busy ? callers - busy : 0;
  }

  TestServer& server() { return server_; }
  const AdaptiveLimiter& limiter() const { return limiter_; }
  double mean_limit() const { return mean_limit_; }
  std::string text() const {
    const auto status = limiter_.status();
    return fmt::format("mean limit {:.1f}, base {}, noise {:.3f}, raised {}, lowered {}, rejected {}",
                       mean_limit_, status.base, status.noise, status.raised_total, status.lowered_total,
                       status.rejected_total);
  }

 private:
  void admit() {
    while (waiting_ > 0 && server_.in_flight() < limiter_.limit()) {
      --waiting_;
      server_.start(next_tag_++);
    }
  }

  TestServer server_;
  AdaptiveLimiter limiter_;
  std::size_t waiting_;
  std::uint64_t next_tag_ = 0;
  std::size_t limit_sum_ = 0;
  double mean_limit_ = 0;
};

// Seeds of a test; CITADEL_SIM_SEED=N replays one.
std::vector<std::uint64_t> seeds() {
  if (const char* seed = std::getenv("CITADEL_SIM_SEED")) return {std::strtoull(seed, nullptr, 10)};
  std::vector<std::uint64_t> all(8);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i + 1;
  return all;
}

// How the server scatters, and what share of the best must be reached: where a machine's speed changes by a
// fifth every 20 ms, or one call in a hundred does a third of all work, a difference of 5% takes longer to
// see than these tests run.
struct Disturbance {
  const char* name;
  Work work;
  double noise;
  double share_min;
  std::chrono::seconds settle;  // how long it may take for another load
};

class AdaptiveLimiterUnder : public testing::TestWithParam<Disturbance> {};

INSTANTIATE_TEST_SUITE_P(Noise, AdaptiveLimiterUnder,
                         testing::Values(Disturbance{"Calm", Work::constant, 0.0, 0.95, 2s},
                                         Disturbance{"Varied", Work::exponential, 0.05, 0.95, 2s},
                                         Disturbance{"Noisy", Work::exponential, 0.2, 0.85, 3s},
                                         Disturbance{"HeavyTail", Work::heavy_tail, 0.1, 0.8, 6s}),
                         [](const auto& test) { return test.param.name; });

TEST_P(AdaptiveLimiterUnder, GetsNearlyTheBestFromAServerThatDegrades) {
  const auto speed = test::like_pgpool();
  for (const auto seed : seeds()) {
    ClosedLoop loop(100, speed, GetParam().work, GetParam().noise, seed);
    loop.run(2s);
    const double share = loop.run(10s) / test::best(speed, 100);
    EXPECT_GE(share, GetParam().share_min) << "CITADEL_SIM_SEED=" << seed << " " << loop.text();
  }
}

TEST_P(AdaptiveLimiterUnder, ComesDownFromAHundredOnAServerThatDegrades) {
  const auto speed = test::like_pgpool();
  for (const auto seed : seeds()) {
    ClosedLoop loop(100, speed, GetParam().work, GetParam().noise, seed, {.initial = 100});
    loop.run(3s);
    const double share = loop.run(10s) / test::best(speed, 100);
    EXPECT_GE(share, GetParam().share_min) << "CITADEL_SIM_SEED=" << seed << " " << loop.text();
  }
}

TEST_P(AdaptiveLimiterUnder, ReachesTheMaximumWhereCallsOnlyWait) {
  for (const double delay : {0.005, 0.05, 0.2}) {
    for (const auto seed : seeds()) {
      ClosedLoop loop(300, test::pure_delay(delay), GetParam().work, GetParam().noise, seed);
      loop.run(std::chrono::milliseconds(1500 + static_cast<int>(delay * 20'000)));
      const double share = loop.run(5s) / (100 / delay);
      EXPECT_GE(share, GetParam().share_min - 0.05)
          << "CITADEL_SIM_SEED=" << seed << " delay " << delay << " limit " << loop.mean_limit();
      EXPECT_GE(loop.limiter().status().base, 90u) << "CITADEL_SIM_SEED=" << seed << " delay " << delay;
    }
  }
}

TEST_P(AdaptiveLimiterUnder, OfEqualsTakesTheSmaller) {
  const auto speed = test::saturating(12, 1000);
  for (const auto seed : seeds()) {
    ClosedLoop loop(200, speed, GetParam().work, GetParam().noise, seed, {.initial = 60});
    loop.run(5s);
    const double share = loop.run(10s) / test::best(speed, 100);
    EXPECT_GE(share, GetParam().share_min) << "CITADEL_SIM_SEED=" << seed << " " << loop.text();
    if (GetParam().noise == 0) EXPECT_LE(loop.mean_limit(), 30) << "CITADEL_SIM_SEED=" << seed;
  }
}

TEST_P(AdaptiveLimiterUnder, FollowsAServerThatChangesItsNature) {
  const auto degrading = test::like_pgpool();
  for (const auto seed : seeds()) {
    ClosedLoop loop(100, degrading, GetParam().work, GetParam().noise, seed);
    loop.run(3s);
    loop.server().set_speed(test::pure_delay(0.02));
    loop.run(GetParam().settle);
    EXPECT_GE(loop.run(3s) / 5000.0, GetParam().share_min - 0.05)
        << "CITADEL_SIM_SEED=" << seed << " " << loop.text();
    loop.server().set_speed(degrading);
    loop.run(GetParam().settle + 1s);
    EXPECT_GE(loop.run(5s) / test::best(degrading, 100), GetParam().share_min - 0.05)
        << "CITADEL_SIM_SEED=" << seed << " " << loop.text();
  }
}

TEST_P(AdaptiveLimiterUnder, IsWellSoonAfterAStall) {
  const auto speed = test::like_pgpool();
  for (const auto seed : seeds()) {
    ClosedLoop loop(100, speed, GetParam().work, GetParam().noise, seed);
    loop.run(3s);
    const auto before = loop.limiter().status().base;
    loop.server().set_stalled(true);
    EXPECT_EQ(loop.run(5s), 0);
    loop.server().set_stalled(false);
    loop.run(10ms);
    EXPECT_EQ(loop.limiter().status().stalls_total, 1u);
    EXPECT_EQ(loop.limiter().status().base, before);
    loop.run(500ms);
    EXPECT_GE(loop.run(2s) / test::best(speed, 100), GetParam().share_min - 0.05)
        << "CITADEL_SIM_SEED=" << seed << " " << loop.text();
  }
}

TEST(AdaptiveLimiter, NoiseNeverMakesItCollapse) {
  const auto speed = test::saturating(30, 500);
  for (const auto seed : seeds()) {
    ClosedLoop loop(200, speed, Work::exponential, 0.5, seed, {.initial = 40});
    double calls = 0;
    for (int second = 0; second < 30; ++second) calls += loop.run(1s);
    EXPECT_GE(calls / 30 / test::best(speed, 100), 0.85) << "CITADEL_SIM_SEED=" << seed;
    EXPECT_GE(loop.limiter().status().base, 15u) << "CITADEL_SIM_SEED=" << seed;
  }
}

TEST(AdaptiveLimiter, ClimbsOutOfTheMinimum) {
  const auto speed = test::like_pgpool();
  for (const auto seed : seeds()) {
    ClosedLoop loop(100, speed, Work::exponential, 0.1, seed, {.min = 1, .initial = 1});
    loop.run(2s);
    EXPECT_GE(loop.run(5s) / test::best(speed, 100), 0.93)
        << "CITADEL_SIM_SEED=" << seed << " " << loop.text();
  }
}

// A hundred callers and a limit of a hundred: nobody ever waits, and yet fewer would finish more.
TEST(AdaptiveLimiter, ComesDownThoughNobodyWaits) {
  const auto speed = test::like_pgpool();
  for (const auto seed : seeds()) {
    ClosedLoop loop(60, speed, Work::exponential, 0.05, seed, {.initial = 100});
    loop.run(5s);
    EXPECT_GE(loop.run(5s) / test::best(speed, 100), 0.93)
        << "CITADEL_SIM_SEED=" << seed << " " << loop.text();
  }
}

TEST(AdaptiveLimiter, DemandBelowTheLimitLeavesItAlone) {
  ClosedLoop loop(4, test::pure_delay(0.01), Work::exponential, 0.1, 1);
  loop.run(20s);
  EXPECT_GE(loop.limiter().status().base, 4u);
  EXPECT_LE(loop.limiter().status().base, 10u);
}

}  // namespace
}  // namespace citadel::resilience
