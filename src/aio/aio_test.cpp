#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>

#include "aio/gate.hpp"
#include "aio/run.hpp"
#include "aio/runtime.hpp"
#include "aio/wait.hpp"

namespace citadel::aio {
namespace {

using namespace std::chrono_literals;

Task<> sleep_and_note(Monotonic::duration duration, bool& noted) {
  co_await sleep_for(duration);  // sleep: it is what is tested
  noted = true;
}

TEST(Gate, JoinsWhatItSpawned) {
  asio::io_context context;
  Gate gate(context.get_executor());
  bool noted = false;
  gate.spawn("short", sleep_and_note(1ms, noted));
  EXPECT_EQ(gate.live(), 1u);
  EXPECT_TRUE(run(context, gate.drain(Deadline::after(10s))));
  EXPECT_TRUE(noted);
  EXPECT_EQ(gate.live(), 0u);
}

TEST(Gate, CloseCancelsWhatStillRuns) {
  asio::io_context context;
  Gate gate(context.get_executor());
  bool noted = false;
  gate.spawn("long", sleep_and_note(1h, noted));
  gate.spawn("long too", sleep_and_note(1h, noted));
  EXPECT_TRUE(run(context, gate.close(Deadline::after(10s))));
  EXPECT_FALSE(noted);
  gate.spawn("late", sleep_and_note(1h, noted));
  EXPECT_EQ(gate.live(), 0u);
}

TEST(Gate, DrainNamesTheOneThatDoesNotEnd) {
  asio::io_context context;
  Gate gate(context.get_executor());
  bool noted = false;
  gate.spawn("stubborn", sleep_and_note(1h, noted));
  const auto drained = run(context, gate.drain(Deadline::after(1ms)));
  ASSERT_FALSE(drained);
  EXPECT_THAT(drained.error().message, testing::HasSubstr("stubborn"));
  EXPECT_TRUE(run(context, gate.close(Deadline::after(10s))));
}

TEST(Gate, TwoMayWaitSideBySide) {
  asio::io_context context;
  Gate gate(context.get_executor());
  bool noted = false;
  gate.spawn("long", sleep_and_note(1h, noted));
  Gate waiters(context.get_executor());
  int ended = 0;
  const auto wait = [](Gate& of, int& counter) -> Task<> {
    EXPECT_TRUE(co_await of.drain(Deadline::after(10s)));
    ++counter;
  };
  waiters.spawn("first", wait(gate, ended));
  waiters.spawn("second", wait(gate, ended));
  // Both are waiting: nothing is left to do, and neither wakes the other.
  EXPECT_LT(context.poll(), 20u);
  EXPECT_EQ(ended, 0);
  EXPECT_TRUE(run(context, gate.close(Deadline::after(10s))));
  EXPECT_TRUE(run(context, waiters.drain(Deadline::after(10s))));
  EXPECT_EQ(ended, 2);
}

TEST(GateDeathTest, LiveCoroutinesAtDestructionAreABug) {
  EXPECT_DEATH(
      {
        asio::io_context context;
        Gate gate(context.get_executor());
        bool noted = false;
        gate.spawn("left", sleep_and_note(1h, noted));
      },
      "before it was closed");
}

TEST(OneShot, GivesTheValueOrNothingAtTheDeadline) {
  asio::io_context context;
  OneShot<int> shot(context.get_executor());
  EXPECT_FALSE(run(context, shot.wait(Deadline::after(1ms))));
  asio::post(context, [&] { shot.set(7); });
  EXPECT_EQ(run(context, shot.wait(Deadline::after(10s))), 7);
}

TEST(OneShot, AValueSetBeforeTheWaitIsNotLost) {
  asio::io_context context;
  OneShot<int> shot(context.get_executor());
  shot.set(1);
  shot.set(2);
  EXPECT_EQ(run(context, shot.wait(Deadline::after(0s))), 1);
}

TEST(OneShot, MayBeSetFromAnotherThread) {
  asio::io_context context;
  auto shot = std::make_shared<OneShot<int>>(context.get_executor());
  std::thread other([shot] { OneShot<int>::set_from(shot, 3); });
  EXPECT_EQ(run(context, shot->wait(Deadline::after(10s))), 3);
  other.join();
}

Task<Result<int>> answer_after(Monotonic::duration duration) {
  co_await sleep_for(duration);  // sleep: stands for work that takes its time
  co_return 42;
}

TEST(WithDeadline, EndsAtTheDeadlineOrWithTheResult) {
  asio::io_context context;
  EXPECT_EQ(run(context, with_deadline(answer_after(1ms), Deadline::after(10s), "answer")).value(), 42);
  const auto late = run(context, with_deadline(answer_after(1h), Deadline::after(1ms), "answer"));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::deadline_exceeded);
}

Task<Result<int>> throws() {
  throw std::runtime_error("bug");
  co_return 0;
}

TEST(WithDeadline, AnExceptionPassesThrough) {
  asio::io_context context;
  EXPECT_THROW((void)run(context, with_deadline(throws(), Deadline::after(10s), "answer")),
               std::runtime_error);
}

TEST(WithDeadline, ACancelledCallerIsNotToldOfADeadline) {
  asio::io_context context;
  Gate gate(context.get_executor());
  bool told = false;
  gate.spawn("caller", [](bool& flag) -> Task<> {
    (void)co_await with_deadline(answer_after(1h), Deadline::after(1h), "answer");
    flag = true;
  }(told));
  context.poll();
  EXPECT_TRUE(run(context, gate.close(Deadline::after(10s))));
  EXPECT_FALSE(told);
}

// Reacts to its cancellation by an error of its own.
Task<Result<int>> fails_when_cancelled(Code code) {
  asio::steady_timer timer(co_await asio::this_coro::executor, MonotonicTime::max());
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  co_return fail(code, "of its own");
}

TEST(WithDeadline, TheTasksOwnErrorIsKeptSaveThatItWasCancelled) {
  asio::io_context context;
  const auto code_of = [&](Code code) {
    return run(context, with_deadline(fails_when_cancelled(code), Deadline::after(1ms), "answer"))
        .error()
        .code;
  };
  EXPECT_EQ(code_of(Code::commit_unknown), Code::commit_unknown);
  EXPECT_EQ(code_of(Code::cancelled), Code::deadline_exceeded);
}

Task<std::thread::id> this_thread() {
  co_return std::this_thread::get_id();
}

TEST(Runtime, RunOnMovesToTheOtherThreadAndBack) {
  asio::io_context context;  // outlives the threads of runtime: see run_on
  Runtime runtime(2);
  const auto own = std::this_thread::get_id();
  run(context, [](Runtime& r, std::thread::id caller) -> Task<> {
    const auto first = co_await run_on(r.executor(0), this_thread());
    const auto second = co_await run_on(r.executor(1), this_thread());
    EXPECT_NE(first, second);
    EXPECT_NE(first, caller);
    EXPECT_EQ(std::this_thread::get_id(), caller);
  }(runtime, own));
}

}  // namespace
}  // namespace citadel::aio
