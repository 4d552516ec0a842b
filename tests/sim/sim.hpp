// World: coroutines in virtual time, in an order drawn from a seed.
//
//   sim::World world(seed);
//   aio::Gate gate(world.executor());
//   gate.spawn("one", work());                  // unmodified code: awaitable, co_spawn, asio::steady_timer,
//   Deadline EXPECT_EQ(world.run(answer()), 42);
//
// - Order: what is posted or becomes ready waits in a queue of which any entry may run next: the seed
// decides. Code that
//   relies on more order than its executor promises fails for some seed. The same seed gives the same run.
// - Time stands still while anything is ready, and then jumps to the next timer: an hour's sleep takes no
// time at all.
//   std::chrono::steady_clock and system_clock show virtual time on the World's thread while it lives, so
//   Deadline, citadel::system_clock() and asio's timers need no change. On other threads, and afterwards,
//   they show real time.
//
// How: a program that links this library has its own steady_clock::now(), system_clock::now(),
// timerfd_create() and timerfd_settime(), which the linker prefers to those of the shared libraries. asio
// tells its next expiry to timerfd_settime, and reads an eventfd in place of a timer, which World writes to
// when virtual time has come there. This holds for Linux, where asio uses timerfd.
//
// For logic, not for I/O: what waits for a socket or another thread is not waited for. One World at a time on
// a thread. Gates are closed, and what refers to the executor is gone, before the World ends; coroutines left
// are destroyed.
#pragma once
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "aio/task.hpp"
#include "base/check.hpp"
#include "base/clock.hpp"
#include "base/random.hpp"

namespace citadel::sim {

class World {
 public:
  explicit World(std::uint64_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  citadel::Executor executor();
  MonotonicTime now() const { return now_; }
  WallTime wall() const;
  // For the simulated parts; the order of coroutines draws from another one, so that neither disturbs the
  // other.
  Random& random() { return random_; }
  std::uint64_t seed() const { return seed_; }

  // Runs until `task` has ended, and gives its value; exceptions pass through. CHECK: it does not wait for
  // ever.
  template <class T>
  T run(Task<T> task);
  void run(Task<void> task);
  // Runs what becomes ready within `time`, and lets all of it pass.
  void run_for(Monotonic::duration time);

  // How many handlers have run, and a fingerprint of their order: equal for equal runs.
  std::uint64_t steps() const { return steps_; }
  std::uint64_t fingerprint() const { return fingerprint_; }

  // Moves the wall clock alone, as an operator may.
  void jump_wall(std::chrono::microseconds by) { wall_offset_ += by; }

 private:
  class SeededExecutor;
  struct Entry {
    std::uint64_t number;
    std::move_only_function<void()> handler;
  };
  // An execution context for timers; its own queue is only what leads to ours.
  struct Context : asio::io_context {
    Context() : asio::io_context(1) {}
    using asio::io_context::shutdown;
  };
  friend int arm_timer(int descriptor, int flags, const struct itimerspec& value);

  void post(std::move_only_function<void()> handler);
  // One handler; or, where none is ready, the next timer that expires by `limit`. False: neither is there.
  bool step(MonotonicTime limit);
  bool run_ready();
  void poll();
  bool fire_next_timer(MonotonicTime limit);

  const std::uint64_t seed_;
  SeededRandom order_;
  SeededRandom random_;
  MonotonicTime now_;
  std::chrono::microseconds wall_offset_{0};
  std::uint64_t posted_ = 0, steps_ = 0, fingerprint_ = 0;
  std::vector<Entry> ready_;
  int timer_descriptor_ = -1;
  std::optional<MonotonicTime> timer_expiry_;  // what asio asked to be woken at
  World* outer_;
  Context context_;
};

// The seeds of a test: 1 to `count`; or the one in the environment variable CITADEL_SIM_SEED, to replay a
// failure.
std::vector<std::uint64_t> seeds(std::size_t count);

template <class T>
T World::run(Task<T> task) {
  std::optional<T> value;
  std::exception_ptr exception;
  bool ended = false;
  asio::co_spawn(executor(), std::move(task), [&](std::exception_ptr thrown, T result) {
    exception = thrown;
    value.emplace(std::move(result));
    ended = true;
  });
  while (!ended) {
    CITADEL_CHECK(step(MonotonicTime::max()), "the coroutine waits for something that nobody will do");
  }
  if (exception) std::rethrow_exception(exception);
  return std::move(*value);
}

}  // namespace citadel::sim
