// Batch: what one transaction appends to the log, as far as it can be known without the database. Pure.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audit/audit_keys.hpp"
#include "audit/draft.hpp"
#include "audit/log_head.hpp"
#include "drain/sink.hpp"

namespace citadel::audit {

// An event of the log, as far as another with its id has to be compared with it.
struct StoredEvent {
  std::uint64_t index = 0;
  std::optional<Event> event = {};  // with its groups; nothing where they were erased or pruned
};
using StoredEvents = std::map<Uuid, StoredEvent>;

struct Slot {
  Draft draft = {};
  const journal::Frame* frame = nullptr;  // none: it is from audit.pending
  std::optional<SubjectKey> key = {};     // where it has groups
  std::string wrapped_key = {};           // the data key under `key`
  std::string leaf = {};
};

struct Conflict {
  std::size_t slot = 0;  // the marker's
  Uuid id;               // that was taken
  WallTime received_at;
  std::string tenant, subject;
  Retention retention = Retention::extended;
  const journal::Frame* frame = nullptr;
};

struct Letter {
  const journal::Frame* frame = nullptr;
  std::string reason = {};
};

struct Batch {
  LogHead head;  // before the batch
  std::vector<Slot> slots;
  std::vector<Conflict> conflicts;
  std::vector<Letter> letters;
  std::vector<std::int64_t> pending_numbers;
  drain::SinkOutcome outcome;

  std::uint64_t index_of(std::size_t slot) const { return head.size + slot; }
  std::uint64_t size_after() const { return head.size + slots.size(); }
};

// A frame that cannot be read or stored, as the entry in its place.
Draft undecodable(const journal::Frame& frame, const SourcePosition& source, std::string_view reason,
                  WallTime now, const crypto::AesGcmKey& journal_key);

// The same but for when it was received: a retry of the same event.
bool is_same_event(const Event& left, const Event& right);

// The draft's event with its groups opened by one of the keys; corrupt where none is right.
Result<Event> open_draft(const Draft& draft, std::span<const crypto::AesGcmKey> journal_keys);

// Puts markers in the place of events whose id is in `stored`, or earlier in the batch. corrupt where a group
// does not open.
Result<void> mark_repeats(Batch& batch, const StoredEvents& stored, const AuditKeys& keys, WallTime now);

}  // namespace citadel::audit
