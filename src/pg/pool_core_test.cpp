#include "pg/pool_core.hpp"

#include <set>

#include "pg/pool_core_testing.hpp"

namespace citadel::pg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(PoolCore, OpensForAWaiterAndHandsOver) {
  StillPool pool(plain(2));
  const auto waiter = pool.wait();
  EXPECT_THAT(pool.actions(), ElementsAre("open 0"));
  pool.core.opened(0, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", waiter)));
  EXPECT_EQ(pool.core.state(0), State::lent);
  pool.core.release(0, Return::idle, pool.now);
  EXPECT_THAT(pool.actions(), IsEmpty());
  EXPECT_EQ(pool.take(), 0u);
}

TEST(PoolCore, WaiterIsServedFirst) {
  StillPool pool(plain(1));
  pool.fill(1);
  (void)pool.take();
  const auto first = pool.wait(), second = pool.wait();
  pool.core.release(0, Return::idle, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", first)));
  EXPECT_EQ(pool.core.acquire(pool.now, {}).kind, Kind::queued) << "nobody overtakes";
  pool.core.release(0, Return::idle, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", second)));
}

TEST(PoolCore, QueueIsBounded) {
  auto limits = plain(1);
  limits.queue_max = 2;
  StillPool pool(limits);
  (void)pool.wait();
  (void)pool.wait();
  EXPECT_EQ(pool.core.acquire(pool.now, {}).kind, Kind::refused);
  EXPECT_EQ(pool.core.totals().refused_queue, 1u);
}

TEST(PoolCore, AWaiterThatLeavesIsNeverHandedASession) {
  StillPool pool(plain(1));
  pool.fill(1);
  (void)pool.take();
  const auto first = pool.wait(), second = pool.wait(), third = pool.wait();
  pool.core.cancel(second);
  EXPECT_EQ(pool.core.expire(first).code, Code::overloaded);
  pool.core.release(0, Return::idle, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", third)));
  EXPECT_EQ(pool.core.totals().refused_time, 1u);
}

TEST(PoolCore, OpensOnlyWhereWaitersOutnumberSessionsOnTheirWay) {
  StillPool pool(plain(10));
  (void)pool.wait();
  (void)pool.wait();
  EXPECT_THAT(pool.actions(), ElementsAre("open 0", "open 1"));
  pool.core.opened(0, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("hand 0 to 0"));
  pool.core.release(0, Return::idle, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("hand 0 to 1"))
      << "the session that came back is faster than the one opening";
  (void)pool.wait();
  EXPECT_THAT(pool.actions(), IsEmpty()) << "one waits, one is on its way";
}

TEST(PoolCore, NeverMoreThanTheMaximumAndOpeningsAreLimited) {
  auto limits = plain(5);
  limits.opening_max = 2;
  StillPool pool(limits);
  for (int i = 0; i < 9; ++i) (void)pool.wait();
  EXPECT_THAT(pool.actions(), ElementsAre("open 0", "open 1"));
  for (Slot slot = 0; slot < 5; ++slot) {
    pool.core.opened(slot, pool.now);
    EXPECT_LE(pool.core.count(State::opening), 2u);
    (void)pool.actions();
  }
  EXPECT_EQ(pool.core.count(State::lent), 5u);
  EXPECT_EQ(pool.core.waiting(), 4u);
  pool.core.release(0, Return::unsettled, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("recover 0")) << "a session being recovered counts";
}

TEST(PoolCore, KeepsTheMinimumOnceStarted) {
  auto limits = plain(5);
  limits.size_min = 2;
  StillPool pool(limits);
  pool.tick_after(1s);
  EXPECT_THAT(pool.actions(), IsEmpty());
  pool.core.start(pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("open 0", "open 1"));
  pool.core.opened(0, pool.now);
  pool.core.opened(1, pool.now);
  EXPECT_EQ(pool.take(), 1u);
  pool.core.release(1, Return::broken, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("close 1", "open 1"));
}

TEST(PoolCore, TheHotSessionIsLentFirst) {
  StillPool pool(plain(3));
  pool.fill(3);
  const auto a = pool.take(), b = pool.take();
  pool.core.release(b, Return::idle, pool.now);
  pool.core.release(a, Return::idle, pool.now);
  EXPECT_EQ(pool.take(), a);
}

TEST(PoolCore, IdleSessionsCloseDownToTheMinimum) {
  auto limits = plain(4);
  limits.size_min = 1;
  limits.idle_timeout = 10s;
  StillPool pool(limits);
  pool.core.start(pool.now);
  (void)pool.actions();
  pool.core.opened(0, pool.now);
  pool.fill(3);
  pool.tick_after(9s);
  EXPECT_THAT(pool.actions(), IsEmpty());
  pool.tick_after(2s);
  EXPECT_EQ(pool.actions().size(), 2u);
  EXPECT_EQ(pool.core.count(State::idle), 1u);
}

TEST(PoolCore, LifetimeHasTenPercentJitterAndIsKept) {
  auto limits = plain(100);
  limits.lifetime = 1000s;
  limits.opening_max = 100;
  StillPool pool(limits);
  pool.fill(100);
  (void)pool.actions();
  std::set<std::size_t> left;
  pool.tick_after(899s);
  EXPECT_EQ(pool.core.count(State::idle), 100u);
  for (int second = 899; second < 1101; second += 10) {
    pool.tick_after(10s);
    left.insert(pool.core.count(State::idle));
  }
  EXPECT_EQ(pool.core.count(State::idle), 0u);
  EXPECT_GT(left.size(), 10u) << "they must not all close together";
}

TEST(PoolCore, ALentSessionWhoseLifetimeIsOverClosesOnReturnAndIsReplaced) {
  auto limits = plain(4);
  limits.size_min = 1;
  limits.lifetime = 10s;
  StillPool pool(limits);
  pool.core.start(pool.now);
  (void)pool.actions();
  pool.core.opened(0, pool.now);
  (void)pool.take();
  pool.now += 12s;
  pool.core.release(0, Return::idle, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("close 0", "open 0"));
}

TEST(PoolCore, LongIdleSessionIsValidatedBeforeItIsLent) {
  auto limits = plain(1);
  limits.validate_after = 30s;
  StillPool pool(limits);
  pool.fill(1);
  pool.now += 29s;
  pool.core.release(pool.take(), Return::unused, pool.now);
  pool.now += 1s;
  const auto waiter = pool.wait();
  EXPECT_THAT(pool.actions(), ElementsAre("validate 0")) << "an unused return proves nothing";
  pool.core.validated(0, true, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", waiter)));
}

TEST(PoolCore, SessionThatFailsValidationIsReplaced) {
  auto limits = plain(1);
  limits.validate_after = 30s;
  StillPool pool(limits);
  pool.fill(1);
  pool.now += 30s;
  const auto waiter = pool.wait();
  (void)pool.actions();
  pool.core.validated(0, false, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("close 0", "open 0"));
  pool.core.opened(0, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", waiter)));
}

TEST(PoolCore, OneBrokenSessionMakesTheIdleOnesSuspect) {
  StillPool pool(plain(3));
  pool.fill(3);
  const auto broken = pool.take();
  const auto busy = pool.take();
  pool.now += 1ms;
  pool.core.release(broken, Return::broken, pool.now);
  (void)pool.actions();
  (void)pool.wait();
  EXPECT_EQ(pool.actions().front(), "validate 0");
  pool.now += 1ms;
  pool.core.release(busy, Return::idle, pool.now);
  EXPECT_EQ(pool.core.count(State::lent), 1u) << "what worked after the death is no suspect";
}

TEST(PoolCore, UnsettledSessionIsRecoveredBeforeAnybodyHasIt) {
  StillPool pool(plain(1));
  pool.fill(1);
  (void)pool.take();
  const auto waiter = pool.wait();
  pool.core.release(0, Return::unsettled, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("recover 0"));
  pool.core.recovered(0, true, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", waiter)));
  const auto next = pool.wait();
  pool.core.release(0, Return::unsettled, pool.now);
  (void)pool.actions();
  pool.core.recovered(0, false, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre("close 0", "open 0"));
  pool.core.opened(0, pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", next)));
}

TEST(PoolCore, LeakIsReportedOnceWithItsOrigin) {
  auto limits = plain(1);
  limits.leak_after = 60s;
  StillPool pool(limits);
  pool.fill(1);
  const auto here = std::source_location::current();
  (void)pool.core.acquire(pool.now, {here, "test"});
  pool.tick_after(59s);
  EXPECT_THAT(pool.actions(), IsEmpty());
  pool.tick_after(2s);
  EXPECT_THAT(pool.actions(), ElementsAre("leak 0"));
  EXPECT_EQ(pool.core.origin(0).place.line(), here.line());
  EXPECT_EQ(pool.core.origin(0).name, "test");
  pool.tick_after(2s);
  EXPECT_THAT(pool.actions(), IsEmpty());
  pool.core.release(0, Return::idle, pool.now);
  (void)pool.take();
  pool.tick_after(61s);
  EXPECT_THAT(pool.actions(), ElementsAre("leak 0")) << "another loan, another report";
}

TEST(PoolCore, FlushClosesIdleAtOnceAndOthersWhenTheyComeBack) {
  StillPool pool(plain(4));
  pool.fill(3);
  const auto lent = pool.take(), unsettled = pool.take();
  pool.core.release(unsettled, Return::unsettled, pool.now);
  (void)pool.actions();
  (void)pool.take();
  (void)pool.wait();
  const auto opening = pool.actions();
  ASSERT_THAT(opening, ElementsAre("open 3"));
  pool.core.flush(pool.now);
  EXPECT_EQ(pool.core.generation(), 2u);
  EXPECT_EQ(pool.core.count(State::idle), 0u);
  pool.core.opened(3, pool.now);
  EXPECT_EQ(pool.actions().front(), "close 3") << "it was begun before the flush";
  pool.core.recovered(unsettled, true, pool.now);
  EXPECT_EQ(pool.actions().front(), fmt::format("close {}", unsettled));
  pool.core.release(lent, Return::idle, pool.now);
  EXPECT_EQ(pool.actions().front(), fmt::format("close {}", lent));
}

TEST(PoolCore, PausedPoolServesNobodyUntilItResumes) {
  StillPool pool(plain(2));
  pool.fill(1);
  pool.core.pause();
  const auto waiter = pool.wait(), late = pool.wait();
  pool.tick_after(1h);
  EXPECT_THAT(pool.actions(), IsEmpty());
  EXPECT_THAT(pool.core.expire(late).message, HasSubstr("paused"));
  pool.core.resume(pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand 0 to {}", waiter)));
}

TEST(PoolCore, CloseRefusesWaitersAndLeavesNothing) {
  StillPool pool(plain(4));
  pool.fill(4);
  const auto lent = pool.take(), unsettled = pool.take(), broken = pool.take();
  pool.now += 1ms;
  pool.core.release(broken, Return::broken, pool.now);
  const auto taken = pool.wait();
  const auto waiter = pool.wait();
  (void)pool.actions();
  ASSERT_EQ(pool.core.count(State::opening) + pool.core.count(State::validating), 2u);
  pool.core.close();
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("refuse {}", taken), fmt::format("refuse {}", waiter)));
  EXPECT_FALSE(pool.core.ended());
  EXPECT_EQ(pool.core.acquire(pool.now, {}).kind, Kind::refused);
  pool.core.release(lent, Return::idle, pool.now);
  pool.core.release(unsettled, Return::unsettled, pool.now);
  pool.core.recovered(unsettled, true, pool.now);
  for (Slot slot = 0; slot < 4; ++slot) {
    if (pool.core.state(slot) == State::opening) pool.core.opened(slot, pool.now);
    if (pool.core.state(slot) == State::validating) pool.core.validated(slot, true, pool.now);
  }
  EXPECT_TRUE(pool.core.ended());
  EXPECT_EQ(pool.core.next_wake(), MonotonicTime::max());
}

// --- when nothing can be opened

Error refused_connection() {
  return Error(Code::unavailable, "connection refused");
}

TEST(PoolCore, AfterAFailureOneProbeAtATimeWithBackoff) {
  auto limits = plain(50);
  limits.opening_max = 4;
  limits.reopen_first = 100ms;
  limits.reopen_ceiling = 2s;
  StillPool pool(limits);
  for (int i = 0; i < 50; ++i) (void)pool.wait();
  EXPECT_EQ(pool.actions().size(), 4u);
  for (Slot slot = 0; slot < 4; ++slot) pool.core.open_failed(slot, refused_connection(), pool.now);
  int probes = 0;
  const auto end = pool.now + 60s;
  while (pool.now < end) {
    const auto actions = pool.actions();
    ASSERT_LE(actions.size(), 1u) << "a storm";
    if (!actions.empty()) {
      ++probes;
      const Slot slot = static_cast<Slot>(std::stoul(actions.front().substr(5)));
      pool.core.open_failed(slot, refused_connection(), pool.now);
      (void)pool.actions();
    }
    const auto wake = pool.core.next_wake();
    ASSERT_LE(wake, pool.now + 2s) << "it would never probe again";
    pool.now = std::max(wake, pool.now + 1us);
    pool.core.tick(pool.now);
  }
  // Full jitter under a ceiling of 2 s: one a second on average.
  EXPECT_GT(probes, 30);
  EXPECT_LT(probes, 120);
  EXPECT_EQ(pool.core.waiting(), 50u) << "waiters wait until their deadline";
}

TEST(PoolCore, SuccessAfterFailuresOpensTheFloodgate) {
  auto limits = plain(10);
  StillPool pool(limits);
  for (int i = 0; i < 10; ++i) (void)pool.wait();
  (void)pool.actions();
  for (Slot slot = 0; slot < 10; ++slot) pool.core.open_failed(slot, refused_connection(), pool.now);
  (void)pool.actions();
  pool.tick_after(3s);
  ASSERT_EQ(pool.core.count(State::opening), 1u);
  std::size_t opened = 0;
  while (const auto action = pool.core.next_action()) {
    if (action->what != Do::open) continue;
    pool.core.opened(action->slot, pool.now);
    if (++opened == 1) EXPECT_EQ(pool.core.count(State::opening), 9u);
  }
  EXPECT_EQ(pool.core.count(State::lent), 10u);
  EXPECT_FALSE(pool.core.last_open_error());
}

TEST(PoolCore, ExpiredWaiterLearnsWhyNothingIsOpen) {
  StillPool pool(plain(2));
  const auto first = pool.wait(), second = pool.wait();
  EXPECT_EQ(pool.core.expire(first).code, Code::unavailable);
  pool.core.open_failed(0, refused_connection(), pool.now);
  const auto error = pool.core.expire(second);
  EXPECT_EQ(error.code, Code::unavailable);
  EXPECT_THAT(error.message, HasSubstr("connection refused"));
}

TEST(PoolCore, WhileASessionIsOpenScarcityIsLocal) {
  StillPool pool(plain(2));
  pool.fill(1);
  (void)pool.take();
  const auto waiter = pool.wait();
  ASSERT_THAT(pool.actions(), ElementsAre("open 1"));
  pool.core.open_failed(1, refused_connection(), pool.now);
  EXPECT_EQ(pool.core.expire(waiter).code, Code::overloaded);
}

// --- generations

// Lends `count` idle sessions.
std::vector<Slot> take(StillPool& pool, std::size_t count) {
  std::vector<Slot> taken;
  for (std::size_t i = 0; i < count; ++i) taken.push_back(pool.take());
  return taken;
}

TEST(PoolCore, SessionsLostTogetherEndTheGeneration) {
  StillPool pool(plain(10));
  pool.fill(10);
  const auto lent = take(pool, 4);
  for (std::size_t i = 0; i < losses_flush; ++i) {
    EXPECT_EQ(pool.core.generation(), 1u);
    EXPECT_EQ(pool.core.count(State::idle), 6u);
    pool.core.release(lent[i], Return::broken, pool.now);
  }
  EXPECT_EQ(pool.core.generation(), 2u);
  EXPECT_EQ(pool.core.count(State::idle), 0u);
  pool.core.release(lent[3], Return::idle, pool.now);
  EXPECT_EQ(pool.core.count(State::free), 10u) << "a session of the earlier generation is kept";
  EXPECT_EQ(pool.actions().size(), 10u);
}

TEST(PoolCore, SessionsLostOneByOneOverTimeDoNot) {
  StillPool pool(plain(10));
  pool.fill(10);
  const auto lent = take(pool, 8);
  for (const Slot slot : lent) {
    pool.core.release(slot, Return::broken, pool.now);
    pool.now += loss_window / 2 + 1ms;
  }
  EXPECT_EQ(pool.core.generation(), 1u);
  EXPECT_EQ(pool.core.count(State::idle), 2u);
}

TEST(PoolCore, LossesOfAnEarlierGenerationSayNothingOfThisOne) {
  StillPool pool(plain(10));
  pool.fill(6);
  const auto lent = take(pool, 6);
  pool.core.flush(pool.now);
  for (const Slot slot : lent)
    pool.core.release(slot, slot % 2 == 0 ? Return::broken : Return::demoted, pool.now);
  EXPECT_EQ(pool.core.generation(), 2u);
}

TEST(PoolCore, AFailedValidationIsALoss) {
  auto limits = plain(10);
  limits.validate_after = 1s;
  StillPool pool(limits);
  pool.fill(10);
  pool.now += 2s;
  for (std::size_t i = 0; i < losses_flush; ++i) (void)pool.wait();
  for (const Slot slot : {9, 8, 7}) pool.core.validated(slot, false, pool.now);
  EXPECT_EQ(pool.core.generation(), 2u);
}

TEST(PoolCore, AServerThatTakesNoWritesEndsTheGenerationOnce) {
  StillPool pool(plain(10));
  pool.fill(10);
  const auto lent = take(pool, 5);
  for (const Slot slot : lent) pool.core.release(slot, Return::demoted, pool.now);
  EXPECT_EQ(pool.core.generation(), 2u);
  EXPECT_EQ(pool.core.count(State::free), 10u);
}

// Writers that meet a read-only server again and again must not take all sessions from the readers each time.
TEST(PoolCore, WhereItGoesOnTheGenerationsLastLongerAndLonger) {
  StillPool pool(plain(2));
  const auto end = pool.now + 300s;
  while (pool.now < end) {
    pool.fill(1);
    pool.core.release(pool.take(), Return::demoted, pool.now);
    (void)pool.actions();
    pool.now += 100ms;
  }
  // After 0, 1, 3, 7, 15, 31, 63 s, then each minute.
  EXPECT_EQ(pool.core.generation(), 1u + 7 + 3);
  pool.now += 10min;
  pool.fill(1);
  pool.core.release(pool.take(), Return::demoted, pool.now);
  (void)pool.actions();
  pool.now += flush_pause_first;
  pool.fill(1);
  pool.core.release(pool.take(), Return::demoted, pool.now);
  EXPECT_EQ(pool.core.generation(), 1u + 7 + 3 + 2) << "a new trouble begins anew";
}

TEST(PoolCoreDeathTest, AReturnOfWhatIsNotLentIsABug) {
  StillPool pool(plain(1));
  EXPECT_DEATH(pool.core.release(0, Return::idle, pool.now), "not lent");
  EXPECT_DEATH(pool.core.opened(0, pool.now), "nobody asked");
}

}  // namespace
}  // namespace citadel::pg
