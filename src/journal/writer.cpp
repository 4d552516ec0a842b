#include "journal/writer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/crash_point.hpp"
#include "base/log.hpp"

namespace citadel::journal {
namespace {

using namespace std::chrono_literals;

// How long a disk that was full is not asked again, unless a segment was unlinked meanwhile.
constexpr auto full_pause = 100ms;
// A group that follows one of many waits for its company at most this part of an fdatasync.
constexpr int company_wait_divisor = 4;
// How often the files that are not written at present are looked after.
constexpr auto watch_interval = 1s;

Error not_durable(const Error& cause) {
  return Error(
      cause.code,
      fmt::format("the records are not acknowledged, send them again with the same ids: {}", cause.message));
}

}  // namespace

Writer::Writer(const Options& options, const Clock& clock, State& state, const Opened& opened)
    : options_(options), clock_(clock), state_(state), folder_fd_(opened.lock.get()), next_(opened.next) {
  hash_ = next_.previous_hash;
}

Result<void> Writer::start() {
  reserve_ = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto begun = rotate();
  if (!begun && begun.error().code != Code::storage_full) return begun;
  if (!begun) log::warning("journal", "no room for a segment yet", {{"error", begun.error()}});
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "citadel-journal");
    run();
  });
  return {};
}

Writer::~Writer() {
  {
    const std::lock_guard lock(queue_mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
    seal();
  }
  if (spare_) ::unlink(spare_path(options_.folder).c_str());
}

Result<void> Writer::submit(Append append) {
  std::unique_lock lock(queue_mutex_);
  if (failed_) {
    return fail(Code::io_error,
                "the journal refuses records since its disk failed; mend the disk, then restart");
  }
  if (stopping_) return fail(Code::unavailable, "the journal is stopping", Retry::safe);
  if (queued_records_ + append.records.size() > options_.queue_records_max ||
      queued_bytes_ + append.bytes > options_.queue_bytes_max) {
    return fail(
        Code::overloaded,
        fmt::format("{} records wait for the journal's disk already (journal queue)", queued_records_),
        Retry::safe);
  }
  queued_records_ += append.records.size();
  queued_bytes_ += append.bytes;
  queue_.push_back(std::move(append));
  // A thread that waits for company is not woken by each of them: that costs more than the record itself.
  const bool wakes = queue_.size() >= wanted_ || queued_bytes_ >= options_.gather_bytes;
  lock.unlock();
  if (wakes) wake_.notify_one();
  return {};
}

void Writer::run() {
  while (auto appends = take()) {
    write(*std::move(appends));
    if (Monotonic::now() >= watch_at_) watch_files();
  }
}

// What is queued, up to gather_bytes; nothing of it when the files are to be looked after; nullopt when the
// writer is to end.
std::optional<std::vector<Append>> Writer::take() {
  std::unique_lock lock(queue_mutex_);
  std::vector<Append> taken;
  if (!wake_.wait_until(lock, watch_at_, [&] { return stopping_ || !queue_.empty(); })) return taken;
  if (queue_.empty()) return std::nullopt;
  gather_company(lock);
  std::size_t bytes = 0;
  while (!queue_.empty() && (taken.empty() || bytes + queue_.front().bytes <= options_.gather_bytes)) {
    bytes += queue_.front().bytes;
    queued_records_ -= queue_.front().records.size();
    queued_bytes_ -= queue_.front().bytes;
    taken.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return taken;
}

// Callers that were acknowledged together come back together, a moment apart. To write the first of them
// alone would make the others wait for two fdatasyncs. A lone caller's group was of one, so it never waits
// here.
void Writer::gather_company(std::unique_lock<std::mutex>& lock) {
  if (last_group_ < 2 || stopping_) return;
  const auto longest = std::min<Monotonic::duration>(options_.gather, last_sync_ / company_wait_divisor);
  wanted_ = last_group_;
  wake_.wait_for(lock, longest, [&] {
    return stopping_ || queue_.size() >= wanted_ || queued_bytes_ >= options_.gather_bytes;
  });
  wanted_ = 1;
}

void Writer::write(std::vector<Append> appends) {
  for (Append& append : appends) {
    auto admitted = admit(append);
    if (!admitted) {
      // Those before it are told first, and it takes its turn: order among the answers is order of arrival.
      commit();
      group_.push_back({std::move(append), {}});
      acknowledge(std::move(admitted).error());
      continue;
    }
    encode(append);
    group_.push_back({std::move(append), {next_.epoch, sequence_}});
  }
  commit();
}

Result<void> Writer::admit(const Append& append) {
  if (append.deadline && append.deadline->expired(clock_.monotonic())) {
    return fail(Code::deadline_exceeded, "the deadline passed before the journal wrote the records",
                Retry::safe);
  }
  auto made = make_room(append);
  if (made || made.error().code == Code::storage_full) tell_room(append, made);
  return made;
}

// Counts what was refused for want of room. The log has the first refusal, and the first record taken after
// it.
void Writer::tell_room(const Append& append, const Result<void>& made) {
  bool edge = false;
  {
    const std::lock_guard lock(state_.mutex);
    if (!made) {
      (append.sheddable ? state_.totals.shed_total : state_.totals.refused_full_total) +=
          append.records.size();
    }
    if (append.sheddable) return;
    edge = std::exchange(state_.full, !made) != state_.full;
    if (!made) {
      state_.full_seen = clock_.monotonic();
      state_.full_at_freed = state_.freed;
      state_.full_reason = made.error().message;
    }
  }
  if (!edge) return;
  if (made) {
    log::info("journal", "there is room for records again", {});
  } else {
    log::error("journal", "records are refused for want of room", {{"reason", made.error().message}});
  }
}

std::uint64_t Writer::room() const {
  if (!active_) return 0;
  const std::uint64_t used = offset_ + buffer_.size() + frame_header_bytes;  // one header for the seal
  return options_.segment_bytes - std::min(used, options_.segment_bytes);
}

Result<void> Writer::make_room(const Append& append) {
  if (append.sheddable && !spare_) {
    const auto reserve = std::min(options_.reserve_bytes, options_.segment_bytes / 2);
    if (room() < reserve + append.bytes) CITADEL_TRY(ensure_spare());
  }
  if (append.bytes <= room()) return {};
  commit();
  if (append.bytes <= room()) return {};  // the commit failed, and began a new segment
  return rotate();
}

void Writer::encode(const Append& append) {
  if (group_.empty()) group_time_ = clock_.wall();
  const std::uint64_t durable = next_.previous_epoch == next_.epoch ? next_.previous_sequence : 0;
  for (const Record& record : append.records) {
    FrameHeader header;
    header.salt = active_->salt;
    header.epoch = next_.epoch;
    header.sequence = ++sequence_;
    header.behind = static_cast<std::uint32_t>(sequence_ - 1 - durable);
    header.kind = static_cast<std::uint8_t>(record.kind);
    header.shed_class = static_cast<std::uint8_t>(record.shed);
    header.written_at = group_time_;
    header.id = record.id;
    header.previous_hash = hash_;
    const std::size_t at = buffer_.size();
    const std::uint64_t before = places_.empty()
                                     ? (active_->places.empty() ? 0 : active_->places.back().offset)
                                     : places_.back().offset;
    if (before == 0 || offset_ + at - before >= index_distance_bytes)
      places_.push_back({sequence_, offset_ + at});
    append_frame(buffer_, header, record.payload);
    hash_ = crypto::sha256(as_bytes(std::string_view(buffer_).substr(at)));
  }
}

void Writer::commit() {
  if (group_.empty()) return;
  auto written = write_and_sync();
  if (written) {
    publish();
    acknowledge(std::nullopt);
  } else {
    poison(written.error());
  }
}

Result<void> Writer::write_and_sync() {
  crash_point(CrashPoint::journal_append_before_write);
  if (crash_is_due(CrashPoint::journal_append_half_written)) {
    (void)write_at(active_->fd.get(), std::string_view(buffer_).substr(0, buffer_.size() / 2), offset_,
                   active_->path);
    crash_now();
  }
  CITADEL_TRY(write_at(active_->fd.get(), buffer_, offset_, active_->path));
  crash_point(CrashPoint::journal_append_before_sync);
  const auto began = Monotonic::now();
  CITADEL_TRY(sync_data(active_->fd.get(), active_->path));
  last_sync_ = Monotonic::now() - began;
  crash_point(CrashPoint::journal_append_after_sync);
  if (!has_its_name(*active_)) {
    return fail(Code::io_error,
                fmt::format("{} was removed while the journal wrote to it", active_->path.string()));
  }
  return {};
}

// The group is durable: readers may have it.
void Writer::publish() {
  const std::uint64_t end = offset_ + buffer_.size();
  const std::uint64_t first = next_.previous_epoch == next_.epoch ? next_.previous_sequence + 1 : 1;
  {
    const std::lock_guard lock(state_.mutex);
    if (active_->runs.empty()) active_->runs.push_back({offset_, offset_, first, 0});
    active_->runs.back().end = end;
    active_->runs.back().last = sequence_;
    active_->places.insert(active_->places.end(), places_.begin(), places_.end());
    state_.last_durable = {next_.epoch, sequence_};
    ++state_.totals.syncs_total;
    state_.totals.appended_total += sequence_ - first + 1;
    if (!state_.oldest_undrained) {
      state_.oldest_undrained = group_time_;
      state_.oldest_segment = active_->index;
      state_.oldest_offset = offset_;
    }
  }
  next_.previous_index = active_->index;
  next_.previous_end = end;
  next_.previous_epoch = next_.epoch;
  next_.previous_sequence = sequence_;
  next_.previous_hash = hash_;
  offset_ = end;
  last_group_ = group_.size();
}

// The segment is given up: what it holds behind its durable frames is unknown and stays so. The sequences of
// the group are given again, in a new segment whose header says where this one ends.
void Writer::poison(const Error& error) {
  log::error("journal", "a write failed: its segment is given up, its records are not acknowledged",
             {{"segment", active_->path.string()}, {"durable_bytes", offset_}, {"error", error}});
  if (!has_its_name(*active_)) rescue(*active_, offset_);
  std::vector<std::shared_ptr<Segment>> useless;
  {
    const std::lock_guard lock(state_.mutex);
    ++state_.totals.sync_errors_total;
    state_.active.reset();
    if (active_->empty()) {
      std::erase(state_.segments, active_);
      useless.push_back(active_);
    }
  }
  remove_segments(useless);
  active_.reset();
  sequence_ = next_.previous_epoch == next_.epoch ? next_.previous_sequence : 0;
  hash_ = next_.previous_hash;
  (void)rotate();  // where it fails, either the journal has failed closed, or it waits for room
  acknowledge(not_durable(error));
}

// Looks whether somebody removed files that the journal counts on, and makes them anew.
void Writer::watch_files() {
  watch_at_ = Monotonic::now() + watch_interval;
  if (closed_) return;
  if (active_ && !has_its_name(*active_)) {
    poison(Error(Code::io_error,
                 fmt::format("{} was removed while the journal used it", active_->path.string())));
  }
  std::vector<std::shared_ptr<Segment>> segments;
  {
    const std::lock_guard lock(state_.mutex);
    segments.assign(state_.segments.begin(), state_.segments.end());
  }
  for (const auto& segment : segments) {
    if (segment == active_ || has_its_name(*segment)) continue;
    // A segment leaves the list before the journal itself unlinks it.
    std::unique_lock lock(state_.mutex);
    if (std::ranges::find(state_.segments, segment) == state_.segments.end()) continue;
    lock.unlock();
    rescue(*segment, segment->file_bytes);
  }
  std::error_code unknown;
  if (closed_ || std::filesystem::exists(options_.folder / "identity", unknown) || unknown) return;
  const auto stored = store_identity(options_.folder, {next_.producer, next_.epoch});
  log::error("journal", "the file 'identity' was removed while the daemon runs; it is written anew",
             {{"folder", options_.folder.string()}, {"outcome", stored ? "good" : stored.error().message}});
}

// The segment's file was removed; what was acknowledged lives on in the descriptor, up to the end of this
// process.
void Writer::rescue(Segment& segment, std::uint64_t bytes) {
  std::unique_lock lock(state_.mutex);
  const bool empty = segment.empty();
  lock.unlock();
  const auto restored = empty ? Result<void>() : restore_segment(segment, bytes);
  if (!restored && std::exchange(segment.lost, true)) return;  // tried again each second, told once
  const std::string what =
      restored
          ? "it was removed while the journal used it; its records were written anew. Let nothing but the "
            "daemon touch the folder"
          : fmt::format(
                "it was removed while the journal used it, and could not be written anew ({}). Let "
                "the daemon run until its records are in the database",
                restored.error().message);
  log::error("journal", "a segment was removed under the journal",
             {{"segment", segment.path.string()}, {"reason", what}});
  lock.lock();
  state_.totals.warning = fmt::format("{}: {}", segment.path.filename().string(), what);
  state_.damage.push_back({segment.path, bytes, 0, what});
}

// Tells every member of the group; those who wait on an executor are told by one post for each executor.
// Their records go back with it: memory is cheapest to free on the thread that it was taken on.
void Writer::acknowledge(const std::optional<Error>& error) {
  crash_point(CrashPoint::journal_append_before_ack);
  using Answers = std::vector<std::pair<Append, Result<Position>>>;
  std::vector<std::pair<Executor, Answers>> by_executor;
  for (Member& member : group_) {
    Result<Position> answer = member.position;
    if (error) answer = std::unexpected(*error);
    if (member.append.done) {
      member.append.done(std::move(answer));
      continue;
    }
    auto found =
        std::ranges::find(by_executor, member.append.executor, [](const auto& entry) { return entry.first; });
    if (found == by_executor.end()) found = by_executor.insert(found, {member.append.executor, {}});
    found->second.emplace_back(std::move(member.append), std::move(answer));
  }
  for (auto& [executor, answers] : by_executor) {
    asio::post(executor, [told = std::move(answers)]() mutable {
      for (auto& [append, answer] : told) append.shot->set(std::move(answer));
    });
  }
  group_.clear();
  buffer_.clear();
  places_.clear();
  crash_point(CrashPoint::journal_append_after_ack);
  if (error) return;
  const std::lock_guard lock(callback_mutex_);
  if (on_durable_) on_durable_();
}

Result<void> Writer::ensure_spare() {
  if (spare_) return {};
  std::uint64_t freed = 0;
  {
    const std::lock_guard lock(state_.mutex);
    freed = state_.freed;
    if (state_.size_bytes() + options_.segment_bytes > options_.size_bytes_max) {
      return fail(
          Code::storage_full,
          fmt::format(
              "the journal is at its limit of {} bytes (journal.size_bytes_max); records wait for the "
              "database",
              options_.size_bytes_max));
    }
  }
  const auto now = clock_.monotonic();
  if (now < full_until_ && freed == full_at_freed_) {
    return fail(Code::storage_full, fmt::format("the disk of {} is full", options_.folder.string()));
  }
  reserve_.reset();
  auto allocated = allocate_segment(options_.folder, options_.segment_bytes);
  reserve_ = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!allocated) {
    if (allocated.error().code == Code::storage_full) {
      full_until_ = now + full_pause;
      full_at_freed_ = freed;
    }
    return std::unexpected(std::move(allocated).error());
  }
  spare_ = *std::move(allocated);
  const std::lock_guard lock(state_.mutex);
  state_.spare_bytes = options_.segment_bytes;
  return {};
}

// Begins a new segment. Any failure but lack of room or of descriptors is the journal's end.
Result<void> Writer::rotate() {
  if (closed_) return fail(Code::io_error, "the journal's disk failed; mend the disk, then restart");
  auto spare = ensure_spare();
  if (!spare) {
    const bool passes = spare.error().code == Code::storage_full || spare.error().code == Code::overloaded;
    if (!passes) fail_closed(spare.error());
    return spare;
  }
  do {
    next_.salt = static_cast<std::uint32_t>(random_seed());
  } while (next_.salt == 0);
  next_.first_sequence = sequence_ + 1;
  next_.created_at = clock_.wall();
  auto begun = begin_segment(options_.folder, folder_fd_, std::move(spare_), next_);
  {
    const std::lock_guard lock(state_.mutex);
    state_.spare_bytes = 0;
    if (begun) {
      state_.segments.push_back(*begun);
      state_.active = *begun;
    }
  }
  if (!begun) {
    fail_closed(begun.error());
    return std::unexpected(std::move(begun).error());
  }
  active_ = *std::move(begun);
  offset_ = segment_header_bytes;
  ++next_.index;
  return {};
}

void Writer::fail_closed(const Error& error) {
  log::error("journal", "no new segment can be begun: the journal refuses records until it is restarted",
             {{"error", error}});
  {
    const std::lock_guard lock(state_.mutex);
    state_.totals.failed = true;
    state_.totals.failure = error.to_string();
    state_.active.reset();
  }
  active_.reset();
  closed_ = true;
  const std::lock_guard lock(queue_mutex_);
  failed_ = true;
}

// The mark of a clean stop: what lies before it was durable. Without it the next open takes the last group on
// trust.
void Writer::seal() {
  if (!active_) return;
  FrameHeader header;
  header.salt = active_->salt;
  header.epoch = next_.epoch;
  header.sequence = sequence_ + 1;
  header.kind = seal_kind;
  header.written_at = clock_.wall();
  header.previous_hash = hash_;
  std::string frame;
  if (offset_ > segment_header_bytes) append_frame(frame, header, {});
  crash_point(CrashPoint::journal_seal_before_write);
  const auto written = write_at(active_->fd.get(), frame, offset_, active_->path);
  crash_point(CrashPoint::journal_seal_after_write);
  const auto end = static_cast<off_t>(offset_ + frame.size());
  // The room behind the frames goes back to the disk.
  if (!written || ::ftruncate(active_->fd.get(), end) != 0 || ::fsync(active_->fd.get()) != 0) {
    log::warning("journal", "the segment could not be sealed", {{"segment", active_->path.string()}});
  }
  crash_point(CrashPoint::journal_seal_after_sync);
}

}  // namespace citadel::journal
