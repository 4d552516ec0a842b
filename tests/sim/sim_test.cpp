#include "sim/sim.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "aio/gate.hpp"
#include "aio/wait.hpp"

namespace citadel::sim {
namespace {

using namespace std::chrono_literals;

Task<> sleep(Monotonic::duration duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  timer.expires_after(duration);
  co_await timer.async_wait(asio::use_awaitable);
}

Task<> yield() {
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}

// In which order ten coroutines of three steps each take them.
std::string order(std::uint64_t seed) {
  World world(seed);
  aio::Gate gate(world.executor());
  std::string order;
  for (char name = 'a'; name < 'k'; ++name) {
    gate.spawn("letter", [](std::string& out, char letter) -> Task<> {
      for (int i = 0; i < 3; ++i) {
        out += letter;
        co_await yield();
      }
    }(order, name));
  }
  EXPECT_TRUE(world.run(gate.drain(Deadline::after(1s))));
  return order;
}

TEST(World, TheSameSeedGivesTheSameRun) {
  for (const auto seed : seeds(20)) EXPECT_EQ(order(seed), order(seed)) << "CITADEL_SIM_SEED=" << seed;
}

TEST(World, OtherSeedsGiveOtherOrders) {
  std::set<std::string> orders;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) orders.insert(order(seed));
  EXPECT_EQ(orders.size(), 20u);
}

TEST(World, ASleepTakesExactlyItsTimeAndNoRealTime) {
  const auto real = Monotonic::now();
  {
    World world(1);
    const auto begin = world.now();
    world.run(sleep(1h));
    EXPECT_EQ(world.now() - begin, 1h);
    world.run(sleep(30 * 24h));  // beyond what asio asks of a timer at once
    EXPECT_EQ(world.now() - begin, 721h);
  }
  EXPECT_LT(Monotonic::now() - real, 1min);
}

TEST(World, TimersExpireInTheOrderOfTheirTime) {
  for (const auto seed : seeds(20)) {
    World world(seed);
    aio::Gate gate(world.executor());
    std::vector<int> order;
    for (const int after : {5, 1, 4, 2, 3}) {
      gate.spawn("sleeper", [](std::vector<int>& out, int seconds) -> Task<> {
        co_await sleep(std::chrono::seconds(seconds));
        out.push_back(seconds);
      }(order, after));
    }
    EXPECT_TRUE(world.run(gate.drain(Deadline::after(1min))));
    EXPECT_THAT(order, testing::ElementsAre(1, 2, 3, 4, 5)) << "CITADEL_SIM_SEED=" << seed;
  }
}

TEST(World, ClocksShowVirtualTimeWhileItLives) {
  const auto real_wall = std::chrono::system_clock::now();
  {
    World world(1);
    EXPECT_EQ(Monotonic::now(), world.now());
    EXPECT_EQ(system_clock().monotonic(), world.now());
    EXPECT_EQ(system_clock().wall(), world.wall());
    const auto wall = world.wall();
    const auto deadline = Deadline::after(10s);
    world.run_for(4s);
    EXPECT_EQ(deadline.remaining(), 6s);
    EXPECT_EQ(world.wall() - wall, 4s);
    world.jump_wall(-48h);
    EXPECT_EQ(system_clock().wall() - wall, 4s - 48h);
    EXPECT_EQ(deadline.remaining(), 6s);
    std::thread([&] { EXPECT_NE(Monotonic::now(), world.now()); }).join();
  }
  EXPECT_GE(std::chrono::system_clock::now(), real_wall);
  EXPECT_LT(std::chrono::system_clock::now(), real_wall + 1min);
}

TEST(World, RunForStopsAtItsTime) {
  World world(1);
  aio::Gate gate(world.executor());
  int ticks = 0;
  gate.spawn("ticker", [](int& count) -> Task<> {
    while (true) {
      co_await sleep(1s);
      ++count;
    }
  }(ticks));
  world.run_for(10s);
  EXPECT_EQ(ticks, 10);
  world.run_for(500ms);
  EXPECT_EQ(ticks, 10);
  EXPECT_TRUE(world.run(gate.close(Deadline::after(1s))));
}

TEST(World, WaitsOfAioWorkUnchanged) {
  for (const auto seed : seeds(50)) {
    World world(seed);
    const auto begin = world.now();
    aio::OneShot<int> set(world.executor()), never(world.executor());
    aio::Gate gate(world.executor());
    gate.spawn("setter", [](aio::OneShot<int>& shot) -> Task<> {
      co_await sleep(3s);
      shot.set(7);
    }(set));
    EXPECT_EQ(world.run(set.wait(Deadline::after(1min))), 7);
    EXPECT_EQ(world.now() - begin, 3s);
    EXPECT_EQ(world.run(never.wait(Deadline::after(1min))), std::nullopt);
    EXPECT_EQ(world.now() - begin, 63s);
    EXPECT_TRUE(world.run(gate.drain(Deadline::after(1s)))) << "CITADEL_SIM_SEED=" << seed;
  }
}

TEST(World, ADeadlineEndsATaskAtItsMoment) {
  for (const auto seed : seeds(50)) {
    World world(seed);
    const auto begin = world.now();
    const auto slow = []() -> Task<Result<int>> {
      co_await sleep(1h);
      co_return 1;
    };
    const auto result = world.run(aio::with_deadline<int>(slow(), Deadline::after(2s), "a slow task"));
    EXPECT_EQ(result.error().code, Code::deadline_exceeded) << "CITADEL_SIM_SEED=" << seed;
    EXPECT_EQ(world.now() - begin, 2s) << "CITADEL_SIM_SEED=" << seed;
  }
}

TEST(World, ExceptionsPassThrough) {
  World world(1);
  const auto thrower = []() -> Task<int> {
    co_await sleep(1s);
    throw std::runtime_error("thrown");
  };
  EXPECT_THROW((void)world.run(thrower()), std::runtime_error);
}

TEST(World, CoroutinesLeftBehindAreDestroyed) {
  auto witness = std::make_shared<int>(1);
  {
    World world(1);
    asio::co_spawn(
        world.executor(), [](std::shared_ptr<int>) -> Task<> { co_await sleep(1h); }(witness),
        [](std::exception_ptr) {});
    world.run_for(1s);
    EXPECT_GT(witness.use_count(), 1);
  }
  EXPECT_EQ(witness.use_count(), 1);
}

// A bug that one order hides and another shows: what a simulation is for.
TEST(World, FindsARaceThatFirstInFirstOutHides) {
  int wrong = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    World world(seed);
    aio::Gate gate(world.executor());
    bool opened = false;
    gate.spawn("opener", [](bool& flag) -> Task<> {
      flag = true;
      co_return;
    }(opened));
    gate.spawn("user", [](const bool& flag, int& failures) -> Task<> {
      if (!flag) ++failures;
      co_return;
    }(opened, wrong));
    EXPECT_TRUE(world.run(gate.drain(Deadline::after(1s))));
  }
  EXPECT_GT(wrong, 10);
  EXPECT_LT(wrong, 40);
}

TEST(WorldDeathTest, AWaitForNobodyIsFound) {
  EXPECT_DEATH(
      {
        World world(1);
        aio::OneShot<int> first(world.executor());
        world.run([]() -> Task<> {
          asio::steady_timer timer(co_await asio::this_coro::executor);
          asio::cancellation_signal never;
          co_await asio::async_initiate<decltype(asio::use_awaitable), void()>(
              [](auto handler) {
                // Kept for ever, as by somebody who forgot it.
                static std::optional<decltype(handler)> kept;
                kept.emplace(std::move(handler));
              },
              asio::use_awaitable);
        }());
      },
      "nobody will do");
}

}  // namespace
}  // namespace citadel::sim
