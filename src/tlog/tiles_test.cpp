#include "tlog/tiles.hpp"

#include <gtest/gtest.h>

#include "tlog/test_tree.hpp"
#include "tlog/tile_builder.hpp"

namespace citadel::tlog {
namespace {

// Rows as a database has them: one a tile, the last written wins.
using Rows = std::map<std::pair<std::uint8_t, std::uint64_t>, std::string>;

void upsert(Rows& rows, const std::vector<Tile>& tiles) {
  for (const Tile& tile : tiles) rows[{tile.id.level, tile.id.index}] = tile.hashes;
}

std::vector<Tile> right_edge(const Rows& rows, std::uint64_t size) {
  std::vector<Tile> tiles;
  for (const TileId& id : tiles_for_root(size)) tiles.push_back({id, rows.at({id.level, id.index})});
  return tiles;
}

// Every tile of a tree straight from the definition in tlog-tiles.
Rows reference_rows(std::span<const Hash> leaves) {
  Rows rows;
  std::vector<Hash> level_hashes(leaves.begin(), leaves.end());
  for (std::uint8_t level = 0; !level_hashes.empty(); ++level) {
    std::vector<Hash> above;
    for (std::size_t i = 0; i < level_hashes.size(); ++i) {
      rows[{level, i / 256}] += as_text(level_hashes[i]);
      if (i % 256 == 255) above.push_back(reference_root(std::span(level_hashes).subspan(i - 255, 256)));
    }
    level_hashes = std::move(above);
  }
  return rows;
}

Rows build(std::span<const Hash> leaves) {
  Rows rows;
  TileBuilder builder;
  for (const Hash& leaf : leaves) builder.append(leaf);
  upsert(rows, builder.take_changed());
  return rows;
}

TEST(TilePath, IsWrittenAsTheSpecificationDoes) {
  for (const auto& [path, text] : std::initializer_list<std::pair<TilePath, std::string_view>>{
           {{TileKind::hashes, {0, 0, 256}}, "tile/0/000"},
           {{TileKind::hashes, {0, 1'234'067, 256}}, "tile/0/x001/x234/067"},
           {{TileKind::hashes, {3, 999, 1}}, "tile/3/999.p/1"},
           {{TileKind::hashes, {63, 1'000, 255}}, "tile/63/x001/000.p/255"},
           {{TileKind::hashes, {0, tree_size_max, 256}}, "tile/0/x009/x223/x372/x036/x854/x775/807"},
           {{TileKind::entries, {0, 273, 112}}, "tile/entries/273.p/112"},
           {{TileKind::entries, {0, 1'000'000, 256}}, "tile/entries/x001/x000/000"}}) {
    EXPECT_EQ(path.encode(), text);
    const auto parsed = TilePath::parse(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, path) << text;
  }
}

TEST(TilePath, RefusesEveryOtherForm) {
  for (const auto* text : {"",
                           "tile",
                           "tile/",
                           "tile/0",
                           "tile/0/",
                           "tile/0/0",
                           "tile/0/00",
                           "tile/0/0000",
                           "tile/00/000",
                           "tile/01/000",
                           "tile/64/000",
                           "tile/-1/000",
                           "tile/+1/000",
                           "tile/x/000",
                           "tile//000",
                           "tile/0/x000/000",
                           "tile/0/x000/001",
                           "tile/0/x001",
                           "tile/0/x001/",
                           "tile/0/001/000",
                           "tile/0/x001/x000",
                           "tile/0/x01/000",
                           "tile/0/x0001/000",
                           "tile/0/X001/000",
                           "tile/0/000.p",
                           "tile/0/000.p/",
                           "tile/0/000.p/0",
                           "tile/0/000.p/01",
                           "tile/0/000.p/256",
                           "tile/0/000.p/1000",
                           "tile/0/000.p/-1",
                           "tile/0/000.p/1/",
                           "tile/0/000.p/1.p/1",
                           "tile/0/000/",
                           "/tile/0/000",
                           "tile/0/000 ",
                           "tile/0/000\n",
                           "tile/entries/",
                           "tile/entries/0",
                           "tile/entries/000.p/256",
                           "tile/entries",
                           "tile/entries/x000/000",
                           "tile/0/x009/x223/x372/x036/x854/x775/808",
                           "tile/0/x999/x999/x999/x999/x999/x999/x999",
                           "tile/0/x018/x446/x744/x073/x709/x551/616",
                           "tile/0/../000",
                           "tile/0/0a0",
                           "tile/8/0/000"}) {
    EXPECT_EQ(code_of(TilePath::parse(text)), Code::invalid_argument) << text;
  }
}

TEST(TilePath, ComesBackForRandomTiles) {
  SeededRandom random(3);
  for (int i = 0; i < 5'000; ++i) {
    TilePath path;
    path.kind = random.below(4) == 0 ? TileKind::entries : TileKind::hashes;
    path.id = {path.kind == TileKind::entries ? std::uint8_t{0} : static_cast<std::uint8_t>(random.below(64)),
               (random.next() >> 1) >> random.below(63), static_cast<std::uint32_t>(1 + random.below(256))};
    const std::string text = path.encode();
    ASSERT_EQ(TilePath::parse(text).value(), path) << text;
  }
}

// The example of tlog-tiles.
TEST(Tiles, SeventyThousandLeavesHaveTheTilesOfTheExample) {
  EXPECT_EQ(tile_count(0, 70'000), 274u);
  EXPECT_EQ(tile_width(0, 272, 70'000), 256u);
  EXPECT_EQ(tile_width(0, 273, 70'000), 112u);
  EXPECT_EQ(tile_width(0, 274, 70'000), 0u);
  EXPECT_EQ(tile_width(1, 0, 70'000), 256u);
  EXPECT_EQ(tile_width(1, 1, 70'000), 17u);
  EXPECT_EQ(tile_width(2, 0, 70'000), 1u);
  EXPECT_EQ(tile_count(3, 70'000), 0u);
  EXPECT_EQ(tiles_for_root(70'000), (std::vector<TileId>{{0, 273, 112}, {1, 1, 17}, {2, 0, 1}}));
  EXPECT_EQ(tiles_for_root(256), (std::vector<TileId>{{1, 0, 1}}));
  EXPECT_TRUE(tiles_for_root(0).empty());
  EXPECT_EQ(tile_width(63, 0, tree_size_max), 0u);
  EXPECT_EQ(tile_width(7, 0, tree_size_max), 127u);
  EXPECT_EQ(tile_width(0, tree_size_max >> 8, tree_size_max), 255u);
}

// A source over rows that counts what it was asked for.
struct Source {
  const Rows& rows;
  std::vector<TileId> asked;
  TileSource function() {
    return [this](const TileId& id) -> Result<std::string> {
      asked.push_back(id);
      const auto found = rows.find({id.level, id.index});
      if (found == rows.end()) return fail(Code::not_found, "no such tile");
      return found->second;
    };
  }
};

void sort(std::vector<TileId>& tiles) {
  std::ranges::sort(tiles);
}

TEST(Tiles, ProofsReadWhatWasForetoldAndVerify) {
  const auto leaves = test_leaves(70'000);
  const Rows rows = build(leaves);
  CompactRange range;
  std::map<std::uint64_t, Hash> roots;
  for (const Hash& leaf : leaves) {
    range.append(leaf);
    roots[range.size()] = range.root();
  }
  SeededRandom random(11);
  constexpr int rounds = whole ? 400 : 40;
  for (int round = 0; round < rounds; ++round) {
    // Also from the rows of a later tree, whose tiles are wider.
    const std::uint64_t size = round < rounds / 4 ? leaves.size() : 1 + random.below(leaves.size());
    const std::uint64_t index = random.below(size);
    Source source{rows, {}};
    TileHashReader reader(size, source.function());
    const auto inclusion = prove_inclusion(reader, index, size).value();
    ASSERT_TRUE(verify_inclusion(leaves[index], index, size, inclusion, roots[size]))
        << index << " of " << size;
    sort(source.asked);
    ASSERT_EQ(source.asked, tiles_for_inclusion(index, size)) << index << " of " << size;

    const std::uint64_t old_size = 1 + random.below(size);
    Source other{rows, {}};
    TileHashReader again(size, other.function());
    const auto consistency = prove_consistency(again, old_size, size).value();
    ASSERT_TRUE(verify_consistency(old_size, roots[old_size], size, roots[size], consistency));
    sort(other.asked);
    ASSERT_EQ(other.asked, tiles_for_consistency(old_size, size)) << old_size << " to " << size;

    Source edge{rows, {}};
    TileHashReader root_reader(size, edge.function());
    ASSERT_EQ(read_root(root_reader, size).value(), roots[size]);
    sort(edge.asked);
    auto needed = tiles_for_root(size);
    sort(needed);
    ASSERT_EQ(edge.asked, needed);
  }
}

TEST(Tiles, AReaderRefusesTilesOfAnotherLengthAndSubtreesOutside) {
  const auto leaves = test_leaves(300);
  Rows rows = build(leaves);
  const auto proof_of = [&](std::uint64_t index) {
    Source source{rows, {}};
    TileHashReader reader(300, source.function());
    return code_of(prove_inclusion(reader, index, 300));
  };
  rows[{0, 1}].pop_back();
  EXPECT_EQ(proof_of(299), Code::corrupt);
  rows[{0, 1}].resize(43 * 32);
  EXPECT_EQ(proof_of(299), Code::corrupt);
  rows[{0, 1}].resize(257 * 32);
  EXPECT_EQ(proof_of(299), Code::corrupt);
  rows.erase({0, 1});
  EXPECT_EQ(proof_of(299), Code::not_found);

  Source source{rows, {}};
  TileHashReader reader(300, source.function());
  EXPECT_EQ(code_of(reader.read_hash({0, 300})), Code::invalid_argument);
  EXPECT_EQ(code_of(reader.read_hash({8, 1})), Code::invalid_argument);
  EXPECT_EQ(code_of(reader.read_hash({63, 0})), Code::invalid_argument);
  EXPECT_EQ(code_of(reader.read_hash({255, 0})), Code::invalid_argument);
  EXPECT_TRUE(reader.read_hash({8, 0}));
}

TEST(Tiles, TileBytesAreCheckedAgainstTheWidth) {
  const auto leaves = test_leaves(5);
  const Rows rows = build(leaves);
  EXPECT_EQ(decode_tile({0, 0, 5}, as_bytes(rows.at({0, 0}))).value(), leaves);
  EXPECT_EQ(code_of(decode_tile({0, 0, 6}, as_bytes(rows.at({0, 0})))), Code::corrupt);
  EXPECT_EQ(code_of(decode_tile({0, 0, 4}, as_bytes(rows.at({0, 0})))), Code::corrupt);
}

TEST(Bundle, EntriesComeBack) {
  std::string bundle;
  const std::vector<std::string> entries = {"", "a", std::string(entry_bytes_max, 'z'), "last"};
  for (const auto& entry : entries) ASSERT_TRUE(append_entry(bundle, as_bytes(entry)));
  EXPECT_EQ(to_hex(as_bytes(bundle).first(7)),
            "0000000161"
            "ffff");
  const auto decoded = decode_bundle(bundle, 4).value();
  for (std::size_t i = 0; i < entries.size(); ++i) EXPECT_EQ(as_text(decoded[i]), entries[i]);
}

TEST(Bundle, LimitsAndCountsHold) {
  std::string bundle;
  EXPECT_EQ(code_of(append_entry(bundle, as_bytes(std::string(entry_bytes_max + 1, 'z')))),
            Code::invalid_argument);
  EXPECT_TRUE(bundle.empty());
  EXPECT_TRUE(decode_bundle("", 0));
  ASSERT_TRUE(append_entry(bundle, as_bytes("one")));
  ASSERT_TRUE(append_entry(bundle, as_bytes("two")));
  EXPECT_EQ(code_of(decode_bundle(bundle, 1)), Code::corrupt);
  EXPECT_EQ(code_of(decode_bundle(bundle, 3)), Code::corrupt);
  EXPECT_EQ(code_of(decode_bundle(bundle, 0)), Code::corrupt);
  for (std::size_t size = 0; size < bundle.size(); ++size) {
    EXPECT_EQ(code_of(decode_bundle(bundle.substr(0, size), 2)), Code::corrupt) << size;
  }
  EXPECT_EQ(code_of(decode_bundle(bundle + '\0', 2)), Code::corrupt);
  // An empty entry is one too many as well.
  EXPECT_EQ(code_of(decode_bundle(bundle + std::string(2, '\0'), 2)), Code::corrupt);
  EXPECT_EQ(code_of(decode_bundle(std::string(2, '\0'), 0)), Code::corrupt);
}

TEST(TileBuilder, RandomBatchesGiveTheTilesOfADirectComputation) {
  const auto leaves = test_leaves(70'000);
  for (std::uint64_t seed = whole ? 1 : 3; seed <= 3; ++seed) {
    SeededRandom random(seed);
    Rows rows;
    CompactRange range;
    while (range.size() < leaves.size()) {
      auto builder = TileBuilder::resume(range.size(), range.root(), right_edge(rows, range.size())).value();
      const std::uint64_t batch =
          std::min<std::uint64_t>(seed == 1 ? 10'000 : 1 + random.below(random.below(8) == 0 ? 9'000 : 600),
                                  leaves.size() - range.size());
      for (std::uint64_t i = 0; i < batch; ++i) {
        builder.append(leaves[range.size()]);
        range.append(leaves[range.size()]);
      }
      ASSERT_EQ(builder.size(), range.size());
      ASSERT_EQ(builder.root(), range.root()) << "seed " << seed;
      ASSERT_EQ(builder.range(), range);
      const auto changed = builder.take_changed();
      for (const Tile& tile : changed) {
        ASSERT_EQ(tile.hashes.size(), tile.id.width * hash_bytes);
        ASSERT_EQ(tile.id.width, tile_width(tile.id.level, tile.id.index, range.size()));
      }
      upsert(rows, changed);
    }
    EXPECT_EQ(rows, reference_rows(leaves)) << "seed " << seed;
  }
}

TEST(TileBuilder, GivesEachChangedTileOnceAndNothingElse) {
  const auto leaves = test_leaves(600);
  TileBuilder builder;
  EXPECT_TRUE(builder.take_changed().empty());
  EXPECT_EQ(builder.root(), empty_root());
  const auto ids = [](const std::vector<Tile>& tiles) {
    std::vector<TileId> out;
    for (const Tile& tile : tiles) out.push_back(tile.id);
    return out;
  };
  for (std::size_t i = 0; i < 255; ++i) builder.append(leaves[i]);
  EXPECT_EQ(ids(builder.take_changed()), (std::vector<TileId>{{0, 0, 255}}));
  EXPECT_TRUE(builder.take_changed().empty());
  builder.append(leaves[255]);
  EXPECT_EQ(ids(builder.take_changed()), (std::vector<TileId>{{0, 0, 256}, {1, 0, 1}}));
  for (std::size_t i = 256; i < 600; ++i) builder.append(leaves[i]);
  EXPECT_EQ(ids(builder.take_changed()), (std::vector<TileId>{{0, 1, 256}, {0, 2, 88}, {1, 0, 2}}));
}

// A change in the database is found before anything is built upon it.
TEST(TileBuilder, EachFlippedByteOfTheRightEdgeIsFound) {
  const std::uint64_t size = 65'536 + 3 * 256 + 21;
  const auto leaves = test_leaves(size);
  const Rows rows = build(leaves);
  const auto edge = right_edge(rows, size);
  const Hash root = TileBuilder::resume(
                        size,
                        [&] {
                          CompactRange range;
                          for (const Hash& leaf : leaves) range.append(leaf);
                          return range.root();
                        }(),
                        edge)
                        .value()
                        .root();
  ASSERT_EQ(edge.size(), 3u);
  for (std::size_t tile = 0; tile < edge.size(); ++tile) {
    for (std::size_t at = 0; at < edge[tile].hashes.size(); at += whole ? 1 : 7) {
      auto changed = edge;
      changed[tile].hashes = flipped(changed[tile].hashes, at, at % 8);
      ASSERT_EQ(code_of(TileBuilder::resume(size, root, changed)), Code::corrupt) << tile << " " << at;
    }
    auto missing = edge;
    missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(tile));
    EXPECT_EQ(code_of(TileBuilder::resume(size, root, missing)), Code::corrupt);
    auto wider = edge;
    wider[tile].hashes += std::string(32, 'x');
    EXPECT_EQ(code_of(TileBuilder::resume(size, root, wider)), Code::corrupt);
    auto moved = edge;
    ++moved[tile].id.index;
    EXPECT_EQ(code_of(TileBuilder::resume(size, root, moved)), Code::corrupt);
  }
  EXPECT_EQ(code_of(TileBuilder::resume(size, empty_root(), edge)), Code::corrupt);
  EXPECT_EQ(code_of(TileBuilder::resume(size - 1, root, edge)), Code::corrupt);
  EXPECT_EQ(code_of(TileBuilder::resume(0, root, {})), Code::corrupt);
  EXPECT_EQ(code_of(TileBuilder::resume(tree_size_max + 1, root, {})), Code::corrupt);
  EXPECT_TRUE(TileBuilder::resume(0, empty_root(), {}));
}

}  // namespace
}  // namespace citadel::tlog
