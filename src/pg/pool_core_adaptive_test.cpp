// How PoolCore keeps to its adaptive limit, and when it does not.
#include <map>

#include "pg/pool_core_testing.hpp"

namespace citadel::pg {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(PoolCore, LendsNoMoreThanTheAdaptiveLimitToTheImpatient) {
  StillPool pool(adaptive(100));
  const auto limit = pool.core.limit();
  ASSERT_LT(limit, 100u);
  for (int i = 0; i < 100; ++i) (void)pool.wait();
  while (const auto action = pool.core.next_action()) {
    if (action->what == Do::open) pool.core.opened(action->slot, pool.now);
  }
  EXPECT_EQ(pool.core.count(State::lent), limit);
  EXPECT_EQ(pool.core.next_wake(), pool.now + 50ms) << "when patience is at its end";
}

TEST(PoolCore, PatienceServesBeyondTheAdaptiveLimitUpToTheMaximum) {
  StillPool pool(adaptive(100));
  for (int i = 0; i < 120; ++i) (void)pool.wait();
  for (int round = 0; round < 2; ++round) {
    while (const auto action = pool.core.next_action()) {
      if (action->what == Do::open) pool.core.opened(action->slot, pool.now);
    }
    pool.tick_after(50ms);
  }
  while (const auto action = pool.core.next_action()) {
    if (action->what == Do::open) pool.core.opened(action->slot, pool.now);
  }
  EXPECT_EQ(pool.core.count(State::lent), 100u);
  EXPECT_EQ(pool.core.waiting(), 20u);
}

// A connect that is lost takes seconds to fail; those after it may find their way.
TEST(PoolCore, WhereOpensHangPatienceTriesOneMoreEachTime) {
  StillPool pool(adaptive(100));
  const auto limit = pool.core.limit();
  for (int i = 0; i < 100; ++i) (void)pool.wait();
  EXPECT_EQ(pool.actions().size(), limit);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(pool.core.next_wake(), pool.now + 50ms);
    pool.tick_after(49ms);
    EXPECT_THAT(pool.actions(), IsEmpty());
    pool.tick_after(1ms);
    EXPECT_EQ(pool.actions().size(), 1u);
  }
  EXPECT_EQ(pool.core.count(State::opening), limit + 2);
  // One comes: the others are waited for again.
  pool.tick_after(30ms);
  pool.core.opened(static_cast<Slot>(limit), pool.now);
  EXPECT_THAT(pool.actions(), ElementsAre(fmt::format("hand {} to 0", limit)));
  pool.tick_after(49ms);
  EXPECT_THAT(pool.actions(), IsEmpty());
}

TEST(PoolCore, IdleSessionsBeyondTheAdaptiveLimitAreNotLentToTheImpatient) {
  StillPool pool(adaptive(100));
  const auto limit = pool.core.limit();
  pool.core.pause();
  for (std::size_t i = 0; i < limit + 5; ++i) (void)pool.wait();
  pool.now += 50ms;
  pool.core.resume(pool.now);
  std::vector<Slot> lent;
  while (const auto action = pool.core.next_action()) {
    if (action->what == Do::open) pool.core.opened(action->slot, pool.now);
    if (action->what == Do::hand) lent.push_back(action->slot);
  }
  ASSERT_EQ(lent.size(), limit + 5);
  for (const Slot slot : lent) pool.core.release(slot, Return::unused, pool.now);
  for (std::size_t i = 0; i < limit; ++i) (void)pool.take();
  (void)pool.wait();
  EXPECT_THAT(pool.actions(), IsEmpty());
  pool.tick_after(50ms);
  EXPECT_EQ(pool.actions().size(), 1u);
}

}  // namespace
}  // namespace citadel::pg
