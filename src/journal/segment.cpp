#include "journal/segment.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/crash_point.hpp"

namespace citadel::journal {
namespace {

constexpr std::string_view extension = ".segment";
constexpr std::uint64_t block_bytes = 4096;

// For file systems without fallocate: the zeros themselves. They take the room as well.
Result<void> write_zeros(int fd, std::uint64_t bytes, const std::filesystem::path& path) {
  const std::string zeros(256 << 10, '\0');
  for (std::uint64_t at = 0; at < bytes; at += zeros.size()) {
    const auto size = std::min<std::uint64_t>(zeros.size(), bytes - at);
    CITADEL_TRY(write_at(fd, std::string_view(zeros).substr(0, size), at, path));
  }
  return {};
}

Result<void> allocate(int fd, std::uint64_t bytes, const std::filesystem::path& path) {
  int failed = 0;
  do {
    failed = ::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  } while (failed == EINTR);
  if (failed == EOPNOTSUPP || failed == ENOSYS) return write_zeros(fd, bytes, path);
  // A limit on file sizes (RLIMIT_FSIZE) is a lack of room, too.
  if (failed == EFBIG)
    return fail(Code::storage_full, fmt::format("allocate {}: file too large", path.string()));
  if (failed != 0) return fail_errno(failed, fmt::format("allocate {} bytes for {}", bytes, path.string()));
  return {};
}

}  // namespace

std::string segment_name(std::uint64_t index) {
  return fmt::format("{:016}{}", index, extension);
}

std::optional<std::uint64_t> segment_index(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  std::uint64_t index = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
  if (error != std::errc() || name != segment_name(index)) return std::nullopt;
  return index;
}

std::filesystem::path spare_path(const std::filesystem::path& folder) {
  return folder / "spare";
}

Result<UniqueFd> allocate_segment(const std::filesystem::path& folder, std::uint64_t bytes) {
  crash_point(CrashPoint::journal_segment_before_create);
  const auto path = spare_path(folder);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd && (errno == EMFILE || errno == ENFILE)) {
    return fail(Code::overloaded, fmt::format("no descriptor is left for {}", path.string()), Retry::safe);
  }
  if (!fd) return fail_errno(errno, fmt::format("create {}", path.string()));
  auto allocated = allocate(fd.get(), bytes, path);
  if (allocated && ::fsync(fd.get()) != 0)
    allocated = fail_errno(errno, fmt::format("fsync {}", path.string()));
  if (!allocated) {
    ::unlink(path.c_str());
    return std::unexpected(std::move(allocated).error());
  }
  crash_point(CrashPoint::journal_segment_after_allocate);
  return fd;
}

Result<std::shared_ptr<Segment>> begin_segment(const std::filesystem::path& folder, int folder_fd,
                                               UniqueFd fd, const SegmentHeader& header) {
  const auto from = spare_path(folder);
  auto segment = std::make_shared<Segment>();
  segment->path = folder / segment_name(header.index);
  segment->index = header.index;
  segment->epoch = header.epoch;
  segment->salt = header.salt;
  segment->file_bytes = header.segment_bytes;
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(errno, fmt::format("stat {}", from.string()));
  segment->inode = info.st_ino;
  // The header is durable before the file has its name: a named segment always had a whole header.
  CITADEL_TRY(write_at(fd.get(), encode_segment_header(header), 0, from));
  crash_point(CrashPoint::journal_segment_after_header);
  CITADEL_TRY(sync_data(fd.get(), from));
  crash_point(CrashPoint::journal_segment_after_sync);
  if (::rename(from.c_str(), segment->path.c_str()) != 0) {
    return fail_errno(errno, fmt::format("rename to {}", segment->path.string()));
  }
  crash_point(CrashPoint::journal_segment_after_rename);
  if (::fsync(folder_fd) != 0) return fail_errno(errno, fmt::format("fsync {}", folder.string()));
  crash_point(CrashPoint::journal_segment_after_folder_sync);
  segment->fd = std::move(fd);
  return segment;
}

bool has_its_name(const Segment& segment) {
  struct stat info{};
  if (::stat(segment.path.c_str(), &info) == 0) return info.st_ino == segment.inode;
  return errno != ENOENT && errno != ENOTDIR;
}

Result<void> restore_segment(Segment& segment, std::uint64_t bytes) {
  CITADEL_ASSIGN(const auto content, read_at(segment.fd.get(), 0, bytes, segment.path));
  CITADEL_TRY(write_file_durably(segment.path, content, 0600));
  struct stat info{};
  if (::stat(segment.path.c_str(), &info) != 0) {
    return fail_errno(errno, fmt::format("stat {}", segment.path.string()));
  }
  segment.inode = info.st_ino;
  return {};
}

Result<void> write_at(int fd, std::string_view bytes, std::uint64_t offset,
                      const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const auto written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail_errno(written == 0 ? EIO : errno, fmt::format("write {}", path.string()));
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<void> sync_data(int fd, const std::filesystem::path& path) {
  if (::fdatasync(fd) != 0) return fail_errno(errno, fmt::format("fdatasync {}", path.string()));
  return {};
}

Result<std::string> read_at(int fd, std::uint64_t offset, std::uint64_t size,
                            const std::filesystem::path& path, std::uint64_t* unreadable) {
  std::string out(size, '\0');
  std::uint64_t have = 0;
  std::uint64_t step = size;
  while (have < size) {
    const auto got =
        ::pread(fd, out.data() + have, std::min(step, size - have), static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) break;
    if (got > 0) {
      have += static_cast<std::uint64_t>(got);
      continue;
    }
    if (errno != EIO) return fail_errno(errno, fmt::format("read {}", path.string()));
    const std::uint64_t to_block_end = block_bytes - (offset + have) % block_bytes;
    if (step > block_bytes) {
      step = to_block_end;  // from here on block by block, so that one bad block costs no good one
      continue;
    }
    have += std::min(to_block_end, size - have);
    step = block_bytes;
    if (unreadable != nullptr) ++*unreadable;
  }
  out.resize(have);
  return out;
}

}  // namespace citadel::journal
