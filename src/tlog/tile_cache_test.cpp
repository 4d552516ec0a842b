#include "tlog/tile_cache.hpp"

#include <gtest/gtest.h>

namespace citadel::tlog {
namespace {

Tile tile(std::uint8_t level, std::uint64_t index, std::uint32_t width, char fill = 'h') {
  return {{level, index, width}, std::string(width * hash_bytes, fill)};
}

TEST(TileCache, GivesWhatWasPutWithTheWidthThatIsAskedFor) {
  TileCache cache(1 << 20);
  EXPECT_FALSE(cache.find({0, 7, 1}));
  cache.put(tile(0, 7, 100));
  EXPECT_EQ(cache.find({0, 7, 100}), tile(0, 7, 100));
  EXPECT_EQ(cache.find({0, 7, 3}), tile(0, 7, 3));
  EXPECT_FALSE(cache.find({0, 7, 101}));
  EXPECT_FALSE(cache.find({1, 7, 1}));
  EXPECT_FALSE(cache.find({0, 8, 1}));
}

TEST(TileCache, ATileThatHasGrownReplacesItselfAndAShorterOneDoesNot) {
  TileCache cache(1 << 20);
  cache.put(tile(0, 0, 100, 'a'));
  cache.put(tile(0, 0, 256, 'b'));
  cache.put(tile(0, 0, 50, 'c'));
  EXPECT_EQ(cache.find({0, 0, 256}), tile(0, 0, 256, 'b'));
  EXPECT_EQ(cache.bytes(), 256 * hash_bytes);
}

TEST(TileCache, HoldsNoMoreBytesThanItMayAndKeepsWhatWasUsedLast) {
  const std::size_t full = tile_width_max * hash_bytes;
  TileCache cache(3 * full);
  for (std::uint64_t i = 0; i < 3; ++i) cache.put(tile(0, i, 256));
  EXPECT_EQ(cache.bytes(), 3 * full);
  ASSERT_TRUE(cache.find({0, 0, 256}));
  cache.put(tile(0, 3, 256));
  EXPECT_EQ(cache.bytes(), 3 * full);
  EXPECT_TRUE(cache.find({0, 0, 256}));
  EXPECT_FALSE(cache.find({0, 1, 256}));
  cache.put(tile(0, 4, 1));
  EXPECT_LE(cache.bytes(), 3 * full);
  cache.clear();
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_FALSE(cache.find({0, 0, 256}));
}

TEST(TileCache, WithoutRoomItHoldsNothing) {
  TileCache cache(100);
  cache.put(tile(0, 0, 256));
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_FALSE(cache.find({0, 0, 256}));
}

}  // namespace
}  // namespace citadel::tlog
