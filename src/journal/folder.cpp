#include "journal/folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/crash_point.hpp"
#include "base/log.hpp"

namespace citadel::journal {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t segment_bytes_max = std::uint64_t{4} << 30;

Result<void> check_options(const Options& options) {
  const auto refuse = [](std::string text) { return fail(Code::invalid_argument, std::move(text)); };
  if (options.folder.empty()) return refuse("journal.folder is empty");
  if (options.payload_bytes_max == 0 || options.payload_bytes_max > payload_bytes_limit) {
    return refuse(fmt::format("journal payload_bytes_max must be 1 to {}", payload_bytes_limit));
  }
  const std::uint64_t least =
      segment_header_bytes + frame_size(options.payload_bytes_max) + frame_header_bytes;
  if (options.segment_bytes < least || options.segment_bytes > segment_bytes_max) {
    return refuse(fmt::format("journal.segment_bytes must be {} to {}", least, segment_bytes_max));
  }
  if (options.size_bytes_max < 2 * options.segment_bytes) {
    return refuse(
        fmt::format("journal.size_bytes_max must be at least two segments, {}", 2 * options.segment_bytes));
  }
  if (options.queue_records_max == 0 || options.queue_bytes_max == 0 || options.gather_bytes == 0) {
    return refuse("the journal's queue and gather_bytes must not be 0");
  }
  return {};
}

Result<UniqueFd> lock_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) {
    if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), error);
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail_errno(errno, fmt::format("create {}", folder.string()));
    }
    CITADEL_TRY(sync_folder(folder.has_parent_path() ? folder.parent_path() : "."));
  }
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, fmt::format("open {}", folder.string()));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return fail(Code::conflict,
                  fmt::format("the journal in {} is open in another process", folder.string()));
    }
    return fail_errno(errno, fmt::format("lock {}", folder.string()));
  }
  return fd;
}

struct File {
  std::shared_ptr<Segment> segment;
  std::optional<SegmentHeader> header;
  Scan scan;
};

class Opening {
 public:
  Opening(const Options& options, const Clock& clock, Random& random)
      : options_(options), clock_(clock), random_(random), opened_(options.folder) {}

  Result<Opened> run() {
    CITADEL_TRY(check_options(options_));
    CITADEL_ASSIGN(opened_.lock, lock_folder(options_.folder));
    CITADEL_TRY(list());
    CITADEL_TRY(load_small_files());
    drop_drained();
    CITADEL_TRY(scan_all());
    report_missing();
    CITADEL_TRY(cut_given_up());
    CITADEL_TRY(settle_last());
    keep();
    CITADEL_TRY(begin_epoch());
    return std::move(opened_);
  }

 private:
  Position previous_of(const SegmentHeader& header) const {
    return {header.previous_epoch, header.previous_sequence};
  }

  // False where the file is not in quarantine.
  bool report(fs::path path, std::uint64_t offset, std::uint64_t lost, std::string reason,
              std::uint64_t epoch) {
    opened_.damage.push_back({std::move(path), offset, lost, std::move(reason)});
    return put_aside(options_.folder, epoch, opened_.damage.back());
  }

  Result<void> list() {
    std::error_code error;
    std::vector<fs::path> found;
    for (fs::directory_iterator entry(options_.folder, error), end; !error && entry != end;
         entry.increment(error)) {
      const fs::path& path = entry->path();
      if (path == spare_path(options_.folder) || path.extension() == ".new") {
        std::error_code ignored;
        fs::remove(path, ignored);
      } else if (segment_index(path)) {
        found.push_back(path);
      }
    }
    if (error) return fail_errno(error.value(), fmt::format("list {}", options_.folder.string()));
    std::ranges::sort(found);
    for (const fs::path& path : found) CITADEL_TRY(add(path));
    return {};
  }

  Result<void> add(const fs::path& path) {
    auto segment = std::make_shared<Segment>();
    segment->path = path;
    segment->index = *segment_index(path);
    segment->fd = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!segment->fd) return fail_errno(errno, fmt::format("open {}", path.string()));
    struct stat info{};
    if (::fstat(segment->fd.get(), &info) != 0)
      return fail_errno(errno, fmt::format("stat {}", path.string()));
    segment->file_bytes = static_cast<std::uint64_t>(info.st_size);
    segment->inode = info.st_ino;
    CITADEL_ASSIGN(const auto raw, read_at(segment->fd.get(), 0, segment_header_bytes, path));
    File file{std::move(segment), std::nullopt, {}};
    if (const auto header = decode_segment_header(as_bytes(raw))) file.header = *header;
    files_.push_back(std::move(file));
    return {};
  }

  Result<void> load_small_files() {
    auto identity = load_identity(options_.folder);
    if (!identity && identity.error().code != Code::corrupt)
      return std::unexpected(std::move(identity).error());
    if (!identity) report(options_.folder / "identity", 0, 0, identity.error().message, 0);
    if (identity && *identity) opened_.identity = **identity;
    // Every segment names its producer and epoch, so that the identity can be had again from any of them.
    for (const File& file : files_) {
      if (!file.header) continue;
      if (opened_.identity.producer == Uuid{}) opened_.identity.producer = file.header->producer;
      opened_.identity.epoch = std::max(opened_.identity.epoch, file.header->epoch);
    }
    CITADEL_ASSIGN(const auto cursor, opened_.cursor_file.load());
    if (cursor.position) {
      opened_.cursor = *cursor.position;
    } else if (cursor.exists || !files_.empty()) {
      // Frames are delivered again; the database's watermark knows them.
      report(options_.folder / "cursor", 0, 0, "the cursor is lost: records will be delivered again", 0);
      if (!files_.empty() && files_.front().header) opened_.cursor = previous_of(*files_.front().header);
    }
    if (cursor.slot_damaged && cursor.position) {
      log::warning("journal", "one of the cursor's two slots is torn; the other one is used");
      // Where the newer one rotted after segments were unlinked by it: they were drained, not lost.
      if (!files_.empty() && files_.front().header) {
        opened_.cursor = std::max(opened_.cursor, previous_of(*files_.front().header));
      }
    }
    return {};
  }

  // What a later segment's header shows to be wholly before the cursor need not be read.
  void drop_drained() {
    const auto past = [&](const File& file) {
      return file.header && previous_of(*file.header) <= opened_.cursor;
    };
    const auto last = std::ranges::find_if(files_.rbegin(), files_.rend(), past);
    if (last == files_.rend()) return;
    std::vector<std::shared_ptr<Segment>> drained;
    for (auto file = files_.begin(); file != std::prev(last.base()); ++file) drained.push_back(file->segment);
    files_.erase(files_.begin(), std::prev(last.base()));
    remove_segments(drained);
  }

  // Last to first: a segment's end is known from what follows it.
  Result<void> scan_all() {
    for (std::size_t i = files_.size(); i-- > 0;) {
      File& file = files_[i];
      ScanOptions scan_options;
      scan_options.last = i + 1 == files_.size();
      // A limit lowered since these frames were written does not make them damaged.
      scan_options.payload_bytes_max = payload_bytes_limit;
      for (std::size_t j = i + 1; j < files_.size() && !scan_options.known_end; ++j) {
        if (!files_[j].header) continue;
        const SegmentHeader& next = *files_[j].header;
        if (next.previous_index == file.segment->index) {
          scan_options.known_end = SegmentEnd{next.previous_end, next.previous_sequence};
        } else if (next.previous_index < file.segment->index) {
          scan_options.known_end = SegmentEnd{segment_header_bytes, 0};
        } else {
          break;
        }
      }
      if (i + 1 < files_.size() && !files_[i + 1].scan.runs.empty()) {
        scan_options.sequence_limit = files_[i + 1].scan.runs.front().first;
        scan_options.limit_epoch = files_[i + 1].scan.epoch;
      }
      CITADEL_ASSIGN(const auto content,
                     read_at(file.segment->fd.get(), 0, file.segment->file_bytes, file.segment->path));
      file.scan = scan_segment(as_bytes(content), scan_options);
      if (scan_options.last) last_content_ = std::move(content);
    }
    for (File& file : files_) {
      for (const Gap& gap : file.scan.gaps) {
        file.segment->damaged = true;
        if (!report(file.segment->path, gap.begin, gap.frames_lost, gap.reason, file.scan.epoch)) {
          file.segment->unquarantined = true;
        }
      }
    }
    return {};
  }

  // A segment whose header names a predecessor that is not there, though its frames are not drained.
  void report_missing() {
    Position known = opened_.cursor;
    for (const File& file : files_) {
      if (file.header && previous_of(*file.header) > known) {
        const auto same = [&](const File& other) {
          return other.segment->index == file.header->previous_index;
        };
        if (std::ranges::none_of(files_, same)) {
          const Position previous = previous_of(*file.header);
          const std::uint64_t lost = previous.sequence - (known.epoch == previous.epoch ? known.sequence : 0);
          report(options_.folder / segment_name(file.header->previous_index), 0, lost,
                 "the segment is missing", previous.epoch);
        }
      }
      if (!file.scan.runs.empty()) known = std::max(known, {file.scan.epoch, file.scan.runs.back().last});
    }
  }

  // Cuts what lies behind the end that the next segment's header names. The header may go before this segment
  // does, and records that were refused must not come back then. A damaged segment is evidence, and stays as
  // it is.
  Result<void> cut_given_up() {
    for (std::size_t i = 0; i + 1 < files_.size(); ++i) {
      Segment& segment = *files_[i].segment;
      const Scan& scan = files_[i].scan;
      if (segment.damaged || segment.file_bytes <= scan.end) continue;
      if (::ftruncate(segment.fd.get(), static_cast<off_t>(scan.end)) != 0 ||
          ::fsync(segment.fd.get()) != 0) {
        return fail_errno(errno, fmt::format("cut {}", segment.path.string()));
      }
      segment.file_bytes = scan.end;
    }
    return {};
  }

  // Cuts the last segment at the end of its frames, and makes durable what a crash may have left in memory
  // only: a second write makes the pages dirty again, since a failed fdatasync may have marked them clean.
  Result<void> settle_last() {
    if (files_.empty()) return {};
    File& file = files_.back();
    Segment& segment = *file.segment;
    const Scan& scan = file.scan;
    if (scan.torn_bytes > 0) {
      log::warning("journal", "cut a torn tail that was never acknowledged",
                   {{"segment", segment.path.string()},
                    {"offset", scan.end},
                    {"bytes", scan.torn_bytes},
                    {"reason", scan.torn_reason}});
    }
    if (segment.damaged && scan.runs.empty()) return {};
    crash_point(CrashPoint::journal_recovery_before_cut);
    if (segment.file_bytes > scan.end) {
      if (::ftruncate(segment.fd.get(), static_cast<off_t>(scan.end)) != 0) {
        return fail_errno(errno, fmt::format("cut {}", segment.path.string()));
      }
      segment.file_bytes = scan.end;
    }
    crash_point(CrashPoint::journal_recovery_after_cut);
    const auto again = std::string_view(last_content_).substr(0, scan.end).substr(scan.unproven);
    CITADEL_TRY(write_at(segment.fd.get(), again, scan.unproven, segment.path));
    if (::fsync(segment.fd.get()) != 0)
      return fail_errno(errno, fmt::format("fsync {}", segment.path.string()));
    crash_point(CrashPoint::journal_recovery_after_sync);
    return {};
  }

  void keep() {
    opened_.last = opened_.cursor;
    SegmentHeader& next = opened_.next;
    next.previous_epoch = opened_.cursor.epoch;
    next.previous_sequence = opened_.cursor.sequence;
    std::vector<std::shared_ptr<Segment>> empty;
    for (File& file : files_) {
      Segment& segment = *file.segment;
      next.index = std::max(next.index, segment.index);
      opened_.identity.epoch = std::max(opened_.identity.epoch, file.scan.epoch);
      if (file.scan.runs.empty()) {
        empty.push_back(file.segment);
        continue;
      }
      segment.epoch = file.scan.epoch;
      segment.salt = file.header ? file.header->salt : 0;
      segment.runs = std::move(file.scan.runs);
      segment.places = std::move(file.scan.index);
      const Position last{segment.epoch, segment.last_sequence()};
      next.previous_index = segment.index;
      next.previous_end = file.scan.end;
      next.previous_epoch = last.epoch;
      next.previous_sequence = last.sequence;
      next.previous_hash = file.scan.last_hash;
      opened_.last = std::max(opened_.last, last);
      opened_.segments.push_back(file.segment);
    }
    remove_segments(empty);
    ++next.index;
  }

  Result<void> begin_epoch() {
    Identity& identity = opened_.identity;
    identity.epoch = next_epoch(std::max(identity.epoch, opened_.cursor.epoch), random_);
    if (identity.producer == Uuid{}) identity.producer = new_uuid7(clock_.wall(), random_);
    CITADEL_TRY(store_identity(options_.folder, identity));
    // So that the file has its blocks before the disk is full, and that its absence means damage.
    CITADEL_TRY(opened_.cursor_file.write(opened_.cursor));
    opened_.next.producer = identity.producer;
    opened_.next.epoch = identity.epoch;
    opened_.next.segment_bytes = options_.segment_bytes;
    return {};
  }

  const Options& options_;
  const Clock& clock_;
  Random& random_;
  Opened opened_;
  std::vector<File> files_;
  std::string last_content_;
};

fs::path quarantine_path(const fs::path& folder) {
  return folder / "quarantine";
}

}  // namespace

Result<Opened> open_folder(const Options& options, const Clock& clock, Random& random) {
  return Opening(options, clock, random).run();
}

bool put_aside(const fs::path& folder, std::uint64_t epoch, const Damage& damage) {
  log::error("journal", "damage found; the file is kept in quarantine",
             {{"file", damage.segment.string()},
              {"offset", damage.offset},
              {"frames_lost_at_least", damage.frames_lost_at_least},
              {"reason", damage.reason}});
  std::error_code error;
  if (!fs::exists(damage.segment, error)) return true;
  fs::create_directory(quarantine_path(folder), error);
  // A second name costs no room and keeps the bytes when the first one is drained and unlinked. The epoch
  // makes the name unique for good.
  const fs::path kept =
      quarantine_path(folder) / fmt::format("epoch-{}-{}", epoch, damage.segment.filename().string());
  if (segment_index(damage.segment)) {
    fs::create_hard_link(damage.segment, kept, error);
  } else {
    fs::copy_file(damage.segment, kept, fs::copy_options::skip_existing, error);
  }
  if (error && error != std::errc::file_exists) {
    log::error("journal", "a damaged file could not be put into quarantine",
               {{"file", damage.segment.string()}, {"error", error.message()}});
    return false;
  }
  fs::path note = kept;
  note += ".reason";
  // The file is the evidence; a note that cannot be written stands in the log all the same.
  (void)write_file_durably(note,
                           fmt::format("offset {}: {}; frames lost at least {}\n", damage.offset,
                                       damage.reason, damage.frames_lost_at_least),
                           0600);
  return true;
}

std::size_t count_quarantined(const fs::path& folder) {
  std::error_code error;
  std::size_t count = 0;
  for (fs::directory_iterator entry(quarantine_path(folder), error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".segment") ++count;
  }
  return count;
}

void remove_segments(const std::vector<std::shared_ptr<Segment>>& segments) {
  for (const auto& segment : segments) {
    crash_point(CrashPoint::journal_unlink_before);
    const auto aside = segment->path.string() + ".damaged";
    const int done = segment->unquarantined ? ::rename(segment->path.c_str(), aside.c_str())
                                            : ::unlink(segment->path.c_str());
    // One that somebody else removed is as gone as it should be.
    if (done != 0 && errno != ENOENT) {
      log::error("journal", "a drained segment could not be removed",
                 {{"file", segment->path.string()},
                  {"error", std::error_code(errno, std::generic_category()).message()}});
    }
    crash_point(CrashPoint::journal_unlink_after);
  }
}

}  // namespace citadel::journal
