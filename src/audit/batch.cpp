#include "audit/batch.hpp"

#include <fmt/format.h>

#include "audit/journal_range.hpp"

namespace citadel::audit {
namespace {

void mark(Batch& batch, std::size_t slot, std::string_view action, std::string reason, const AuditKeys& keys,
          WallTime now) {
  Draft& draft = batch.slots[slot].draft;
  draft = draft_of(Marker{.action = action,
                          .tenant = draft.event.tenant,
                          .object = {"audit_event", draft.event.id.to_string()},
                          .reason = std::move(reason)},
                   draft.source, now, keys.journal.front());
}

void mark_conflict(Batch& batch, std::size_t slot, std::uint64_t index, const AuditKeys& keys, WallTime now) {
  const Event& event = batch.slots[slot].draft.event;
  batch.conflicts.push_back({.slot = slot,
                             .id = event.id,
                             .received_at = event.received_at,
                             .tenant = event.tenant,
                             .subject = event.subject,
                             .retention = batch.slots[slot].draft.record.retention,
                             .frame = batch.slots[slot].frame});
  mark(batch, slot, id_conflict_action,
       fmt::format("an event with this id and other content is entry {}; this one is kept in audit.conflict",
                   index),
       keys, now);
  ++batch.outcome.conflicting;
}

void mark_repeat(Batch& batch, std::size_t slot, std::uint64_t index, const AuditKeys& keys, WallTime now) {
  mark(batch, slot, repeat_action, fmt::format("the same event came again; it is entry {}", index), keys,
       now);
  ++batch.outcome.repeated;
}

}  // namespace

Draft undecodable(const journal::Frame& frame, const SourcePosition& source, std::string_view reason,
                  WallTime now, const crypto::AesGcmKey& journal_key) {
  const JournalRange range{source.producer, source.epoch, source.sequence, source.sequence};
  return draft_of(Marker{.action = undecodable_action,
                         .tenant = "default",
                         .object = {std::string(journal_range_type), to_string(range)},
                         .reason = fmt::format("the record {} is kept in citadel.dead_letter: {}",
                                               frame.id.to_string(), reason)},
                  source, now, journal_key);
}

bool is_same_event(const Event& left, const Event& right) {
  Event copy = left;
  copy.received_at = right.received_at;
  return copy == right;
}

Result<Event> open_draft(const Draft& draft, std::span<const crypto::AesGcmKey> journal_keys) {
  Event event = draft.event;
  for (const SealedGroup& sealed : draft.record.groups) {
    Result<OpenedGroup> opened = fail(Code::corrupt, "there is no key");
    for (const auto& key : journal_keys) {
      opened = open_group(draft.record.id, sealed.group, sealed.ciphertext, draft.record.wrapped_key, key);
      if (opened) break;
    }
    if (!opened) return std::unexpected(std::move(opened).error());
    event.group(sealed.group) = std::move(opened->bytes);
  }
  return event;
}

Result<void> mark_repeats(Batch& batch, const StoredEvents& stored, const AuditKeys& keys, WallTime now) {
  std::map<Uuid, std::size_t> first;
  for (std::size_t i = 0; i < batch.slots.size(); ++i) {
    const Slot& slot = batch.slots[i];
    if (slot.frame == nullptr || slot.draft.event.action == undecodable_action) continue;
    const Uuid id = slot.draft.event.id;
    if (const auto at = stored.find(id); at != stored.end()) {
      CITADEL_ASSIGN(const Event event, open_draft(slot.draft, keys.journal));
      // What was erased cannot be compared; to drop this one for it might lose it.
      const bool same = at->second.event && is_same_event(event, *at->second.event);
      (same ? mark_repeat : mark_conflict)(batch, i, at->second.index, keys, now);
      continue;
    }
    const auto [at, is_first] = first.emplace(id, i);
    if (is_first) continue;
    CITADEL_ASSIGN(const Event event, open_draft(slot.draft, keys.journal));
    CITADEL_ASSIGN(const Event earlier, open_draft(batch.slots[at->second].draft, keys.journal));
    (is_same_event(event, earlier) ? mark_repeat : mark_conflict)(batch, i, batch.index_of(at->second), keys,
                                                                  now);
  }
  return {};
}

}  // namespace citadel::audit
