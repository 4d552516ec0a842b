#include <benchmark/benchmark.h>

#include "base/check.hpp"
#include "tlog/tile_builder.hpp"

namespace citadel::tlog {
namespace {

constexpr std::size_t entry_bytes = 200;

std::string full_bundle() {
  std::string bundle;
  for (std::uint32_t i = 0; i < tile_width_max; ++i) {
    CITADEL_CHECK(append_entry(bundle, as_bytes(std::string(entry_bytes, static_cast<char>(i)))).has_value(),
                  "append");
  }
  return bundle;
}

// What an offline verification does for each entry of an export: a bundle's entries, their hashes, the root.
void verify_entries(benchmark::State& state) {
  const std::string bundle = full_bundle();
  for (auto _ : state) {
    CompactRange range;
    while (range.size() < static_cast<std::uint64_t>(state.range(0))) {
      for (const Bytes entry : decode_bundle(bundle, tile_width_max).value()) range.append(leaf_hash(entry));
    }
    benchmark::DoNotOptimize(range.root());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(verify_entries)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

// What the sequencer does for a batch: the right edge is read and checked, 10,000 leaves are added.
void build_batch(benchmark::State& state) {
  TileBuilder before;
  std::map<std::pair<std::uint8_t, std::uint64_t>, Tile> rows;
  const Hash leaf = leaf_hash(as_bytes("entry"));
  for (int i = 0; i < 1'000'000; ++i) before.append(leaf);
  for (const Tile& tile : before.take_changed()) rows[{tile.id.level, tile.id.index}] = tile;
  std::vector<Tile> edge;
  for (const TileId& id : tiles_for_root(before.size())) edge.push_back(rows.at({id.level, id.index}));
  const Hash root = before.root();
  for (auto _ : state) {
    auto builder = TileBuilder::resume(before.size(), root, edge).value();
    for (std::int64_t i = 0; i < state.range(0); ++i) builder.append(leaf);
    benchmark::DoNotOptimize(builder.take_changed());
    benchmark::DoNotOptimize(builder.root());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(build_batch)->Arg(1)->Arg(100)->Arg(10'000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace citadel::tlog
