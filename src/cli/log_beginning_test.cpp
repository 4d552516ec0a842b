#include "cli/log_beginning.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace citadel::cli {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t first = 256 * 300;  // 300 tiles of level 0, one full tile of level 1
constexpr std::uint64_t size = first + 1'000;

tlog::Hash leaf(std::uint64_t i) {
  return tlog::leaf_hash(as_bytes(std::to_string(i)));
}

// The tiles of a log, as a daemon has them: by level and index, in their widest form.
class LogBeginningTest : public testing::Test {
 protected:
  LogBeginningTest() {
    tlog::TileBuilder builder;
    for (std::uint64_t i = 0; i < size; ++i) {
      builder.append(leaf(i));
      if (builder.size() == older_.size) older_.root = builder.root();
      if (builder.size() == first) root_ = builder.root();
    }
    for (auto& tile : builder.take_changed()) tiles_[{tile.id.level, tile.id.index}] = std::move(tile.hashes);
  }
  Result<std::string> fetch(const tlog::TilePath& path) {
    const auto at = tiles_.find({path.id.level, path.id.index});
    if (at == tiles_.end() || at->second.size() < path.id.width * tlog::hash_bytes)
      return fail(Code::not_found, "there is no tile");
    return at->second.substr(0, path.id.width * tlog::hash_bytes);
  }
  FetchTile fetcher() {
    return [this](const tlog::TilePath& path) { return fetch(path); };
  }

  std::map<std::pair<std::uint8_t, std::uint64_t>, std::string> tiles_;
  tlog::Checkpoint older_{.origin = "o", .size = 70'001, .root = {}, .extensions = {}};
  tlog::Hash root_{};
};

TEST_F(LogBeginningTest, TheTreeBeforeTheFirstEntryComesFromTilesAboveTheLeaves) {
  std::erase_if(tiles_, [](const auto& tile) { return tile.first.first == 0; });
  const auto beginning = read_beginning(first, fetcher());
  ASSERT_TRUE(beginning) << beginning.error().to_string();
  EXPECT_EQ(beginning->tree.size(), first);
  EXPECT_EQ(beginning->tree.root(), root_);
  EXPECT_EQ(beginning->tiles, 3u);  // the right edge has two; one full tile is under the second
  EXPECT_EQ(read_beginning(0, fetcher())->tree.size(), 0u);
}

TEST_F(LogBeginningTest, ATileThatWasChangedOrTakenAwayIsNamed) {
  // In the middle of a full tile of level 1, which only the level above it knows.
  const auto kept = tiles_[{1, 0}];
  tiles_[{1, 0}][40] ^= 1;
  auto faulty = read_beginning(first, fetcher());
  ASSERT_FALSE(faulty);
  EXPECT_EQ(faulty.error().code, Code::corrupt);
  EXPECT_THAT(faulty.error().message, HasSubstr("tile/1/000 was changed"));
  tiles_.erase({1, 0});
  faulty = read_beginning(first, fetcher());
  ASSERT_FALSE(faulty);
  EXPECT_EQ(faulty.error().code, Code::corrupt);
  EXPECT_THAT(faulty.error().message, HasSubstr("tile/1/000 is missing"));
  tiles_[{1, 0}] = kept;
  // On the right edge it makes another root, which the walk to the signed one finds.
  tiles_[{1, 1}][0] ^= 1;
  EXPECT_NE(read_beginning(first, fetcher())->tree.root(), root_);
}

TEST_F(LogBeginningTest, NobodyPrunesWithinATile) {
  const auto faulty = read_beginning(first + 1, fetcher());
  ASSERT_FALSE(faulty);
  EXPECT_THAT(faulty.error().message, HasSubstr("entries 0 to 76800 are missing"));
}

TEST_F(LogBeginningTest, AnOlderCheckpointOfWhatWasPrunedIsMet) {
  const auto beginning = read_beginning(first, fetcher()).value();
  EXPECT_TRUE(check_beginning_extends(beginning, older_, fetcher()));
  older_.root[3] ^= std::byte{1};
  const auto other = check_beginning_extends(beginning, older_, fetcher());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::corrupt);
  EXPECT_THAT(other.error().message, HasSubstr("does not extend the older checkpoint of 70001 entries"));
}

}  // namespace
}  // namespace citadel::cli
