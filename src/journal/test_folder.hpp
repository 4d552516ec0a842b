// What the journal's tests share: a folder of their own, a small journal in it, and records that can be told
// apart.
#pragma once
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/check.hpp"
#include "journal/format.hpp"
#include "journal/identity.hpp"
#include "journal/journal.hpp"

namespace citadel::journal {

// In memory where the machine has a place for that: kill -9 leaves the same bytes there, and thousands of
// fsyncs cost nothing. On disk for tests that want fdatasync to take its time.
enum class Medium : std::uint8_t { memory, disk };

class TestFolder {
 public:
  explicit TestFolder(Medium medium = Medium::memory) {
    const bool memory = medium == Medium::memory && ::access("/dev/shm", W_OK) == 0;
    std::string name = std::string(memory ? "/dev/shm" : "/tmp") + "/citadel-journal-XXXXXX";
    CITADEL_CHECK(::mkdtemp(name.data()) != nullptr, "no temporary folder");
    root_ = name;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path path() const { return root_ / "journal"; }

 private:
  std::filesystem::path root_;
};

inline Options small_options(const std::filesystem::path& folder) {
  Options options;
  options.folder = folder;
  options.segment_bytes = 8'192;
  options.size_bytes_max = 64 << 20;
  options.payload_bytes_max = 1'024;
  return options;
}

// Every open draws the same lower bits for its epoch.
inline constexpr std::uint64_t test_seed = 1;

inline std::unique_ptr<Journal> open_small(const std::filesystem::path& folder) {
  return Journal::open(small_options(folder), system_clock(), test_seed).value();
}

// A place in the epoch of a folder's nth open.
inline Position place(std::uint64_t nth_open, std::uint64_t sequence) {
  SeededRandom random(test_seed);
  return {next_epoch((nth_open - 1) << epoch_drawn_bits, random), sequence};
}

inline Uuid id_of(std::uint64_t i) {
  return make_uuid7({}, 0, i);
}
inline std::string payload_of(std::uint64_t i) {
  std::string text = "record " + std::to_string(i);
  text.resize(40, '.');
  return text;
}
inline Record record_of(std::uint64_t i, std::string payload) {
  return {Kind::usage_request, Class::critical, id_of(i), std::move(payload)};
}

inline Result<Position> append_all(Journal& journal, std::vector<Record> records) {
  std::promise<Result<Position>> promise;
  journal.append(std::move(records), [&](Result<Position> result) { promise.set_value(std::move(result)); });
  return promise.get_future().get();
}
inline Result<Position> append_one(Journal& journal, std::uint64_t i) {
  return append_all(journal, {record_of(i, payload_of(i))});
}

inline std::vector<Frame> read_all(Journal& journal, Position after = {}) {
  std::vector<Frame> all;
  for (;;) {
    auto frames = journal.read(after, 100, 1 << 16).value();
    if (frames.empty()) return all;
    after = frames.back().position;
    std::ranges::move(frames, std::back_inserter(all));
  }
}

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void spill(const std::filesystem::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
}

}  // namespace citadel::journal
