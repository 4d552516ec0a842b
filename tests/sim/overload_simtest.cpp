// Breaker, retry budget, backoff and limiter together, in front of a modelled database, under more than it
// can do.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>
#include <unordered_map>

#include "aio/gate.hpp"
#include "aio/wait.hpp"
#include "resilience/adaptive_limiter.hpp"
#include "resilience/backoff.hpp"
#include "resilience/circuit_breaker.hpp"
#include "resilience/retry_budget.hpp"
#include "resilience/test_server.hpp"
#include "sim/sim.hpp"

namespace citadel::sim {
namespace {

using namespace std::chrono_literals;
using namespace resilience;

// Which of the guards are in place, to show what they are for.
struct Guards {
  bool breaker = true;
  bool budget = true;
  bool limiter = true;
};

// A tenth of Pgpool-II's speed: the same shape, and a tenth of the events.
test::Speed tenth() {
  return [speed = test::like_pgpool()](std::size_t n) { return speed(n) / 10; };
}
constexpr double speed_best = 1296;
constexpr auto patience = 1s;  // a request's deadline
constexpr std::size_t queue_max = 1000;
constexpr std::size_t sessions_max = 100;

class Service {
 public:
  Service(World& world, Guards guards)
      : guards_(guards),
        world_(world),
        server_(tenth(), test::Work::exponential, 0.1, world.seed(), world.now()),
        breaker_({.answer_within = 100ms}, system_clock(), world.random()),
        budget_({.ratio = 0.1, .per_second = 1, .burst = 20}, system_clock()),
        limiter_({.initial = 10}, world.now()),
        changed_(world.executor()),
        gate_(world.executor()) {
    if (!guards.breaker) breaker_.force(BreakerState::forced_closed, "off");
    gate_.spawn("server", serve());
  }

  Task<> request() {
    const auto deadline = Deadline::after(patience);
    ++requests_;
    budget_.on_request();
    Backoff backoff({.initial = 20ms, .ceiling = 500ms}, world_.random());
    while (true) {
      const auto result = co_await attempt(deadline);
      if (result) {
        ++good_;
        co_return;
      }
      if (result.error().retry == Retry::never || (guards_.budget && !budget_.try_retry())) co_return;
      const auto wait = guards_.budget ? backoff.next() : Monotonic::duration(1ms);
      if (wait >= deadline.remaining()) co_return;
      co_await aio::sleep_for(wait);
    }
  }

  // `per_second` requests arrive at random moments, for `time`. Answered in time, a second.
  double load(double per_second, Monotonic::duration time) {
    const auto until = world_.now() + time;
    const auto before = good_;
    while (true) {
      const double gap = -std::log(1.0 - world_.random().uniform()) / per_second;
      const auto wait = std::chrono::duration_cast<Monotonic::duration>(std::chrono::duration<double>(gap));
      if (world_.now() + wait >= until) break;
      world_.run_for(wait);
      gate_.spawn("request", request());
    }
    world_.run_for(until - world_.now());
    return static_cast<double>(good_ - before) / std::chrono::duration<double>(time).count();
  }

  void set_stalled(bool stalled) {
    catch_up();
    server_.set_stalled(stalled);
    changed_.cancel();
  }

  void stop() {
    world_.run_for(2 * patience);  // every request has ended by its deadline
    EXPECT_EQ(gate_.live(), 1u);
    EXPECT_TRUE(world_.run(gate_.close(Deadline::after(1s))));
    EXPECT_EQ(server_.in_flight(), 0u);
    EXPECT_EQ(breaker_.status().permits_out, 0u);
  }

  double attempts_per_request() const {
    return static_cast<double>(attempts_) / static_cast<double>(requests_);
  }
  std::uint64_t requests() const { return requests_; }
  BreakerStatus breaker() const { return breaker_.status(); }
  std::string text() const {
    return fmt::format("CITADEL_SIM_SEED={} requests {}, attempts {}, good {}, breaker opened {}, limit {}",
                       world_.seed(), requests_, attempts_, good_,
                       breaker_.status().entered_total[static_cast<int>(BreakerState::open)],
                       limiter_.status().base);
  }

 private:
  Task<Result<void>> attempt(Deadline deadline) {
    auto permit = breaker_.acquire();
    if (!permit) co_return std::unexpected(permit.error());
    ++attempts_;
    auto session = co_await acquire(deadline);
    if (!session) {
      permit->failed(session.error(), 0s);
      co_return session;
    }
    const auto begun = world_.now();
    const auto answered = co_await execute(deadline);
    const auto took = world_.now() - begun;
    release();
    if (!answered) {
      // The session is killed: the call's outcome is known for a read, and it may be repeated.
      const Error error(Code::deadline_exceeded, "no answer", Retry::safe);
      permit->failed(error, took);
      co_return std::unexpected(error);
    }
    permit->succeeded(took);
    co_return Result<void>();
  }

  std::size_t limit() const { return guards_.limiter ? limiter_.limit() : sessions_max; }

  Task<Result<void>> acquire(Deadline deadline) {
    if (waiting_.empty() && lent_ < limit()) {
      ++lent_;
      co_return Result<void>();
    }
    if (waiting_.size() >= queue_max) co_return fail(Code::overloaded, "the queue is full", Retry::safe);
    aio::OneShot<bool> turn(world_.executor());
    waiting_.push_back(&turn);
    if (co_await turn.wait(deadline)) co_return Result<void>();
    std::erase(waiting_, &turn);
    co_return fail(Code::overloaded, "no session by the deadline", Retry::safe);
  }

  void release() {
    --lent_;
    while (!waiting_.empty() && lent_ < limit()) {
      ++lent_;
      waiting_.front()->set(true);
      waiting_.pop_front();
    }
  }

  Task<bool> execute(Deadline deadline) {
    const auto tag = next_tag_++;
    aio::OneShot<bool> done(world_.executor());
    calls_.emplace(tag, &done);
    catch_up();
    server_.start(tag);
    changed_.cancel();
    const bool answered = (co_await done.wait(deadline)).has_value();
    if (!answered) {
      catch_up();
      server_.abandon(tag);
      calls_.erase(tag);
      changed_.cancel();
    }
    co_return answered;
  }

  // Brings the model to the present moment.
  void catch_up() {
    test::TestServer::Finished finished;
    while (server_.run(world_.now(), finished)) {
      const auto call = calls_.find(finished.tag);
      if (call == calls_.end()) continue;
      call->second->set(true);
      calls_.erase(call);
      limiter_.on_finish(server_.now(), finished.duration, lent_ - 1, !waiting_.empty());
    }
  }

  Task<> serve() {
    while (true) {
      catch_up();
      changed_.expires_at(server_.next_event());
      co_await changed_.async_wait(asio::as_tuple(asio::use_awaitable));
      // Cancellation of the coroutine, and not of the timer, is for good.
      if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none)
        co_return;
    }
  }

  const Guards guards_;
  World& world_;
  test::TestServer server_;
  CircuitBreaker breaker_;
  RetryBudget budget_;
  AdaptiveLimiter limiter_;
  asio::steady_timer changed_;
  std::unordered_map<std::uint64_t, aio::OneShot<bool>*> calls_;
  std::deque<aio::OneShot<bool>*> waiting_;
  std::size_t lent_ = 0;
  std::uint64_t next_tag_ = 0;
  std::uint64_t requests_ = 0, attempts_ = 0, good_ = 0;
  aio::Gate gate_;
};

struct Figures {
  double before = 0;  // goodput: requests answered in time, a second
  double during = 0;  // while overloaded and not stalled
  double after = 0;   // from 9 s after the overload on
};

constexpr double load_normal = 0.6 * speed_best;

// Three times the load for ten seconds, and in the middle of it five seconds without any answer.
Figures overload(Service& service) {
  Figures figures;
  service.load(load_normal, 3s);
  figures.before = service.load(load_normal, 10s);
  figures.during = service.load(3 * load_normal, 3s);
  service.set_stalled(true);
  service.load(3 * load_normal, 5s);
  service.set_stalled(false);
  service.load(3 * load_normal, 2s);
  service.load(load_normal, 9s);
  figures.after = service.load(load_normal, 10s);
  return figures;
}

TEST(Overload, GoodputIsBackWithinTenSecondsAndRetriesStayWithinTheirBudget) {
  for (const auto seed : seeds(4)) {
    World world(seed);
    Service service(world, {});
    const auto figures = overload(service);
    EXPECT_GE(figures.before, 0.98 * load_normal) << service.text();
    EXPECT_GE(figures.during, 0.75 * speed_best) << service.text();
    EXPECT_GE(figures.after, 0.9 * figures.before) << service.text();
    EXPECT_LE(service.attempts_per_request(), 1.1) << service.text();
    EXPECT_GE(service.breaker().entered_total[static_cast<int>(BreakerState::open)], 1u)
        << "the stall did not open the breaker; " << service.text();
    EXPECT_EQ(service.breaker().state, BreakerState::closed) << service.text();
    service.stop();
  }
}

TEST(Overload, WithoutTheBudgetRetriesExceedIt) {
  World world(1);
  Service service(world, {.breaker = false, .budget = false, .limiter = false});
  service.load(3 * load_normal, 1500ms);
  EXPECT_GT(service.attempts_per_request(), 1.5) << service.text();
  service.stop();
}

TEST(Overload, LocalSaturationDoesNotOpenTheBreaker) {
  for (const auto seed : seeds(4)) {
    World world(seed);
    Service service(world, {});
    service.load(3 * speed_best, 10s);
    EXPECT_EQ(service.breaker().entered_total[static_cast<int>(BreakerState::open)], 0u) << service.text();
    EXPECT_GT(service.breaker().ignored_total, 1000u) << "nothing was refused; " << service.text();
    service.stop();
  }
}

TEST(Overload, TheSameSeedGivesTheSameRun) {
  const auto run = [](std::uint64_t seed) {
    World world(seed);
    Service service(world, {});
    service.load(2 * speed_best, 2s);
    service.stop();
    return std::pair(world.fingerprint(), service.text());
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

}  // namespace
}  // namespace citadel::sim
