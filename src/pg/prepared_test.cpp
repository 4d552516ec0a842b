#include "pg/detail/prepared.hpp"

#include <gtest/gtest.h>

namespace citadel::pg {
namespace {

constexpr Oid text = 25;
constexpr Oid int4 = 23;

TEST(PreparedCache, FindsByTextAndTypes) {
  PreparedCache cache(4);
  const Oid types[] = {text};
  const Oid others[] = {int4};
  EXPECT_EQ(cache.find("a", types), nullptr);
  cache.insert(cache.new_name(), "a", types);
  ASSERT_NE(cache.find("a", types), nullptr);
  EXPECT_EQ(*cache.find("a", types), "c1");
  EXPECT_EQ(cache.find("a", others), nullptr);
  EXPECT_EQ(cache.find("a", {}), nullptr);
  cache.insert(cache.new_name(), "a", others);
  EXPECT_EQ(*cache.find("a", others), "c2");
  EXPECT_EQ(cache.size(), 2u);
}

TEST(PreparedCache, TheLeastRecentlyUsedLeaves) {
  PreparedCache cache(2);
  cache.insert("a", "a", {});
  cache.insert("b", "b", {});
  EXPECT_FALSE(cache.evict_surplus());
  (void)cache.find("a", {});
  cache.insert("c", "c", {});
  EXPECT_EQ(cache.evict_surplus(), "b");
  EXPECT_FALSE(cache.evict_surplus());
  EXPECT_NE(cache.find("a", {}), nullptr);
  EXPECT_EQ(cache.find("b", {}), nullptr);
}

TEST(PreparedCache, KeepsItsOwnCopyOfTheText) {
  PreparedCache cache(2);
  {
    const std::string passing = "SELECT 1";
    cache.insert("a", passing, {});
  }
  EXPECT_NE(cache.find("SELECT 1", {}), nullptr);
}

TEST(PreparedCache, EraseInsertAndClear) {
  PreparedCache cache(2);
  cache.insert("a", "a", {});
  cache.insert("b", "a", {});
  EXPECT_EQ(*cache.find("a", {}), "b");
  EXPECT_EQ(cache.size(), 1u);
  cache.erase("a", {});
  cache.erase("a", {});
  EXPECT_EQ(cache.size(), 0u);
  cache.insert("c", "c", {});
  cache.clear();
  EXPECT_EQ(cache.find("c", {}), nullptr);
}

}  // namespace
}  // namespace citadel::pg
