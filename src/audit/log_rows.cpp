#include "audit/log_rows.hpp"

#include <fmt/format.h>

#include <functional>

#include "pg/copy_writer.hpp"

namespace citadel::audit {
namespace {

constexpr std::size_t copy_chunk_bytes = 256 << 10;

constexpr std::string_view copy_entries =
    "COPY audit.entry (idx, epoch, sequence, time, received_at, id, producer, retention, leaf) "
    "FROM STDIN (FORMAT binary)";
constexpr std::string_view copy_events =
    "COPY audit.event (idx, time, received_at, id, retention, class, severity, outcome, trace_id, tenant, "
    "actor_type, "
    "actor, action, object_type, object, request_id, subject, reason, salt, envelope) FROM STDIN (FORMAT "
    "binary)";
constexpr std::string_view copy_sealed =
    "COPY audit.sealed (idx, time, key_id, retention, grp, wrapped_key, ciphertext) FROM STDIN (FORMAT "
    "binary)";

constexpr pg::Statement insert_conflicts{
    "audit conflicts",
    "insert into audit.conflict (idx, received_at, id, tenant, subject, record, retention) "
    "select * from unnest($1::int8[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::bytea[], "
    "$7::int2[])"};
constexpr pg::Statement insert_letters{
    "audit dead letters",
    "insert into citadel.dead_letter (producer, epoch, sequence, id, kind, reason, payload) "
    "select $1, $2, * from unnest($3::int8[], $4::uuid[], $5::int2[], $6::text[], $7::bytea[]) "
    "on conflict do nothing"};
constexpr pg::Statement delete_pending{"audit pending done",
                                       "delete from audit.pending where number = any($1)"};
constexpr pg::Statement upsert_tiles{"audit tiles write",
                                     "insert into audit.tile as t (level, idx, hashes) select * from "
                                     "unnest($1::int2[], $2::int8[], $3::bytea[]) "
                                     "on conflict (level, idx) do update set hashes = excluded.hashes"};
constexpr pg::Statement update_head{"audit head write",
                                    "update audit.head set size = $1, root = $2, fence = $3, producer = $4, "
                                    "epoch = $5, pending_sequence = $6, "
                                    "updated_at = clock_timestamp()"};

constexpr pg::Statement select_pending{"audit pending",
                                       "select number, at, id, action, object_type, object, tenant, subject, "
                                       "session_role, actor, request_id, address, "
                                       "reason, details::text from audit.pending order by number limit $1"};

// The rows of one table, in chunks; `write_row` writes the i-th.
Task<Result<void>> copy_rows(pg::Transaction& transaction, std::string_view sql, std::size_t count,
                             std::function<void(pg::CopyWriter&, std::size_t)> write_row, Deadline deadline) {
  if (count == 0) co_return Result<void>();
  pg::CopyWriter writer;
  std::size_t next = 0;
  bool ended = false;
  const auto next_chunk = [&]() -> Result<std::string_view> {
    // Not before the first chunk: the stream's header is in it.
    if (next > 0) writer.clear();
    if (ended) return std::string_view();
    while (next < count && writer.size_bytes() < copy_chunk_bytes) write_row(writer, next++);
    if (next == count) {
      writer.finish();
      ended = true;
    }
    return writer.view();
  };
  CITADEL_CO_ASSIGN(const auto copied, co_await transaction.connection().copy_in(sql, deadline, next_chunk));
  if (copied != static_cast<std::int64_t>(count))
    co_return fail(Code::internal, fmt::format("COPY took {} of {} rows", copied, count));
  co_return Result<void>();
}

std::optional<std::string_view> text_or_null(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

std::optional<Uuid> trace_of(const std::string& digits) {
  const auto raw = from_hex(digits);
  Uuid id;
  if (!raw || raw->size() != id.bytes.size()) return std::nullopt;
  std::memcpy(id.bytes.data(), raw->data(), raw->size());
  return id;
}

void write_entry(pg::CopyWriter& out, const Batch& batch, std::size_t i) {
  const auto& [source, record, event, severity] = batch.slots[i].draft;
  out.row(static_cast<std::int64_t>(batch.index_of(i)), static_cast<std::int64_t>(source.epoch),
          static_cast<std::int64_t>(source.sequence), event.time, event.received_at, record.id,
          source.producer, static_cast<std::int16_t>(record.retention), as_bytes(batch.slots[i].leaf));
}

void write_event(pg::CopyWriter& out, const Batch& batch, std::size_t i) {
  const auto& [source, record, event, severity] = batch.slots[i].draft;
  out.row(static_cast<std::int64_t>(batch.index_of(i)), event.time, event.received_at, record.id,
          static_cast<std::int16_t>(record.retention), static_cast<std::int16_t>(record.action_class),
          static_cast<std::int16_t>(severity), static_cast<std::int16_t>(event.outcome),
          trace_of(event.trace_id), event.tenant, event.actor.type, event.actor.id, event.action,
          event.object.type, event.object.id, text_or_null(event.request_id), event.subject, event.reason,
          Bytes(record.envelope_salt), as_bytes(record.envelope));
}

Task<Result<void>> write_sealed(pg::Transaction& transaction, const Batch& batch, Deadline deadline) {
  std::vector<std::pair<std::size_t, const SealedGroup*>> groups;
  for (std::size_t i = 0; i < batch.slots.size(); ++i) {
    for (const SealedGroup& group : batch.slots[i].draft.record.groups) groups.emplace_back(i, &group);
  }
  return copy_rows(
      transaction, copy_sealed, groups.size(),
      [&batch, groups](pg::CopyWriter& out, std::size_t at) {
        const auto& [i, group] = groups[at];
        const Slot& slot = batch.slots[i];
        out.row(static_cast<std::int64_t>(batch.index_of(i)), slot.draft.event.time, slot.key->id,
                static_cast<std::int16_t>(slot.draft.record.retention),
                static_cast<std::int16_t>(group->group), as_bytes(slot.wrapped_key),
                as_bytes(group->ciphertext));
      },
      deadline);
}

Task<Result<void>> write_conflicts(pg::Transaction& transaction, const Batch& batch, Deadline deadline) {
  if (batch.conflicts.empty()) co_return Result<void>();
  std::vector<std::int64_t> indexes;
  std::vector<WallTime> times;
  std::vector<Uuid> ids;
  std::vector<std::string_view> tenants, subjects;
  std::vector<Bytes> records;
  std::vector<std::int16_t> retentions;
  for (const Conflict& conflict : batch.conflicts) {
    indexes.push_back(static_cast<std::int64_t>(batch.index_of(conflict.slot)));
    times.push_back(conflict.received_at);
    ids.push_back(conflict.id);
    tenants.push_back(conflict.tenant);
    subjects.push_back(conflict.subject);
    records.push_back(as_bytes(conflict.frame->payload));
    retentions.push_back(static_cast<std::int16_t>(conflict.retention));
  }
  CITADEL_CO_TRY(co_await transaction.execute(
      insert_conflicts, pg::Params(indexes, times, ids, tenants, subjects, records, retentions), deadline));
  co_return Result<void>();
}

Task<Result<void>> write_letters(pg::Transaction& transaction, const Batch& batch, Deadline deadline) {
  if (batch.letters.empty()) co_return Result<void>();
  std::vector<std::int64_t> sequences;
  std::vector<Uuid> ids;
  std::vector<std::int16_t> kinds;
  std::vector<std::string_view> reasons;
  std::vector<Bytes> payloads;
  for (const Letter& letter : batch.letters) {
    sequences.push_back(static_cast<std::int64_t>(letter.frame->position.sequence));
    ids.push_back(letter.frame->id);
    kinds.push_back(static_cast<std::int16_t>(letter.frame->kind));
    reasons.push_back(letter.reason);
    payloads.push_back(as_bytes(letter.frame->payload));
  }
  const SourcePosition& source = batch.slots.front().draft.source;
  CITADEL_CO_TRY(
      co_await transaction.execute(insert_letters,
                                   pg::Params(source.producer, static_cast<std::int64_t>(source.epoch),
                                              sequences, ids, kinds, reasons, payloads),
                                   deadline));
  co_return Result<void>();
}

std::vector<PendingRow> pending_of(const pg::Rows& rows) {
  std::vector<PendingRow> pending;
  for (const pg::Row row : rows) {
    const auto text = [&](int column) { return row.get<std::string>(column); };
    pending.push_back({.number = row.get<std::int64_t>(0),
                       .at = row.get<WallTime>(1),
                       .id = row.get<Uuid>(2),
                       .action = text(3),
                       .object_type = text(4),
                       .object = text(5),
                       .tenant = text(6),
                       .subject = text(7),
                       .session_role = text(8),
                       .actor = text(9),
                       .request_id = text(10),
                       .address = text(11),
                       .reason = text(12),
                       .details = row.get<std::optional<std::string>>(13)});
  }
  return pending;
}

// Opens the stored groups into the events that they belong to. A subject's key that is gone leaves an event
// that cannot be compared.
Result<void> open_stored(const pg::Rows& rows, StoredEvents& stored, const AuditKeys& keys) {
  for (const pg::Row row : rows) {
    auto& found = stored[row.get<Uuid>(0)];
    if (!found.event) continue;
    const auto group = static_cast<Group>(row.get<std::int16_t>(1));
    if (row.get<Bytes>(6).empty()) {
      found.event.reset();
      continue;
    }
    CITADEL_ASSIGN(const auto key, unwrap_subject_key(keys, row.get<std::string_view>(4),
                                                      row.get<std::string_view>(5), row.get<Bytes>(6)));
    CITADEL_ASSIGN(auto opened, open_group(found.event->id, group, as_text(row.get<Bytes>(3)),
                                           as_text(row.get<Bytes>(2)), key));
    found.event->group(group) = std::move(opened.bytes);
  }
  return {};
}

}  // namespace

Task<Result<StoredEvents>> read_stored(pg::Transaction& transaction, const std::vector<Uuid>& ids,
                                       std::uint64_t first_index, const AuditKeys& keys, Deadline deadline) {
  StoredEvents stored;
  if (ids.empty()) co_return stored;
  // The bound stands in the text, so that no plan opens partitions before it.
  const std::string where = fmt::format(" where e.id = any($1) and e.idx >= {}", first_index);
  const std::string find_sql = "select e.id, e.idx from audit.entry e" + where;
  const pg::Statement find{"audit repeats", find_sql};
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(find, pg::Params(ids), deadline));
  if (rows.empty()) co_return stored;
  std::vector<Uuid> found;
  for (const pg::Row row : rows) {
    found.push_back(row.get<Uuid>(0));
    stored[found.back()].index = static_cast<std::uint64_t>(row.get<std::int64_t>(1));
  }
  const auto content_of = [](std::string_view table) {  // by its primary key, as in rows_by_key_sql
    return fmt::format(
        "audit.entry e cross join lateral (select * from {} where time = e.time and idx = e.idx and "
        "retention = "
        "e.retention offset 0) c",
        table);
  };
  const std::string content_sql =
      fmt::format("select e.id, c.envelope from {}{}", content_of("audit.event"), where);
  const pg::Statement content{"audit repeats content", content_sql};
  CITADEL_CO_ASSIGN(const pg::Rows events,
                    co_await transaction.execute(content, pg::Params(found), deadline));
  for (const pg::Row row : events) {
    CITADEL_CO_ASSIGN(stored[row.get<Uuid>(0)].event, decode_envelope(row.get<Bytes>(1)));
  }
  const std::string groups_sql = fmt::format(
      "select e.id, c.grp, c.wrapped_key, c.ciphertext, k.tenant, k.subject, k.wrapped_key from {} "
      "join audit.subject_key k on k.id = c.key_id{}",
      content_of("audit.sealed"), where);
  const pg::Statement groups{"audit repeats groups", groups_sql};
  CITADEL_CO_ASSIGN(const pg::Rows sealed, co_await transaction.execute(groups, pg::Params(found), deadline));
  CITADEL_CO_TRY(open_stored(sealed, stored, keys));
  co_return stored;
}

Task<Result<std::vector<PendingRow>>> read_pending(pg::Transaction& transaction, std::size_t count_max,
                                                   Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await transaction.execute(select_pending,
                                                 pg::Params(static_cast<std::int64_t>(count_max)), deadline));
  co_return pending_of(rows);
}

Task<Result<std::vector<PendingRow>>> read_pending(store::Database& database, std::size_t count_max,
                                                   Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read_your_writes, select_pending,
                                            pg::Params(static_cast<std::int64_t>(count_max))));
  co_return pending_of(rows);
}

Task<Result<void>> write_rows(pg::Transaction& transaction, const Batch& batch, Deadline deadline) {
  const std::size_t count = batch.slots.size();
  CITADEL_CO_TRY(co_await copy_rows(
      transaction, copy_entries, count,
      [&](pg::CopyWriter& out, std::size_t i) { write_entry(out, batch, i); }, deadline));
  CITADEL_CO_TRY(co_await copy_rows(
      transaction, copy_events, count,
      [&](pg::CopyWriter& out, std::size_t i) { write_event(out, batch, i); }, deadline));
  CITADEL_CO_TRY(co_await write_sealed(transaction, batch, deadline));
  CITADEL_CO_TRY(co_await write_conflicts(transaction, batch, deadline));
  CITADEL_CO_TRY(co_await write_letters(transaction, batch, deadline));
  if (batch.pending_numbers.empty()) co_return Result<void>();
  CITADEL_CO_ASSIGN(const pg::Rows gone, co_await transaction.execute(
                                             delete_pending, pg::Params(batch.pending_numbers), deadline));
  if (gone.affected() != static_cast<std::int64_t>(batch.pending_numbers.size()))
    co_return fail(Code::internal, "rows of audit.pending went while the log was locked");
  co_return Result<void>();
}

Task<Result<void>> write_tiles(pg::Transaction& transaction, std::span<const tlog::Tile> tiles,
                               Deadline deadline) {
  std::vector<std::int16_t> levels;
  std::vector<std::int64_t> indexes;
  std::vector<Bytes> hashes;
  for (const tlog::Tile& tile : tiles) {
    levels.push_back(tile.id.level);
    indexes.push_back(static_cast<std::int64_t>(tile.id.index));
    hashes.push_back(as_bytes(tile.hashes));
  }
  CITADEL_CO_TRY(co_await transaction.execute(upsert_tiles, pg::Params(levels, indexes, hashes), deadline));
  co_return Result<void>();
}

Task<Result<void>> write_head(pg::Transaction& transaction, const LogHead& head, Deadline deadline) {
  const pg::Params params(
      static_cast<std::int64_t>(head.size), Bytes(head.root), static_cast<std::int64_t>(head.fence),
      head.producer, static_cast<std::int64_t>(head.epoch), static_cast<std::int64_t>(head.pending_sequence));
  CITADEL_CO_TRY(co_await transaction.execute(update_head, params, deadline));
  co_return Result<void>();
}

}  // namespace citadel::audit
