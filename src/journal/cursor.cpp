#include "journal/cursor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/bytes.hpp"
#include "base/crash_point.hpp"
#include "base/log.hpp"
#include "journal/segment.hpp"

namespace citadel::journal {
namespace {

// A slot is magic, generation, epoch, sequence, CRC-32C of these. The slots lie in blocks of their own, so
// that no torn block holds both.
constexpr std::string_view slot_magic("CITCUR\x00\x01", 8);
constexpr std::size_t slot_bytes = 36;
constexpr std::size_t slot_distance = 4096;
constexpr std::size_t file_bytes = 2 * slot_distance;

struct Slot {
  std::uint64_t generation = 0;
  Position position;
};

std::string encode(const Slot& slot) {
  std::string out(slot_magic);
  append_le(out, slot.generation);
  append_le(out, slot.position.epoch);
  append_le(out, slot.position.sequence);
  append_le(out, crc32c(as_bytes(out)));
  return out;
}

std::optional<Slot> decode(std::string_view raw) {
  if (raw.size() < slot_bytes || !raw.starts_with(slot_magic)) return std::nullopt;
  if (crc32c(as_bytes(raw.substr(0, slot_bytes - 4))) !=
      load_le<std::uint32_t>(raw.data() + slot_bytes - 4)) {
    return std::nullopt;
  }
  const char* const at = raw.data() + slot_magic.size();
  return Slot{load_le<std::uint64_t>(at), {load_le<std::uint64_t>(at + 8), load_le<std::uint64_t>(at + 16)}};
}

}  // namespace

Result<CursorFile::Found> CursorFile::load() {
  Found found;
  fd_ = UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd_ && errno == ENOENT) return found;
  if (!fd_) return fail_errno(errno, fmt::format("open {}", path_.string()));
  found.exists = true;
  CITADEL_ASSIGN(auto raw, read_at(fd_.get(), 0, file_bytes, path_));
  raw.resize(file_bytes, '\0');
  for (std::size_t i = 0; i < 2; ++i) {
    const auto slot_raw = std::string_view(raw).substr(i * slot_distance, slot_bytes);
    const auto slot = decode(slot_raw);
    if (!slot) found.slot_damaged = true;
    if (slot && (!found.position || slot->generation > generation_)) {
      generation_ = slot->generation;
      found.position = slot->position;
    }
  }
  // The next write must not fall on the only good slot, nor trust a file that is damaged through and through.
  if (!found.position) fd_.reset();
  return found;
}

Result<void> CursorFile::write(Position position) {
  const Slot slot{++generation_, position};
  const std::string raw = encode(slot);
  crash_point(CrashPoint::journal_cursor_before_write);
  if (!fd_) return replace(raw);
  const std::uint64_t at = generation_ % 2 * slot_distance;
  if (crash_is_due(CrashPoint::journal_cursor_half_written)) {
    (void)write_at(fd_.get(), std::string_view(raw).substr(0, slot_bytes / 2), at, path_);
    crash_now();
  }
  auto written = write_at(fd_.get(), raw, at, path_);
  crash_point(CrashPoint::journal_cursor_before_sync);
  if (written) written = sync_data(fd_.get(), path_);
  if (!written) fd_.reset();
  crash_point(CrashPoint::journal_cursor_after_sync);
  struct stat info{};
  if (written && ::fstat(fd_.get(), &info) == 0 && info.st_nlink == 0) {
    log::error("journal", "the cursor's file was removed while the daemon runs; it is written anew",
               {{"file", path_.string()}});
    return replace(raw);
  }
  return written;
}

Result<void> CursorFile::replace(std::string_view slot) {
  std::string content(file_bytes, '\0');
  for (std::size_t at = 0; at < file_bytes; at += slot_distance) content.replace(at, slot.size(), slot);
  crash_point(CrashPoint::journal_cursor_before_replace);
  CITADEL_TRY(write_file_durably(path_, content, 0600));
  crash_point(CrashPoint::journal_cursor_after_replace);
  fd_ = UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd_) return fail_errno(errno, fmt::format("open {}", path_.string()));
  return {};
}

}  // namespace citadel::journal
