#include "journal/journal.hpp"

#include <fmt/format.h>

#include <boost/asio/this_coro.hpp>

#include "journal/folder.hpp"
#include "journal/reader.hpp"
#include "journal/state.hpp"
#include "journal/writer.hpp"

namespace citadel::journal {
namespace {

// So long a refusal for want of room is taken for the present state. Then a record must be able to find out.
constexpr auto full_believed = std::chrono::seconds(5);

}  // namespace

struct Journal::Impl {
  Impl(Options o, const Clock& c, Opened opened)
      : options(std::move(o)),
        clock(c),
        identity(opened.identity),
        cursor_file(std::move(opened.cursor_file)),
        writer(options, clock, state, opened) {
    lock = std::move(opened.lock);
    state.segments = std::move(opened.segments);
    state.cursor = opened.cursor;
    state.last_durable = opened.last;
    state.damage = std::move(opened.damage);
    state.quarantined = count_quarantined(options.folder);
  }

  // Checks the records and counts their bytes.
  Result<Append> prepare(std::vector<Record> records) const;

  const Options options;
  const Clock& clock;
  // Members go in the reverse order: the writer stops first, and the lock is given up last.
  UniqueFd lock;
  const Identity identity;
  State state;
  std::mutex cursor_mutex;
  CursorFile cursor_file;  // guarded by cursor_mutex
  Writer writer;
};

Result<Append> Journal::Impl::prepare(std::vector<Record> records) const {
  if (records.empty()) return fail(Code::invalid_argument, "an append of no records");
  Append append;
  append.sheddable = true;
  for (const Record& record : records) {
    if (record.payload.size() > options.payload_bytes_max) {
      return fail(Code::invalid_argument,
                  fmt::format("record {} has {} bytes; the journal's limit is {}", record.id.to_string(),
                              record.payload.size(), options.payload_bytes_max));
    }
    append.bytes += frame_size(record.payload.size());
    append.sheddable = append.sheddable && record.shed == Class::sheddable;
  }
  const std::uint64_t bytes_max = options.segment_bytes - segment_header_bytes - frame_header_bytes;
  if (append.bytes > bytes_max) {
    return fail(
        Code::invalid_argument,
        fmt::format("one append has {} bytes; a segment of the journal holds {}", append.bytes, bytes_max));
  }
  append.records = std::move(records);
  return append;
}

Result<std::unique_ptr<Journal>> Journal::open(Options options, const Clock& clock, std::uint64_t seed) {
  SeededRandom random(seed);
  CITADEL_ASSIGN(auto opened, open_folder(options, clock, random));
  auto impl = std::make_unique<Impl>(std::move(options), clock, std::move(opened));
  {
    std::unique_lock lock(impl->state.mutex);
    const auto drained = impl->state.take_drained();
    lock.unlock();
    remove_segments(drained);
  }
  CITADEL_TRY(find_oldest(impl->state, impl->options.folder));
  CITADEL_TRY(impl->writer.start());
  return std::unique_ptr<Journal>(new Journal(std::move(impl)));
}

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::~Journal() = default;

Task<Result<Position>> Journal::append(std::vector<Record> records, Deadline deadline) {
  CITADEL_CO_ASSIGN(auto append, impl_->prepare(std::move(records)));
  const auto executor = co_await asio::this_coro::executor;
  auto shot = std::make_shared<Append::Shot>(executor);
  append.deadline = deadline;
  append.shot = shot;
  append.executor = executor;
  CITADEL_CO_TRY(impl_->writer.submit(std::move(append)));
  auto answer = co_await shot->wait(deadline);
  if (answer) co_return *std::move(answer);
  co_return fail(
      Code::deadline_exceeded,
      "the journal did not acknowledge the records by the deadline; send them again with the same ids");
}

void Journal::append(std::vector<Record> records, std::function<void(Result<Position>)> done) {
  auto append = impl_->prepare(std::move(records));
  if (!append) return done(std::unexpected(std::move(append).error()));
  append->done = done;
  if (auto submitted = impl_->writer.submit(*std::move(append)); !submitted) {
    done(std::unexpected(std::move(submitted).error()));
  }
}

Result<std::vector<Frame>> Journal::read(Position after, std::size_t count_max, std::size_t bytes_max) {
  return read_frames(impl_->state, after, {impl_->options.folder, count_max, bytes_max});
}

void Journal::on_durable(std::function<void()> callback) {
  impl_->writer.on_durable(std::move(callback));
}

Result<void> Journal::advance(Position position) {
  const std::lock_guard serial(impl_->cursor_mutex);
  State& state = impl_->state;
  {
    const std::lock_guard lock(state.mutex);
    if (position > state.last_durable) {
      return fail(Code::invalid_argument, "the cursor cannot pass what is durable");
    }
    if (position <= state.cursor) return {};
  }
  CITADEL_TRY(impl_->cursor_file.write(position));
  std::vector<std::shared_ptr<Segment>> drained;
  {
    const std::lock_guard lock(state.mutex);
    state.cursor = position;
    drained = state.take_drained();
  }
  remove_segments(drained);
  return find_oldest(state, impl_->options.folder);
}

Status Journal::status() const {
  const State& state = impl_->state;
  const std::lock_guard lock(state.mutex);
  Status status = state.totals;
  status.producer = impl_->identity.producer;
  status.epoch = impl_->identity.epoch;
  status.last_durable = state.last_durable;
  status.cursor = state.cursor;
  status.undrained_records = state.undrained_records();
  status.undrained_bytes = state.undrained_bytes();
  status.size_bytes = state.size_bytes();
  status.oldest_undrained = state.oldest_undrained;
  status.segments = state.segments.size();
  status.quarantined_segments = state.quarantined;
  status.full = state.full && state.freed == state.full_at_freed &&
                impl_->clock.monotonic() - state.full_seen < full_believed;
  if (status.full) status.full_reason = state.full_reason;
  return status;
}

std::vector<Damage> Journal::damage() const {
  const std::lock_guard lock(impl_->state.mutex);
  return impl_->state.damage;
}

}  // namespace citadel::journal
