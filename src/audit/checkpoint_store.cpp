#include "audit/checkpoint_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <thread>

#include "base/crash_point.hpp"
#include "base/file.hpp"
#include "base/time_text.hpp"

namespace citadel::audit {
namespace {

constexpr std::string_view magic = "citadel-checkpoint/v1";
constexpr std::string_view history_magic = "citadel-history/v1";
constexpr std::size_t latest_bytes_max = tlog::note_bytes_max + 256;
constexpr std::size_t history_bytes_max = std::size_t{1} << 30;
constexpr mode_t file_mode = 0644;  // checkpoints are public
constexpr auto lock_poll = std::chrono::milliseconds(5);

std::unexpected<Error> damaged(const std::filesystem::path& path, std::string_view what) {
  return fail(
      Code::corrupt,
      fmt::format("{} {}; put back the checkpoint store from its copy: without it nobody can tell whether "
                  "the audit log lost its tail",
                  path.string(), what));
}

// The words of a line that has exactly `count`, without its end, and what is behind.
struct Line {
  std::vector<std::string_view> words;
  std::string_view rest;
};
std::optional<Line> read_line(std::string_view text, std::size_t count) {
  const auto end = text.find('\n');
  if (end == text.npos) return std::nullopt;
  Line line{.words = {}, .rest = text.substr(end + 1)};
  std::string_view left = text.substr(0, end);
  while (true) {
    const auto blank = left.find(' ');
    line.words.push_back(left.substr(0, blank));
    if (blank == left.npos) break;
    left.remove_prefix(blank + 1);
  }
  if (line.words.size() != count) return std::nullopt;
  return line;
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<StoredCheckpoint> stored_of(std::string_view note, std::uint64_t fence) {
  CITADEL_ASSIGN(const tlog::Note parsed, tlog::parse_note(note));
  StoredCheckpoint stored{.note = std::string(note), .checkpoint = {}, .fence = fence};
  CITADEL_ASSIGN(stored.checkpoint, tlog::Checkpoint::parse(parsed.text));
  return stored;
}

std::string encode(const HistoryEntry& entry) {
  return fmt::format("{} {} {} {} {}\n{}", history_magic, format_time(entry.at), entry.stored.fence,
                     entry.kind == SwapKind::growth ? "growth" : "fork", entry.stored.note.size(),
                     entry.stored.note);
}

// The entries that are whole, and how many bytes they are.
std::pair<std::vector<HistoryEntry>, std::size_t> decode_history(std::string_view text) {
  std::vector<HistoryEntry> entries;
  std::string_view left = text;
  for (;;) {
    const auto line = read_line(left, 5);
    if (!line || line->words[0] != history_magic) break;
    const auto at = parse_time(line->words[1]);
    const auto fence = number_of(line->words[2]), size = number_of(line->words[4]);
    if (!at || !fence || !size || *size > line->rest.size()) break;
    auto stored = stored_of(line->rest.substr(0, *size), *fence);
    if (!stored) break;
    const SwapKind kind = line->words[3] == "growth" ? SwapKind::growth : SwapKind::accepted_fork;
    entries.push_back({.at = *at, .kind = kind, .stored = *std::move(stored)});
    left = line->rest.substr(*size);
  }
  return {std::move(entries), text.size() - left.size()};
}

// Nothing where the file is not there.
Result<std::optional<std::string>> read_if_there(const std::filesystem::path& path, std::size_t bytes_max) {
  auto content = read_file(path, bytes_max);
  if (content) return std::optional(*std::move(content));
  if (content.error().code == Code::not_found) return std::nullopt;
  return std::unexpected(std::move(content).error());
}

// Held until it goes. Not LOCK_EX alone: a process that was stopped while it held the lock must not stop us.
Result<UniqueFd> take_lock(const std::filesystem::path& path, Deadline deadline) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, file_mode));
  if (!fd) return fail_errno(errno, fmt::format("open {}", path.string()));
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return fail_errno(errno, fmt::format("lock {}", path.string()));
    if (deadline.expired())
      return fail(Code::deadline_exceeded, fmt::format("another process holds {}", path.string()));
    std::this_thread::sleep_for(lock_poll);  // sleep: nothing announces that a file lock is free
  }
  return fd;
}

}  // namespace

Result<CheckpointStore> CheckpointStore::open(std::filesystem::path folder,
                                              std::chrono::seconds history_interval) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return fail_errno(errno, fmt::format("create {}", folder.string()));
  CheckpointStore store(std::move(folder), history_interval);
  CITADEL_ASSIGN(const auto latest, store.load());
  CITADEL_ASSIGN(const auto view, read_if_there(store.folder_ / "checkpoint", latest_bytes_max));
  if (latest && view != latest->note) CITADEL_TRY(store.write_view(latest->note));
  return store;
}

Result<std::optional<StoredCheckpoint>> CheckpointStore::load() const {
  const auto path = folder_ / "latest";
  CITADEL_ASSIGN(const auto content, read_if_there(path, latest_bytes_max));
  if (!content) return std::nullopt;
  const auto line = read_line(*content, 2);
  if (!line || line->words[0] != magic) return damaged(path, "does not begin as it was written");
  const auto fence = number_of(line->words[1]);
  if (!fence) return damaged(path, "has no fence");
  auto stored = stored_of(line->rest, *fence);
  if (!stored) return damaged(path, fmt::format("holds no checkpoint ({})", stored.error().message));
  return std::optional(*std::move(stored));
}

Result<void> CheckpointStore::swap(const std::optional<StoredCheckpoint>& expected,
                                   const StoredCheckpoint& next, SwapKind kind, WallTime now,
                                   Deadline deadline) {
  CITADEL_ASSIGN(const UniqueFd lock, take_lock(folder_ / "lock", deadline));
  CITADEL_ASSIGN(const auto current, load());
  if (current != expected) {
    return fail(Code::conflict, "another daemon has stored a checkpoint meanwhile", Retry::safe);
  }
  if (current && next.fence < current->fence) {
    return fail(Code::conflict,
                fmt::format("a checkpoint with fence {} is stored, and this one has {}: another daemon "
                            "has taken over",
                            current->fence, next.fence));
  }
  if (current && kind == SwapKind::growth && next.checkpoint.size < current->checkpoint.size) {
    return fail(Code::conflict, fmt::format("a checkpoint of {} entries is stored, and this one has {}",
                                            current->checkpoint.size, next.checkpoint.size));
  }
  // Before it goes: an accepted fork must not lose the line that it leaves. The same checkpoint with more
  // cosignatures leaves nothing.
  if (current && (kind == SwapKind::accepted_fork || current->checkpoint != next.checkpoint))
    CITADEL_TRY(append_history({.at = now, .kind = kind, .stored = *current}));
  crash_point(CrashPoint::checkpoint_after_history);
  CITADEL_TRY(write_latest(next));
  CITADEL_TRY(write_view(next.note));
  crash_point(CrashPoint::checkpoint_after_view);
  return {};
}

Result<void> CheckpointStore::write_latest(const StoredCheckpoint& next) {
  const auto path = folder_ / "latest", beside = folder_ / "latest.new";
  const std::string content = fmt::format("{} {}\n{}", magic, next.fence, next.note);
  const UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, file_mode));
  if (!fd) return fail_errno(errno, fmt::format("create {}", beside.string()));
  crash_point(CrashPoint::checkpoint_before_write);
  if (crash_is_due(CrashPoint::checkpoint_half_written)) {
    (void)write_all(fd.get(), std::string_view(content).substr(0, content.size() / 2), beside);
    crash_now();
  }
  CITADEL_TRY(write_all(fd.get(), content, beside));
  crash_point(CrashPoint::checkpoint_before_sync);
  if (::fsync(fd.get()) != 0) return fail_errno(errno, fmt::format("fsync {}", beside.string()));
  crash_point(CrashPoint::checkpoint_before_rename);
  if (::rename(beside.c_str(), path.c_str()) != 0)
    return fail_errno(errno, fmt::format("rename to {}", path.string()));
  crash_point(CrashPoint::checkpoint_after_rename);
  CITADEL_TRY(sync_folder(folder_));
  crash_point(CrashPoint::checkpoint_after_folder_sync);
  return {};
}

// A view that is lost or old is made anew by open(), so it need not be durable; but never a part of one.
Result<void> CheckpointStore::write_view(std::string_view note) const {
  const auto path = folder_ / "checkpoint", beside = folder_ / "checkpoint.new";
  {
    const UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, file_mode));
    if (!fd) return fail_errno(errno, fmt::format("create {}", beside.string()));
    CITADEL_TRY(write_all(fd.get(), note, beside));
  }
  if (::rename(beside.c_str(), path.c_str()) != 0)
    return fail_errno(errno, fmt::format("rename to {}", path.string()));
  return {};
}

Result<void> CheckpointStore::append_history(const HistoryEntry& entry) {
  const bool soon = history_at_ && entry.at >= *history_at_ && entry.at - *history_at_ < history_interval_;
  if (soon && entry.kind == SwapKind::growth) return {};
  const auto path = folder_ / "history";
  CITADEL_ASSIGN(const auto content, read_if_there(path, history_bytes_max));
  const auto [entries, whole_bytes] = decode_history(content.value_or(""));
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, file_mode));
  if (!fd) return fail_errno(errno, fmt::format("open {}", path.string()));
  if (::ftruncate(fd.get(), static_cast<off_t>(whole_bytes)) != 0 || ::lseek(fd.get(), 0, SEEK_END) < 0)
    return fail_errno(errno, fmt::format("cut {}", path.string()));
  const std::string text = encode(entry);
  if (crash_is_due(CrashPoint::checkpoint_history_half_written)) {
    (void)write_all(fd.get(), std::string_view(text).substr(0, text.size() / 2), path);
    crash_now();
  }
  CITADEL_TRY(write_all(fd.get(), text, path));
  if (::fsync(fd.get()) != 0) return fail_errno(errno, fmt::format("fsync {}", path.string()));
  history_at_ = entry.at;
  return sync_folder(folder_);
}

Result<std::vector<HistoryEntry>> CheckpointStore::history() const {
  CITADEL_ASSIGN(const auto content, read_if_there(folder_ / "history", history_bytes_max));
  return decode_history(content.value_or("")).first;
}

}  // namespace citadel::audit
