#include "audit/sequencer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "audit/catalogue.hpp"
#include "audit/log_rows.hpp"
#include "audit/months.hpp"
#include "base/log.hpp"
#include "base/time_text.hpp"
#include "tlog/tile_builder.hpp"

namespace citadel::audit {
namespace {

using drain::Origin;
using drain::SinkOutcome;
using Month = ContentMonth;

constexpr std::size_t entry_partition_width = 4'194'304;
constexpr std::size_t months_remembered_max = 10'000;
constexpr std::size_t months_a_call = 1'000;  // audit.ensure_event_partitions refuses more
// Beside id_future_max, for clocks that differ.
constexpr auto skew_max = std::chrono::hours(24);

constexpr pg::Statement ensure_months{"audit event partitions",
                                      "select audit.ensure_event_partitions($1, $2::text[]::date[])"};
constexpr pg::Statement ensure_entries{"audit entry partitions", "select audit.ensure_entry_partitions($1)"};
constexpr pg::Statement select_partitions{
    "audit entry partition list", "select first_idx, made_at from audit.entry_partition order by first_idx"};

std::unexpected<Error> not_prepared(std::string_view what) {
  return fail(Code::unavailable, fmt::format("{}; it is made anew", what), Retry::safe);
}

SubjectKeys::Name key_name(const Draft& draft) {
  return {draft.record.tenant, draft.record.subject};
}

}  // namespace

struct Sequencer::Impl {
  std::shared_ptr<const AuditKeys> keys;
  std::shared_ptr<GrowthPermit> permit;
  SequencerOptions options;
  const Clock& clock;
  SubjectKeys subjects;
  // What is there, as far as it was committed.
  std::set<Month> months;
  std::uint64_t entries_until = 0;  // the first index without a partition
  std::map<std::uint64_t, WallTime> partitions;  // made_at by first index
  std::uint64_t size_seen = 0;
  bool key_proven = false;  // a data key of the journal has opened

  Impl(std::shared_ptr<const AuditKeys> k, std::shared_ptr<GrowthPermit> p, SequencerOptions o, const Clock& c)
      : keys(k), permit(std::move(p)), options(o), clock(c), subjects(std::move(k)) {}

  void forget();
  std::uint64_t first_index_since(WallTime time) const;
  Task<Result<void>> make_months(store::Database& database, std::set<Month> wanted, Deadline deadline);
  Task<Result<void>> make_entry_partitions(store::Database& database, std::size_t entries, Deadline deadline);

  Task<Result<Batch>> begin(pg::Transaction& transaction, tlog::TileBuilder& tree, Deadline deadline);
  void add_frames(Batch& batch, Origin origin, std::span<const journal::Frame> frames);
  void put_aside(Batch& batch, Slot& slot, std::string_view reason);
  Result<bool> wrap_key(Slot& slot);
  Result<void> wrap_frame_keys(Batch& batch);
  Task<Result<void>> settle_repeats(pg::Transaction& transaction, Batch& batch, Deadline deadline);
  Task<Result<void>> add_pending(pg::Transaction& transaction, Batch& batch, Deadline deadline);
  Task<Result<void>> check_keys(pg::Transaction& transaction, const Batch& batch, Deadline deadline);
  Task<Result<void>> finish(pg::Transaction& transaction, Batch& batch, tlog::TileBuilder& tree, Origin origin,
                            Deadline deadline);
  Task<Result<SinkOutcome>> append_batch(pg::Transaction& transaction, Origin origin,
                                         std::span<const journal::Frame> frames, Deadline deadline);
  Task<Result<std::uint64_t>> append_pending_batch(pg::Transaction& transaction, Origin origin, Deadline deadline);
  Result<SinkOutcome> without_partition_errors(Result<SinkOutcome> outcome);
};

Sequencer::Sequencer(std::shared_ptr<const AuditKeys> keys, std::shared_ptr<GrowthPermit> permit,
                     SequencerOptions options, const Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(keys), std::move(permit), options, clock)) {}
Sequencer::~Sequencer() = default;

void Sequencer::Impl::forget() {
  months.clear();
  entries_until = 0;
  partitions.clear();
  subjects.forget();
}

// ---- prepare

Task<Result<void>> Sequencer::prepare(store::Database& database, std::span<const journal::Frame> frames,
                                      Deadline deadline) {
  auto& impl = *impl_;
  const WallTime now = impl.clock.wall();
  std::set<Month> months;
  std::vector<SubjectKeys::Name> names;
  const auto note = [&](const Draft& draft) {
    months.insert(content_month(draft.record.retention, draft.event.time));
    if (!draft.record.groups.empty()) names.push_back(key_name(draft));
  };
  for (const journal::Frame& frame : frames) {
    // What cannot be read here cannot in append() either, which puts a marker there.
    if (const auto draft = draft_of(frame)) note(*draft);
  }
  CITADEL_CO_ASSIGN(const auto pending, co_await read_pending(database, impl.options.pending_max, deadline));
  for (const PendingRow& row : pending) note(draft_of(row, {}, now, impl.keys->journal.front()));
  // Of markers. The day after belongs to a batch that lasts over the end of a month.
  for (const Retention retention : marker_retentions) {
    months.insert(content_month(retention, now));
    months.insert(content_month(retention, now + std::chrono::hours(24)));
  }
  CITADEL_CO_TRY(co_await impl.make_months(database, std::move(months), deadline));
  CITADEL_CO_TRY(co_await impl.make_entry_partitions(database, frames.size() + impl.options.pending_max, deadline));
  co_return co_await impl.subjects.ensure(database, std::move(names), deadline);
}

Task<Result<void>> Sequencer::Impl::make_months(store::Database& database, std::set<Month> wanted,
                                                Deadline deadline) {
  if (months.size() > months_remembered_max) months.clear();
  std::erase_if(wanted, [&](const Month& month) { return months.contains(month); });
  const std::vector<Month> all(wanted.begin(), wanted.end());
  for (std::size_t from = 0; from < all.size(); from += months_a_call) {
    const auto some = std::span(all).subspan(from, std::min(months_a_call, all.size() - from));
    std::vector<std::int16_t> retentions;
    std::vector<std::string> dates;
    for (const auto& [retention, day] : some) {
      retentions.push_back(static_cast<std::int16_t>(retention));
      dates.push_back(format_time(WallTime(day)).substr(0, 10));
    }
    CITADEL_CO_TRY(co_await database.transact<bool>(
        deadline, store::Intent::write, {.name = "audit event partitions"},
        [&](pg::Transaction& transaction) -> Task<Result<bool>> {
          CITADEL_CO_TRY(co_await transaction.execute(ensure_months, pg::Params(retentions, dates), deadline));
          co_return true;
        }));
    months.insert(some.begin(), some.end());
  }
  co_return Result<void>();
}

Task<Result<void>> Sequencer::Impl::make_entry_partitions(store::Database& database, std::size_t entries,
                                                          Deadline deadline) {
  if (size_seen + entries + entry_partition_width / 4 < entries_until) co_return Result<void>();
  CITADEL_CO_ASSIGN(
      const pg::Rows rows,
      co_await database.transact<pg::Rows>(
          deadline, store::Intent::write, {.name = "audit entry partitions"},
          [&](pg::Transaction& transaction) -> Task<Result<pg::Rows>> {
            CITADEL_CO_TRY(co_await transaction.execute(
                ensure_entries, pg::Params(static_cast<std::int64_t>(entries)), deadline));
            co_return co_await transaction.execute(select_partitions, {}, deadline);
          }));
  partitions.clear();
  for (const pg::Row row : rows)
    partitions[static_cast<std::uint64_t>(row.get<std::int64_t>(0))] = row.get<WallTime>(1);
  entries_until = partitions.empty() ? 0 : partitions.rbegin()->first + entry_partition_width;
  co_return Result<void>();
}

// No entry before it was appended at `time` or later: a partition is made when the one before it is half
// full, so where the next but one was there before `time`, this one was full.
std::uint64_t Sequencer::Impl::first_index_since(WallTime time) const {
  std::uint64_t first = 0;
  for (const auto& [index, made_at] : partitions) {
    if (made_at >= time) break;
    first = index < 2 * entry_partition_width ? 0 : index - 2 * entry_partition_width;
  }
  return first;
}

// ---- append

Task<Result<Batch>> Sequencer::Impl::begin(pg::Transaction& transaction, tlog::TileBuilder& tree,
                                           Deadline deadline) {
  Batch batch;
  CITADEL_CO_ASSIGN(batch.head, co_await lock_head(transaction, deadline));
  CITADEL_CO_TRY(permit->check(batch.head));
  CITADEL_CO_ASSIGN(const auto edge,
                    co_await read_tiles(transaction, tlog::tiles_for_root(batch.head.size), deadline));
  auto resumed = tlog::TileBuilder::resume(batch.head.size, batch.head.root, edge);
  if (!resumed) {
    co_return fail(resumed.error().code,
                   fmt::format("the audit log's tiles do not give the root that its head has: somebody changed audit.tile "
                               "or audit.head, and nothing is appended until that is mended ({})",
                               resumed.error().message));
  }
  tree = *std::move(resumed);
  size_seen = std::max(size_seen, batch.head.size);
  co_return batch;
}

// Leaves a marker in the place of a frame that cannot be stored, and keeps its bytes.
void Sequencer::Impl::put_aside(Batch& batch, Slot& slot, std::string_view reason) {
  const SourcePosition source = slot.draft.source;
  log::error("audit", "a record of the audit journal cannot be read; it is kept in citadel.dead_letter",
             {{"epoch", source.epoch}, {"sequence", source.sequence}, {"reason", reason}});
  batch.letters.push_back({slot.frame, std::string(reason)});
  slot.draft = undecodable(*slot.frame, source, reason, clock.wall(), keys->journal.front());
  ++batch.outcome.undecodable;
}

void Sequencer::Impl::add_frames(Batch& batch, Origin origin, std::span<const journal::Frame> frames) {
  for (const journal::Frame& frame : frames) {
    auto draft = draft_of(frame);
    Slot& slot = batch.slots.emplace_back(Slot{.frame = &frame});
    if (draft) slot.draft = *std::move(draft);
    slot.draft.source = {origin.producer, origin.epoch, frame.position.sequence};
    if (!draft) put_aside(batch, slot, draft.error().message);
  }
}

// The data key under the subject's. False where no journal key that is known opens it.
Result<bool> Sequencer::Impl::wrap_key(Slot& slot) {
  const Record& record = slot.draft.record;
  if (record.groups.empty()) return true;
  slot.key = subjects.find(key_name(slot.draft));
  if (!slot.key) return not_prepared("a subject's key is not at hand");
  for (const auto& key : keys->journal) {
    auto wrapped = rewrap_key(record.wrapped_key, key, *slot.key->key, record.id);
    if (!wrapped) continue;
    slot.wrapped_key = *std::move(wrapped);
    return true;
  }
  return false;
}

// An event whose key does not open stands aside; but where none has ever opened, the daemon's own master key
// is the likelier fault.
Result<void> Sequencer::Impl::wrap_frame_keys(Batch& batch) {
  std::vector<Slot*> unopened;
  for (Slot& slot : batch.slots) {
    CITADEL_ASSIGN(const bool wrapped, wrap_key(slot));
    if (!wrapped) unopened.push_back(&slot);
    if (wrapped && !slot.draft.record.groups.empty()) key_proven = true;
  }
  if (!unopened.empty() && !key_proven) {
    return fail(Code::corrupt,
                "the records of the audit journal were encrypted under another master key: give the daemon the key "
                "that it had when it took them");
  }
  for (Slot* slot : unopened) put_aside(batch, *slot, "its data key does not open");
  return {};
}

Task<Result<void>> Sequencer::Impl::settle_repeats(pg::Transaction& transaction, Batch& batch,
                                                   Deadline deadline) {
  std::vector<Uuid> ids;
  WallTime earliest = WallTime::max();
  for (const Slot& slot : batch.slots) {
    ids.push_back(slot.draft.event.id);
    earliest = std::min(earliest, WallTime(slot.draft.event.id.time()));
  }
  if (ids.empty()) co_return Result<void>();
  const auto first = first_index_since(earliest - options.id_future_max - skew_max);
  CITADEL_CO_ASSIGN(const auto stored, co_await read_stored(transaction, ids, first, *keys, deadline));
  CITADEL_CO_TRY(mark_repeats(batch, stored, *keys, clock.wall()));
  batch.outcome.stored = batch.slots.size() - batch.outcome.repeated - batch.outcome.conflicting -
                         batch.outcome.undecodable;
  if (!batch.conflicts.empty()) {
    log::warning("audit", "events came with ids that other events have; they are kept in audit.conflict",
                 {{"count", batch.conflicts.size()}, {"first_id", batch.conflicts.front().id}});
  }
  co_return Result<void>();
}

// As far as prepare() has made what they need; the rest has its turn in the next batch.
Task<Result<void>> Sequencer::Impl::add_pending(pg::Transaction& transaction, Batch& batch, Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto pending, co_await read_pending(transaction, options.pending_max, deadline));
  for (const PendingRow& row : pending) {
    const SourcePosition source{batch.head.pending_producer, 1,
                                batch.head.pending_sequence + batch.pending_numbers.size() + 1};
    Draft draft = draft_of(row, source, clock.wall(), keys->journal.front());
    Slot slot{.draft = std::move(draft)};
    if (!wrap_key(slot) || !months.contains(content_month(slot.draft.record.retention, row.at))) break;
    batch.pending_numbers.push_back(row.number);
    batch.slots.push_back(std::move(slot));
  }
  co_return Result<void>();
}

// Under the log's lock, which an erasure takes too: a key that is alive here is so until the commit.
Task<Result<void>> Sequencer::Impl::check_keys(pg::Transaction& transaction, const Batch& batch,
                                               Deadline deadline) {
  std::vector<std::int64_t> used;
  for (const Slot& slot : batch.slots) {
    if (!slot.draft.record.groups.empty()) used.push_back(slot.key->id);
  }
  CITADEL_CO_ASSIGN(const bool alive, co_await subjects.all_alive(transaction, std::move(used), deadline));
  if (!alive) co_return not_prepared("a subject's key was destroyed meanwhile");
  co_return Result<void>();
}

Task<Result<void>> Sequencer::Impl::finish(pg::Transaction& transaction, Batch& batch, tlog::TileBuilder& tree,
                                           Origin origin, Deadline deadline) {
  if (batch.size_after() > entries_until) {
    entries_until = 0;
    co_return not_prepared("the log has grown past its partitions");
  }
  for (Slot& slot : batch.slots) {
    const Draft& draft = slot.draft;
    if (!months.contains(content_month(draft.record.retention, draft.event.time)))
      co_return not_prepared("a month has no partition");
    slot.leaf = encode_leaf(draft.record.leaf(draft.source.producer, draft.source.epoch, draft.source.sequence,
                                              draft.event.time));
    tree.append(tlog::leaf_hash(as_bytes(slot.leaf)));
  }
  CITADEL_CO_TRY(co_await write_rows(transaction, batch, deadline));
  CITADEL_CO_TRY(co_await write_tiles(transaction, tree.take_changed(), deadline));
  LogHead head = batch.head;
  if (head.producer != origin.producer || head.epoch != origin.epoch) ++head.fence;
  head.size = tree.size();
  head.root = tree.root();
  head.producer = origin.producer;
  head.epoch = origin.epoch;
  head.pending_sequence += batch.pending_numbers.size();
  co_return co_await write_head(transaction, head, deadline);
}

Task<Result<SinkOutcome>> Sequencer::Impl::append_batch(pg::Transaction& transaction, Origin origin,
                                                        std::span<const journal::Frame> frames,
                                                        Deadline deadline) {
  tlog::TileBuilder tree;
  CITADEL_CO_ASSIGN(Batch batch, co_await begin(transaction, tree, deadline));
  add_frames(batch, origin, frames);
  CITADEL_CO_TRY(wrap_frame_keys(batch));
  CITADEL_CO_TRY(co_await settle_repeats(transaction, batch, deadline));
  CITADEL_CO_TRY(co_await add_pending(transaction, batch, deadline));
  if (batch.slots.empty()) co_return batch.outcome;
  CITADEL_CO_TRY(co_await check_keys(transaction, batch, deadline));
  CITADEL_CO_TRY(co_await finish(transaction, batch, tree, origin, deadline));
  co_return batch.outcome;
}

// 23514: no partition for the row. The drain would take it for a fault of the record; but it means that the
// database has lost what we remember, or that an operator has detached it.
Result<SinkOutcome> Sequencer::Impl::without_partition_errors(Result<SinkOutcome> outcome) {
  if (outcome || std::string_view(outcome.error().sqlstate) != "23514") return outcome;
  log::warning("audit", "the database has lost partitions that were there; they are made anew",
               {{"error", outcome.error()}});
  forget();
  return not_prepared("a partition that was there is gone");
}

Task<Result<SinkOutcome>> Sequencer::append(pg::Transaction& transaction, Origin origin,
                                            std::span<const journal::Frame> frames, Deadline deadline) {
  co_return impl_->without_partition_errors(
      co_await impl_->append_batch(transaction, origin, frames, deadline));
}

Task<Result<void>> Sequencer::append_refused(pg::Transaction& transaction, Origin origin,
                                             const journal::Frame& frame, const Error& reason,
                                             Deadline deadline) {
  auto& impl = *impl_;
  tlog::TileBuilder tree;
  CITADEL_CO_ASSIGN(Batch batch, co_await impl.begin(transaction, tree, deadline));
  const SourcePosition source{origin.producer, origin.epoch, frame.position.sequence};
  // PostgreSQL's own words may hold values of the record, so only its code stands in the log.
  const auto what = fmt::format("PostgreSQL refuses it with SQLSTATE {}", std::string_view(reason.sqlstate));
  batch.slots.push_back(
      {.draft = undecodable(frame, source, what, impl.clock.wall(), impl.keys->journal.front())});
  co_return co_await impl.finish(transaction, batch, tree, origin, deadline);
}

Task<Result<std::uint64_t>> Sequencer::Impl::append_pending_batch(pg::Transaction& transaction, Origin origin,
                                                                 Deadline deadline) {
  tlog::TileBuilder tree;
  CITADEL_CO_ASSIGN(Batch batch, co_await begin(transaction, tree, deadline));
  CITADEL_CO_TRY(co_await add_pending(transaction, batch, deadline));
  if (batch.slots.empty()) co_return 0;
  CITADEL_CO_TRY(co_await check_keys(transaction, batch, deadline));
  CITADEL_CO_TRY(co_await finish(transaction, batch, tree, origin, deadline));
  co_return batch.slots.size();
}

Task<Result<std::uint64_t>> Sequencer::append_pending(store::Database& database, Origin origin,
                                                      Deadline deadline) {
  std::uint64_t taken = 0;
  for (;;) {
    CITADEL_CO_ASSIGN(const auto waiting, co_await read_pending(database, 1, deadline));
    if (waiting.empty()) co_return taken;
    CITADEL_CO_TRY(co_await prepare(database, {}, deadline));
    CITADEL_CO_ASSIGN(const auto size,
                      co_await database.transact<std::uint64_t>(
                          deadline, store::Intent::write, {.name = "audit pending"},
                          [&](pg::Transaction& transaction) {
                            return impl_->append_pending_batch(transaction, origin, deadline);
                          }));
    // Another daemon took them, or they need what a later prepare() makes.
    if (size == 0) co_return taken;
    taken += size;
  }
}

}  // namespace citadel::audit
