#include "sim/sim.hpp"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <utility>

namespace citadel::sim {
namespace {

// Where virtual time begins: not at zero, so that what subtracts an hour from now stays positive.
constexpr MonotonicTime beginning{std::chrono::hours(24)};
constexpr WallTime wall_beginning{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}};
// A run with more is an endless loop, not a simulation.
constexpr std::uint64_t steps_max = 200'000'000;
constexpr std::uint64_t order_salt = 0x6f72646572;  // another stream than the simulated parts'

thread_local World* current = nullptr;

std::chrono::nanoseconds real_time(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

// What asio and co_spawn see: an executor that never runs a function inside execute().
class World::SeededExecutor {
 public:
  explicit SeededExecutor(World& world) : world_(&world) {}

  asio::execution_context& query(asio::execution::context_t) const noexcept { return world_->context_; }
  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept {
    return asio::execution::blocking.never;
  }
  template <class Function>
  void execute(Function&& function) const {
    world_->post(std::forward<Function>(function));
  }
  friend bool operator==(const SeededExecutor& a, const SeededExecutor& b) noexcept {
    return a.world_ == b.world_;
  }
  friend bool operator!=(const SeededExecutor& a, const SeededExecutor& b) noexcept {
    return a.world_ != b.world_;
  }

 private:
  World* world_;
};

World::World(std::uint64_t seed)
    : seed_(seed),
      order_(seed ^ order_salt),
      random_(seed),
      now_(beginning),
      outer_(std::exchange(current, this)) {
  CITADEL_CHECK(outer_ == nullptr, "one World at a time");
}

World::~World() {
  // What coroutines still wait for is given up first; their frames come to our queue to be destroyed, and
  // need the context's services for it.
  context_.shutdown();
  while (!ready_.empty()) std::exchange(ready_, {}).clear();
  current = outer_;
}

citadel::Executor World::executor() {
  return SeededExecutor(*this);
}

WallTime World::wall() const {
  return wall_beginning + wall_offset_ + std::chrono::floor<std::chrono::microseconds>(now_ - beginning);
}

void World::post(std::move_only_function<void()> handler) {
  ready_.push_back({++posted_, std::move(handler)});
}

bool World::run_ready() {
  if (ready_.empty()) return false;
  const auto index = order_.below(ready_.size());
  Entry entry = std::move(ready_[index]);
  // The rest keeps its order, or the choice would depend on more than the seed and the posts.
  ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(index));
  CITADEL_CHECK(++steps_ < steps_max, "the simulation does not end");
  fingerprint_ = (fingerprint_ ^ entry.number) * 0x100000001b3u;  // FNV-1a, by whole numbers
  entry.handler();
  return true;
}

void World::poll() {
  context_.restart();
  context_.poll();
}

bool World::fire_next_timer(MonotonicTime limit) {
  if (!timer_expiry_ || *timer_expiry_ > limit) return false;
  now_ = std::max(now_, *timer_expiry_);
  timer_expiry_.reset();
  const std::uint64_t fired = 1;
  CITADEL_CHECK(::write(timer_descriptor_, &fired, sizeof fired) == sizeof fired,
                "an eventfd can be written");
  poll();
  return true;
}

bool World::step(MonotonicTime limit) {
  poll();  // cancelled timers
  return run_ready() || fire_next_timer(limit);
}

void World::run(Task<void> task) {
  run<bool>([](Task<void> inner) -> Task<bool> {
    co_await std::move(inner);
    co_return true;
  }(std::move(task)));
}

void World::run_for(Monotonic::duration time) {
  const auto until = now_ + time;
  while (step(until)) {
  }
  now_ = until;
}

int arm_timer(int descriptor, int flags, const itimerspec& value) {
  const auto after =
      std::chrono::seconds(value.it_value.tv_sec) + std::chrono::nanoseconds(value.it_value.tv_nsec);
  auto& world = *current;
  world.timer_descriptor_ = descriptor;
  if (after.count() == 0) {
    world.timer_expiry_.reset();
  } else {
    world.timer_expiry_ = (flags & TFD_TIMER_ABSTIME) != 0 ? world.now_ : world.now_ + after;
  }
  // Not readable from here on, until virtual time has come to the expiry.
  std::uint64_t fired = 0;
  [[maybe_unused]] const auto got = ::read(descriptor, &fired, sizeof fired);
  return 0;
}

std::vector<std::uint64_t> seeds(std::size_t count) {
  if (const char* seed = std::getenv("CITADEL_SIM_SEED")) return {std::strtoull(seed, nullptr, 10)};
  std::vector<std::uint64_t> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = i + 1;
  return all;
}

}  // namespace citadel::sim

// In place of those of the standard library and the C library.
namespace std::chrono {
inline namespace _V2 {

steady_clock::time_point steady_clock::now() noexcept {
  using namespace citadel::sim;
  return current != nullptr ? current->now() : time_point(real_time(CLOCK_MONOTONIC));
}

system_clock::time_point system_clock::now() noexcept {
  using namespace citadel::sim;
  return current != nullptr ? time_point(current->wall().time_since_epoch())
                            : time_point(real_time(CLOCK_REALTIME));
}

}  // namespace _V2
}  // namespace std::chrono

extern "C" int timerfd_create(int clock, int flags) noexcept {
  // A timer that fires when World writes to it.
  if (citadel::sim::current != nullptr) return ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return static_cast<int>(::syscall(SYS_timerfd_create, clock, flags));
}

extern "C" int timerfd_settime(int descriptor, int flags, const struct itimerspec* value,
                               struct itimerspec* old_value) noexcept {
  if (citadel::sim::current != nullptr) return citadel::sim::arm_timer(descriptor, flags, *value);
  return static_cast<int>(::syscall(SYS_timerfd_settime, descriptor, flags, value, old_value));
}
