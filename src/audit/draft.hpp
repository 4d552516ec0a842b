// Draft: an entry that has everything but its index, and the ways it comes to be: from a frame of the audit
// journal, from a row of audit.pending, or as a marker that stands in the log in a frame's place.
//
// Each frame becomes exactly one entry, so that a producer's sequence has no gap in the log. A frame that is
// not stored as an event of its own has a marker at its place:
//   audit.repeat       the same event came again; object {"audit_event", its id}
//   audit.id_conflict  the id is taken by other content; object the same; the content is in audit.conflict
//   audit.undecodable  the frame cannot be read or stored; object {"journal_range", …}; the bytes are in
//                      citadel.dead_letter
// Pure but for the randomness of sealing; thread-safe.
#pragma once
#include <optional>
#include <string>

#include "audit/event.hpp"
#include "audit/record_codec.hpp"
#include "journal/journal.hpp"

namespace citadel::audit {

inline constexpr std::string_view repeat_action = "audit.repeat";
inline constexpr std::string_view id_conflict_action = "audit.id_conflict";
inline constexpr std::string_view undecodable_action = "audit.undecodable";
// Markers are of these classes; the sink has partitions of them ready.
inline constexpr std::array marker_retentions = {Retention::short_, Retention::standard, Retention::extended};

// The place of a frame, or of an entry from audit.pending, among its producer's.
struct SourcePosition {
  Uuid producer;
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
};

struct Draft {
  SourcePosition source = {};
  Record record = {};
  Event event = {};  // what the envelope says, without groups
  Severity severity = Severity::info;
};

// The producer is the caller's to set. corrupt or unsupported where the payload cannot be read.
Result<Draft> draft_of(const journal::Frame& frame);

struct Marker {
  std::string_view action;  // in the catalogue
  std::string tenant;
  Object object;
  std::string reason;
};
// Its id is made of the source's place and `now`. Texts are cut and cleaned to what an event may hold.
Draft draft_of(const Marker& marker, const SourcePosition& source, WallTime now,
               const crypto::AesGcmKey& journal_key);

// A row of audit.pending.
struct PendingRow {
  std::int64_t number = 0;
  WallTime at;
  Uuid id;
  std::string action, object_type, object, tenant, subject, session_role, actor, request_id, address, reason;
  std::optional<std::string> details = {};  // JSON
};
// The actor is whom citadel.actor names ("type:id") only where the daemon's own role had logged in; for
// others it is the database's role, and what they claimed stands as on_behalf_of. Always succeeds, because
// nobody could mend the row: what an event may not hold is cut, cleaned or replaced by its digest.
Draft draft_of(const PendingRow& row, const SourcePosition& source, WallTime now,
               const crypto::AesGcmKey& journal_key);

// Without control characters and bad UTF-8, at most `bytes_max` bytes.
std::string printable(std::string_view text, std::size_t bytes_max);

}  // namespace citadel::audit
