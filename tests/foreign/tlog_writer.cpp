// tlog_writer FOLDER: writes a log of several thousand entries, in batches as a sequencer does, in the form
// of C2SP tlog-tiles, with a checkpoint that a witness has cosigned. Prints the log's and the witness's
// verifier key, a line each. For tlog_reader_test.py, which has it read by a program that is not ours.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/check.hpp"
#include "tlog/cosignature.hpp"
#include "tlog/tile_builder.hpp"
#include "tlog/witness.hpp"

using namespace citadel;
using namespace citadel::tlog;

namespace {

constexpr std::string_view origin = "example.com/citadel-test";
constexpr std::uint64_t batches[] = {1, 254, 1, 700, 4'000, 3, 77};

std::string entry_at(std::uint64_t index) {
  if (index == 3) return {};
  if (index == 300) return std::string(entry_bytes_max, 'z');
  return "entry " + std::to_string(index) + std::string(index % 100, '\n');
}

class Writer {
 public:
  explicit Writer(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void append(std::uint64_t count) {
    std::vector<Tile> edge;
    for (const TileId& id : tiles_for_root(head_.size)) edge.push_back({id, rows_.at({id.level, id.index})});
    auto builder = TileBuilder::resume(head_.size, head_.root, edge);
    CITADEL_CHECK(builder.has_value(), "what was written is not what was read");
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t index = builder->size();
      const std::string entry = entry_at(index);
      builder->append(leaf_hash(as_bytes(entry)));
      CITADEL_CHECK(append_entry(bundles_[index / tile_width_max], as_bytes(entry)).has_value(),
                    "an entry is too long");
    }
    for (const Tile& tile : builder->take_changed()) {
      rows_[{tile.id.level, tile.id.index}] = tile.hashes;
      write({TileKind::hashes, tile.id}, tile.hashes);
    }
    const std::uint64_t before = head_.size;
    head_ = {
        .origin = std::string(origin), .size = builder->size(), .root = builder->root(), .extensions = {}};
    for (std::uint64_t index = before / tile_width_max; index < tile_count(0, head_.size); ++index) {
      write({TileKind::entries, {0, index, tile_width(0, index, head_.size)}}, bundles_[index]);
    }
  }

  // Signs the head, has it cosigned as a witness does, and publishes it.
  void publish() {
    const auto log = NoteSigner::generate(origin).value();
    auto key = NoteSigner::generate("witness.example/w1", KeyType::cosignature_v1).value();
    const std::vector<NoteVerifier> keys = {key.verifier()};
    const Witness witness(std::move(key), {{std::string(origin), {log.verifier()}}});
    Note note = sign_note(head_.encode(), log).value();
    const auto answer = witness.add_checkpoint(
        encode_add_checkpoint({0, {}, encode_note(note)}), [](std::string_view) { return WitnessedHead(); },
        std::chrono::sys_seconds(std::chrono::seconds(1'700'000'000)));
    const auto read =
        read_add_checkpoint_answer(answer.status, answer.content_type, answer.body, note.text, keys).value();
    for (const auto& signature : std::get<Cosigned>(read).signatures) note.signatures.push_back(signature);
    std::ofstream(folder_ / "checkpoint", std::ios::binary) << encode_note(note);
    std::printf("%s\n%s\n", log.verifier().encode().c_str(), keys[0].encode().c_str());
  }

 private:
  void write(const TilePath& path, const std::string& bytes) {
    const auto file = folder_ / path.encode();
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
  }

  std::filesystem::path folder_;
  Checkpoint head_;
  std::map<std::pair<std::uint8_t, std::uint64_t>, std::string> rows_;
  std::map<std::uint64_t, std::string> bundles_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  Writer writer(arguments[1]);
  for (const std::uint64_t batch : batches) writer.append(batch);
  writer.publish();
  return 0;
}
