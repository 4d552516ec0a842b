// Segment: one file of the journal, and where its frames lie.
//
// The descriptor and the path never change; the rest is guarded by the journal's state lock. What is read is
// checked, frame by frame, against checksum, epoch and sequence.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"
#include "journal/recovery.hpp"

namespace citadel::journal {

struct Segment {
  std::filesystem::path path;
  UniqueFd fd;
  std::uint64_t index = 0;
  std::uint64_t epoch = 0;
  std::uint32_t salt = 0;  // 0: the header is damaged, any salt will do
  ino_t inode = 0;         // of the file that has the name; the writer's own once the journal is open

  std::uint64_t file_bytes = 0;
  std::vector<Run> runs;           // the durable frames
  std::vector<IndexEntry> places;  // sparse, in order
  bool damaged = false;            // kept in quarantine when it goes
  bool unquarantined = false;      // damaged, and quarantine could not take it: the file itself is kept
  bool lost = false;               // its file was removed, and could not be written anew; the writer's own

  std::optional<std::uint32_t> salt_if_known() const {
    return salt == 0 ? std::nullopt : std::optional(salt);
  }
  bool empty() const { return runs.empty(); }
  std::uint64_t first_sequence() const { return runs.front().first; }
  std::uint64_t last_sequence() const { return runs.back().last; }
  std::uint64_t end() const { return runs.empty() ? segment_header_bytes : runs.back().end; }
};

// "0000000000000007.segment". segment_index() is nullopt for other names.
std::string segment_name(std::uint64_t index);
std::optional<std::uint64_t> segment_index(const std::filesystem::path& path);

// A file of `bytes` allocated bytes in `folder`, durable, without a header or a segment's name as yet.
// storage_full where the disk has not that much room; nothing is left behind then.
Result<UniqueFd> allocate_segment(const std::filesystem::path& folder, std::uint64_t bytes);
// Writes the header into the file that allocate_segment() made and gives it its name, durably. `folder_fd` is
// the folder's own descriptor, so that none needs to be left for this.
Result<std::shared_ptr<Segment>> begin_segment(const std::filesystem::path& folder, int folder_fd,
                                               UniqueFd fd, const SegmentHeader& header);
// The name that allocate_segment() uses; left over by a crash, it is removed at open.
std::filesystem::path spare_path(const std::filesystem::path& folder);

// Whether the segment's name still leads to its file. Where it was removed or replaced, what is written goes
// into a file that is gone with this process. An error of the look itself is no answer, and counts as yes.
bool has_its_name(const Segment& segment);
// Gives a segment that lost its name its first `bytes` bytes again, durably, in a new file of that name.
// Readers go on with the old one.
Result<void> restore_segment(Segment& segment, std::uint64_t bytes);

// All of `bytes` at `offset`.
Result<void> write_at(int fd, std::string_view bytes, std::uint64_t offset,
                      const std::filesystem::path& path);
// Never repeat it on the same descriptor after an error: the kernel may say yes about pages that it has
// dropped.
Result<void> sync_data(int fd, const std::filesystem::path& path);
// [offset, offset + size), less at the end of the file. Blocks that the disk does not give back are zeros,
// and `unreadable` counts them: the caller finds the frames in them damaged.
Result<std::string> read_at(int fd, std::uint64_t offset, std::uint64_t size,
                            const std::filesystem::path& path, std::uint64_t* unreadable = nullptr);

}  // namespace citadel::journal
