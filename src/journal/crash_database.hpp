// A file that plays the database in the crash test: it appends batches whole, and knows the watermark of each
// epoch.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/check.hpp"
#include "base/file.hpp"
#include "journal/journal.hpp"

namespace citadel::journal {

class CrashDatabase {
 public:
  struct Row {
    Position position;
    std::uint64_t number;
    std::string payload;
  };

  explicit CrashDatabase(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    std::string content = read_file(path, 1u << 30).value();
    // A batch is length, CRC, rows; a transaction that a crash cut off never happened.
    std::size_t at = 0;
    while (content.size() - at >= 8) {
      const auto size = load_le<std::uint32_t>(content.data() + at);
      if (content.size() - at - 8 < size) break;
      const auto body = std::string_view(content).substr(at + 8, size);
      if (crc32c(as_bytes(body)) != load_le<std::uint32_t>(content.data() + at + 4)) break;
      load(body);
      at += 8 + size;
    }
    CITADEL_CHECK(::ftruncate(fd_.get(), static_cast<off_t>(at)) == 0, "the database's file cannot be cut");
  }

  // In one transaction: the frames that the watermark has not seen, and the watermark.
  void insert(const std::vector<Frame>& frames) {
    std::string body;
    for (const Frame& frame : frames) {
      if (frame.position.sequence <= watermark_[frame.position.epoch]) continue;
      append_le(body, frame.position.epoch);
      append_le(body, frame.position.sequence);
      append_le(body, number_of(frame.id));
      append_le(body, static_cast<std::uint32_t>(frame.payload.size()));
      body += frame.payload;
    }
    load(body);
    std::string batch;
    append_le(batch, static_cast<std::uint32_t>(body.size()));
    append_le(batch, crc32c(as_bytes(body)));
    batch += body;
    CITADEL_CHECK(::write(fd_.get(), batch.data(), batch.size()) == static_cast<ssize_t>(batch.size()),
                  "the database's file takes no batch");
  }

  const std::vector<Row>& rows() const { return rows_; }
  static std::uint64_t number_of(const Uuid& id) {
    return load_be<std::uint64_t>(id.bytes.data() + 8) & ((std::uint64_t{1} << 62) - 1);
  }

 private:
  void load(std::string_view body) {
    for (std::size_t at = 0; at < body.size();) {
      const char* const row = body.data() + at;
      const auto size = load_le<std::uint32_t>(row + 24);
      rows_.push_back({{load_le<std::uint64_t>(row), load_le<std::uint64_t>(row + 8)},
                       load_le<std::uint64_t>(row + 16),
                       std::string(body.substr(at + 28, size))});
      auto& watermark = watermark_[rows_.back().position.epoch];
      watermark = std::max(watermark, rows_.back().position.sequence);
      at += 28 + size;
    }
  }

  UniqueFd fd_;
  std::vector<Row> rows_;
  std::map<std::uint64_t, std::uint64_t> watermark_;
};

}  // namespace citadel::journal
