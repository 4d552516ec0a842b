#include "drain/drain.hpp"

#include <boost/asio/thread_pool.hpp>
#include <map>

#include "aio/gate.hpp"
#include "aio/wait.hpp"
#include "base/crash_point.hpp"
#include "base/log.hpp"
#include "resilience/backoff.hpp"

namespace citadel::drain {
namespace {

// Inserts the watermark where it is not there, locks it, and reads it: one round trip. The lock waits for an
// earlier attempt of ours whose COMMIT is still under way, so what it returns is final. Where the server or
// the role has synchronous_commit off, COMMIT would return before the disk has it, and the journal would
// remove what a crash of PostgreSQL can still lose; a setting that waits for more than the disk stays.
constexpr pg::Statement lock_watermark{
    "drain watermark lock",
    "insert into citadel.watermark (producer, epoch, sequence) values ($1, $2, 0) "
    "on conflict (producer, epoch) do update set sequence = citadel.watermark.sequence returning sequence, "
    "case when pg_catalog.current_setting('synchronous_commit') = 'off' "
    "then pg_catalog.set_config('synchronous_commit', 'on', true) end"};
constexpr pg::Statement move_watermark{
    "drain watermark move",
    "update citadel.watermark set sequence = $3, updated_at = now() where producer = $1 and epoch = $2"};
constexpr pg::Statement set_aside{"drain dead letter",
                                  "insert into citadel.dead_letter (producer, epoch, sequence, id, kind, "
                                  "payload, reason) values ($1, $2, $3, $4, $5, $6, $7) "
                                  "on conflict do nothing"};

// PostgreSQL refused the content itself: data exception (22) or integrity constraint (23), but not a repeated
// key, which a concurrent writer may cause and which the next attempt sees.
bool refuses_content(const Error& error) {
  const std::string_view state = error.sqlstate;
  return (state.starts_with("22") || state.starts_with("23")) && state != "23505";
}

struct Batch {
  std::vector<journal::Frame> frames;  // one epoch
  journal::Position last() const { return frames.back().position; }
};

// Frames by kind, each kind's in their order. Nearly always there is one kind: then no frame is copied.
class ByKind {
 public:
  using Frames = std::span<const journal::Frame>;

  // `frames` outlive it.
  explicit ByKind(Frames frames) {
    const auto differs = [&](const journal::Frame& frame) { return frame.kind != frames.front().kind; };
    if (std::ranges::none_of(frames, differs)) {
      if (!frames.empty()) parts_.emplace(frames.front().kind, frames);
      return;
    }
    for (const auto& frame : frames) copies_[frame.kind].push_back(frame);
    for (const auto& [kind, copied] : copies_) parts_.emplace(kind, copied);
  }
  ByKind(const ByKind&) = delete;

  const std::map<journal::Kind, Frames>& parts() const { return parts_; }

 private:
  std::map<journal::Kind, std::vector<journal::Frame>> copies_;
  std::map<journal::Kind, Frames> parts_;
};

}  // namespace

Task<Result<void>> Sink::refused(pg::Transaction&, Origin, const journal::Frame&, const Error&, Deadline) {
  co_return Result<void>();
}

struct Drain::Impl {
  store::Database& database;
  journal::Journal& journal;
  std::map<journal::Kind, std::unique_ptr<Sink>> sinks;
  Options options;
  const Clock& clock;
  SeededRandom random;
  aio::Gate gate;
  asio::thread_pool files{1};
  std::shared_ptr<asio::steady_timer> wake;
  Status status;
  std::size_t rows_now;  // the batch's size; halved while a record that is refused is looked for
  // Why the loop should not wait. `arrived`: the journal has more. `kicked`: somebody wants it written
  // without the interval's delay.
  bool arrived = false;
  bool kicked = false;
  bool closing = false;
  Uuid producer;
  // Of the epoch that this process writes: the highest sequence for which it ever sent a COMMIT.
  std::uint64_t own_epoch;
  std::uint64_t sent = 0;
  std::function<void(journal::Position)> drained;

  Impl(store::Database& d, journal::Journal& j, Options o, const Clock& c, std::uint64_t seed)
      : database(d),
        journal(j),
        options(o),
        clock(c),
        random(seed),
        gate(d.executor()),
        wake(std::make_shared<asio::steady_timer>(d.executor())),
        rows_now(o.batch_rows),
        producer(j.status().producer),
        own_epoch(j.status().epoch) {
    status.drained = j.status().cursor;
    if (status.drained.epoch == own_epoch) sent = status.drained.sequence;
  }

  // Runs blocking file I/O off the data plane.
  template <class F>
  Task<std::invoke_result_t<F>> on_files(F f) {
    co_return co_await aio::run_on(Executor(files.get_executor()), call(std::move(f)));
  }
  template <class F>
  static Task<std::invoke_result_t<F>> call(F f) {
    co_return f();
  }

  Task<> loop();
  Task<> pause_until_work();
  Task<Result<bool>> drain_one();
  // The same, with an exception as an error: a batch that fails in a way nobody foresaw is tried again, too.
  Task<Result<bool>> drain_guarded();
  // Locks the producer's watermark until the transaction ends, and gives it. conflict where it is further
  // than this process has brought it.
  Task<Result<std::uint64_t>> lock(pg::Transaction& transaction, std::uint64_t epoch, Deadline deadline);
  // The transaction's last statement.
  Task<Result<void>> move(pg::Transaction& transaction, journal::Position to, Deadline deadline);
  Task<Result<SinkOutcome>> write_all(pg::Transaction& transaction, std::span<const journal::Frame> frames,
                                      Deadline deadline);
  Task<Result<void>> write_batch(const Batch& batch, Deadline deadline);
  Task<Result<void>> write_dead_letter(const journal::Frame& frame, const Error& reason, Deadline deadline);
  Task<Result<void>> handle_failure(const Batch& batch, Error error, Deadline deadline);
  void note(const SinkOutcome& outcome);
};

Drain::Drain(store::Database& database, journal::Journal& journal, std::vector<std::unique_ptr<Sink>> sinks,
             Options options, const Clock& clock, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(database, journal, options, clock, seed)) {
  for (auto& sink : sinks) {
    const auto kind = sink->kind();
    impl_->sinks[kind] = std::move(sink);
  }
}

Drain::~Drain() = default;

void Drain::start() {
  impl_->journal.on_durable(
      [wake = std::weak_ptr(impl_->wake), impl = impl_.get(), executor = impl_->database.executor()] {
        // The writer's thread may outrun close(): the timer tells whether the drain is still there.
        asio::post(executor, [wake, impl] {
          const auto alive = wake.lock();
          if (!alive) return;
          impl->arrived = true;
          // Only the wait for records ends: the interval in which they gather, and the backoff, go on.
          if (impl->status.idle) alive->cancel();
        });
      });
  impl_->gate.spawn("drain", impl_->loop());
}

void Drain::kick() {
  asio::post(impl_->database.executor(), [wake = std::weak_ptr(impl_->wake), impl = impl_.get()] {
    if (const auto alive = wake.lock()) {
      impl->kicked = true;
      alive->cancel();
    }
  });
}

Status Drain::status() const {
  return impl_->status;
}

void Drain::on_drained(std::function<void(journal::Position)> callback) {
  impl_->drained = std::move(callback);
}

Task<Result<void>> Drain::close(Deadline deadline) {
  impl_->closing = true;
  impl_->wake->cancel();
  // What it says of the loop does not matter: whether records are left is asked below.
  (void)co_await impl_->gate.drain(deadline);
  CITADEL_CO_TRY(co_await impl_->gate.close(Deadline::after(std::chrono::seconds(5), impl_->clock)));
  impl_->journal.on_durable({});
  impl_->wake.reset();
  impl_->files.join();
  if (const auto left = impl_->journal.status().undrained_records; left > 0) {
    co_return fail(
        Code::deadline_exceeded,
        fmt::format("{} records are not in the database yet; they stay in the journal for the next start",
                    left));
  }
  co_return Result<void>();
}

// While records wait: batch after batch. The first batch after a pause waits `interval` for company.
Task<> Drain::Impl::loop() {
  resilience::Backoff backoff({.initial = options.backoff_initial, .ceiling = options.backoff_ceiling},
                              random);
  for (;;) {
    auto more = co_await drain_guarded();
    if (more && *more) {
      backoff.reset();
      continue;
    }
    if (more) {
      backoff.reset();
      if (closing) co_return;
      co_await pause_until_work();
      continue;
    }
    ++status.failures_total;
    if (!status.last_error)
      log::warning("drain", "the database does not take records; the journal keeps them",
                   {{"error", more.error()}});
    status.last_error = more.error();
    if (closing && more.error().code == Code::unavailable) co_return;
    wake->expires_after(backoff.next());
    co_await wake->async_wait(asio::as_tuple(asio::use_awaitable));
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none)
      co_return;
  }
}

Task<> Drain::Impl::pause_until_work() {
  if (!arrived && !kicked && !closing) {
    status.idle = true;
    wake->expires_at(MonotonicTime::max());
    co_await wake->async_wait(asio::as_tuple(asio::use_awaitable));
    status.idle = false;
  }
  if (!kicked && !closing) {
    wake->expires_after(options.interval);
    co_await wake->async_wait(asio::as_tuple(asio::use_awaitable));
  }
  arrived = kicked = false;
}

Task<Result<bool>> Drain::Impl::drain_guarded() {
  try {
    co_return co_await drain_one();
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) throw;
    co_return fail(Code::internal, error.what());
  } catch (const std::exception& error) {
    co_return fail(Code::internal, error.what());
  }
}

// One batch. True: there may be more. False: all is drained.
Task<Result<bool>> Drain::Impl::drain_one() {
  Batch batch;
  CITADEL_CO_ASSIGN(batch.frames, co_await on_files([this] {
                      return journal.read(status.drained, rows_now, options.batch_bytes);
                    }));
  if (batch.frames.empty()) co_return false;
  const auto epoch = batch.frames.front().position.epoch;
  std::erase_if(batch.frames, [&](const journal::Frame& frame) { return frame.position.epoch != epoch; });

  const auto begun = clock.monotonic();
  const auto deadline = Deadline::at(begun + options.batch_timeout);
  auto written = co_await write_batch(batch, deadline);
  if (!written) {
    auto handled = co_await handle_failure(batch, std::move(written).error(), deadline);
    if (!handled) co_return std::unexpected(std::move(handled).error());
    if (rows_now < batch.frames.size()) co_return true;  // again, with fewer
  }
  crash_point(CrashPoint::drain_after_commit);
  const auto last = batch.last();
  if (drained) drained(last);
  CITADEL_CO_TRY(co_await on_files([this, last] { return journal.advance(last); }));
  crash_point(CrashPoint::drain_after_advance);
  status.drained = last;
  status.last_success = clock.wall();
  status.batch_seconds_total += std::chrono::duration<double>(clock.monotonic() - begun).count();
  ++status.batches_total;
  rows_now = std::min(options.batch_rows, rows_now * 2);
  if (status.last_error) {
    log::info("drain", "the database takes records again",
              {{"undrained", journal.status().undrained_records}});
    status.last_error.reset();
  }
  co_return true;
}

Task<Result<void>> Drain::Impl::write_batch(const Batch& batch, Deadline deadline) {
  const ByKind by_kind(batch.frames);
  for (const auto& [kind, frames] : by_kind.parts()) {
    const auto sink = sinks.find(kind);
    if (sink == sinks.end()) {
      co_return fail(Code::unsupported,
                     fmt::format("the journal holds a record of kind {}, which this version does not "
                                 "know; it was written by a newer Citadel: start that version",
                                 static_cast<int>(kind)));
    }
    CITADEL_CO_TRY(co_await sink->second->prepare(database, frames, deadline));
  }
  crash_point(CrashPoint::drain_before_transaction);
  auto outcome = co_await database.transact<SinkOutcome>(
      deadline, store::Intent::write,
      {.name = "drain", .attempts_max = 1, .commit_check = store::CommitCheck::by_caller},
      [&](pg::Transaction& transaction) { return write_all(transaction, batch.frames, deadline); });
  if (!outcome) co_return std::unexpected(std::move(outcome).error());
  note(*outcome);
  co_return Result<void>();
}

Task<Result<std::uint64_t>> Drain::Impl::lock(pg::Transaction& transaction, std::uint64_t epoch,
                                              Deadline deadline) {
  const pg::Params key(producer, static_cast<std::int64_t>(epoch));
  CITADEL_CO_ASSIGN(const auto rows, co_await transaction.execute(lock_watermark, key, deadline));
  const auto seen = static_cast<std::uint64_t>(rows[0].get<std::int64_t>(0));
  // Taken for replays, the frames up to there would be dropped without having been written by anybody.
  if (epoch == own_epoch && seen > sent) {
    co_return fail(Code::conflict,
                   fmt::format("another process has written records of this journal's epoch {} up to {}, and "
                               "this one only up to {}: the journal's folder, or the machine, was copied or "
                               "rolled back while it ran. Stop the other one; put a copy of this journal's "
                               "folder aside before a restart, which takes its records up to {} for written",
                               epoch, seen, sent, seen));
  }
  co_return seen;
}

Task<Result<void>> Drain::Impl::move(pg::Transaction& transaction, journal::Position to, Deadline deadline) {
  const pg::Params params(producer, static_cast<std::int64_t>(to.epoch),
                          static_cast<std::int64_t>(to.sequence));
  CITADEL_CO_TRY(co_await transaction.execute(move_watermark, params, deadline));
  if (to.epoch == own_epoch) sent = std::max(sent, to.sequence);  // COMMIT comes next, whatever its answer
  co_return Result<void>();
}

Task<Result<SinkOutcome>> Drain::Impl::write_all(pg::Transaction& transaction,
                                                 std::span<const journal::Frame> frames, Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto seen, co_await lock(transaction, frames.front().position.epoch, deadline));
  SinkOutcome total;
  while (!frames.empty() && frames.front().position.sequence <= seen) {
    ++status.replayed_total;
    frames = frames.subspan(1);
  }
  if (frames.empty()) co_return total;

  const Origin origin{producer, frames.front().position.epoch};
  const ByKind by_kind(frames);
  for (const auto& [kind, part] : by_kind.parts()) {
    CITADEL_CO_ASSIGN(const auto outcome,
                      co_await sinks.at(kind)->write(transaction, origin, part, deadline));
    total.stored += outcome.stored;
    total.repeated += outcome.repeated;
    total.conflicting += outcome.conflicting;
    total.undecodable += outcome.undecodable;
  }
  crash_point(CrashPoint::drain_before_watermark);
  CITADEL_CO_TRY(co_await move(transaction, frames.back().position, deadline));
  crash_point(CrashPoint::drain_before_commit);
  co_return total;
}

Task<Result<void>> Drain::Impl::handle_failure(const Batch& batch, Error error, Deadline deadline) {
  if (!refuses_content(error)) co_return std::unexpected(std::move(error));
  if (batch.frames.size() > 1) {
    rows_now = std::max<std::size_t>(1, batch.frames.size() / 2);
    co_return Result<void>();
  }
  co_return co_await write_dead_letter(batch.frames.front(), error, deadline);
}

Task<Result<void>> Drain::Impl::write_dead_letter(const journal::Frame& frame, const Error& reason,
                                                  Deadline deadline) {
  const auto epoch = static_cast<std::int64_t>(frame.position.epoch);
  const auto sequence = static_cast<std::int64_t>(frame.position.sequence);
  auto done = co_await database.transact<bool>(
      deadline, store::Intent::write,
      {.name = "drain dead letter", .commit_check = store::CommitCheck::by_caller},
      [&](pg::Transaction& transaction) -> Task<Result<bool>> {
        CITADEL_CO_TRY(co_await lock(transaction, frame.position.epoch, deadline));
        const pg::Params letter(producer, epoch, sequence, frame.id, static_cast<std::int16_t>(frame.kind),
                                as_bytes(frame.payload), reason.to_string());
        CITADEL_CO_TRY(co_await transaction.execute(set_aside, letter, deadline));
        const Origin origin{producer, frame.position.epoch};
        CITADEL_CO_TRY(co_await sinks.at(frame.kind)->refused(transaction, origin, frame, reason, deadline));
        CITADEL_CO_TRY(co_await move(transaction, frame.position, deadline));
        co_return true;
      });
  if (!done) co_return std::unexpected(std::move(done).error());
  ++status.dead_letter_total;
  log::error("drain", "PostgreSQL refuses a record; it is kept in citadel.dead_letter",
             {{"epoch", epoch}, {"sequence", sequence}, {"id", frame.id}, {"error", reason}});
  co_return Result<void>();
}

void Drain::Impl::note(const SinkOutcome& outcome) {
  status.stored_total += outcome.stored;
  status.repeated_total += outcome.repeated;
  status.conflicting_total += outcome.conflicting;
  status.undecodable_total += outcome.undecodable;
  if (outcome.conflicting + outcome.undecodable > 0) {
    log::warning("drain", "records were set aside",
                 {{"conflicting", outcome.conflicting}, {"undecodable", outcome.undecodable}});
  }
}

}  // namespace citadel::drain
