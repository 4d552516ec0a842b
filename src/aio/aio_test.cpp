#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <deque>
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

// The cancel is on its way to the other thread while the task ends there and the caller goes away.
TEST(Runtime, RunOnIsNotTouchedByACancelThatArrivesLate) {
  std::latch running(1), cancelled(1), ended(1), arrived(1);
  asio::cancellation_signal cancel;
  Runtime runtime(2);
  const auto work = [](std::latch& at_work, std::latch& until) -> Task<int> {
    // A task that never waits for anything reports its end by one more turn, behind what blocks below.
    co_await asio::post(asio::use_awaitable);
    at_work.count_down();
    until.wait();
    co_return 7;
  };
  const auto call = [](Executor other, Task<int> task) -> Task<> {
    EXPECT_EQ(co_await run_on(other, std::move(task)), 7);
  };
  asio::co_spawn(
      runtime.executor(1), call(runtime.executor(0), work(running, cancelled)),
      asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr) { ended.count_down(); }));
  asio::post(runtime.executor(1), [&] {
    running.wait();
    asio::post(runtime.executor(0), [&] { ended.wait(); });  // so that the cancel arrives after the end
    cancel.emit(asio::cancellation_type::terminal);
    cancelled.count_down();
  });
  ended.wait();
  asio::post(runtime.executor(0), [&] { arrived.count_down(); });
  arrived.wait();
}

// Ends by itself or by the cancel, whichever is first.
TEST(Runtime, RunOnMayBeCancelledInTheMomentInWhichItEnds) {
  struct Caller {
    asio::cancellation_signal cancel;
    std::latch ended{1};
  };
  std::deque<Caller> callers;
  Runtime runtime(2);
  for (int i = 0; i < 2'000; ++i) {
    Caller& caller = callers.emplace_back();
    const auto call = [](Executor other, Monotonic::duration duration) -> Task<> {
      // sleep: stands for work that may be cancelled
      co_await run_on(other, sleep_for(duration));
    };
    asio::post(runtime.executor(1), [&, i] {
      asio::co_spawn(runtime.executor(1), call(runtime.executor(0), std::chrono::microseconds(i % 50)),
                     asio::bind_cancellation_slot(caller.cancel.slot(),
                                                  [&](std::exception_ptr) { caller.ended.count_down(); }));
    });
    // Sweeps the two moments across each other.
    for (const auto until = Monotonic::now() + std::chrono::microseconds(i % 7 * 10);
         Monotonic::now() < until;) {
    }
    asio::post(runtime.executor(1), [&] { caller.cancel.emit(asio::cancellation_type::terminal); });
    caller.ended.wait();
  }
}

TEST(Runtime, RunOnPassesACancelOn) {
  std::latch ended(1);
  asio::cancellation_signal cancel;
  Runtime runtime(2);
  const auto call = [](Executor other) -> Task<> {
    co_await run_on(other, sleep_for(1h));  // sleep: stands for work that only a cancel ends
  };
  asio::post(runtime.executor(1), [&] {
    asio::co_spawn(runtime.executor(1), call(runtime.executor(0)),
                   asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr exception) {
                     EXPECT_TRUE(exception);
                     ended.count_down();
                   }));
  });
  asio::post(runtime.executor(1), [&] { cancel.emit(asio::cancellation_type::terminal); });
  ended.wait();
}

}  // namespace
}  // namespace citadel::aio
