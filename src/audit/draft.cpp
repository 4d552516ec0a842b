#include "audit/draft.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "audit/catalogue.hpp"
#include "base/check.hpp"
#include "base/utf8.hpp"

namespace citadel::audit {
namespace {

constexpr EventLimits limits;
constexpr std::string_view daemon_role = "citadel_app";

// A version 7 id of the source's place: the same place has the same bits behind the time.
Uuid id_of(const SourcePosition& source, WallTime now) {
  std::string place(as_text(std::as_bytes(std::span(source.producer.bytes))));
  append_be(place, source.epoch);
  append_be(place, source.sequence);
  const auto digest = crypto::sha256(as_bytes(place));
  return make_uuid7(std::chrono::floor<std::chrono::milliseconds>(now), load_be<std::uint16_t>(digest.data()),
                    load_be<std::uint64_t>(digest.data() + 2));
}

std::string name_of(std::string_view text, std::string_view otherwise) {
  std::string name = printable(text, limits.name_bytes_max);
  return name.empty() ? std::string(otherwise) : name;
}

Action action_of(const PendingRow& row) {
  if (const auto action = find_action(row.action)) return *action;
  return {.name = is_action_name(row.action) ? std::string_view(row.action) : "database.unknown",
          .action_class = ActionClass::change,
          .severity = Severity::warning,
          .retention = Retention::extended,
          .shed = journal::Class::critical,
          .recorder = Recorder::daemon};
}

Actor actor_of(const PendingRow& row) {
  Actor actor;
  actor.type = "database_role";
  actor.id = name_of(row.session_role, "unknown");
  actor.address = printable(row.address, limits.name_bytes_max);
  if (row.actor.empty()) return actor;
  if (row.session_role != daemon_role) {
    actor.on_behalf_of = printable(row.actor, limits.name_bytes_max);
    return actor;
  }
  const auto colon = row.actor.find(':');
  const bool typed = colon != std::string::npos && colon > 0 && colon + 1 < row.actor.size();
  actor.type = typed ? name_of(row.actor.substr(0, colon), "user") : "user";
  actor.id = name_of(typed ? std::string_view(row.actor).substr(colon + 1) : row.actor, "unknown");
  return actor;
}

Draft seal(const Event& event, const Action& action, const SourcePosition& source,
           const crypto::AesGcmKey& journal_key) {
  Draft draft{.source = source,
              .record = seal_event(event, action, journal_key),
              .event = event,
              .severity = action.severity};
  draft.event.groups = {};
  return draft;
}

}  // namespace

std::string printable(std::string_view text, std::size_t bytes_max) {
  std::string out(text.substr(0, bytes_max));
  // A character that was cut in the middle.
  while (text.size() > bytes_max && !out.empty() && !is_utf8(out) && out.size() + 4 > bytes_max)
    out.pop_back();
  const bool is_text = is_utf8(out);
  for (char& c : out) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || (!is_text && byte >= 0x80)) c = '?';
  }
  return out;
}

Result<Draft> draft_of(const journal::Frame& frame) {
  Draft draft;
  draft.source.epoch = frame.position.epoch;
  draft.source.sequence = frame.position.sequence;
  CITADEL_ASSIGN(draft.record, decode_record(frame.id, frame.payload, draft.event));
  if (const auto action = find_action(draft.event.action)) draft.severity = action->severity;
  return draft;
}

Draft draft_of(const Marker& marker, const SourcePosition& source, WallTime now,
               const crypto::AesGcmKey& journal_key) {
  const auto action = find_action(marker.action);
  CITADEL_CHECK(action.has_value(), "a marker's action is in the catalogue");
  Event event;
  event.id = id_of(source, now);
  event.time = event.received_at = now;
  event.tenant = name_of(marker.tenant, "default");
  event.actor.type = "system";
  event.actor.id = "citadel";
  event.action = marker.action;
  event.object = {name_of(marker.object.type, "audit_event"), name_of(marker.object.id, "unknown")};
  event.outcome = Outcome::failure;
  event.reason = printable(marker.reason, limits.reason_bytes_max);
  return seal(event, *action, source, journal_key);
}

Draft draft_of(const PendingRow& row, const SourcePosition& source, WallTime now,
               const crypto::AesGcmKey& journal_key) {
  const Action action = action_of(row);
  Event event;
  event.id = row.id;
  event.time = row.at;
  event.received_at = std::max(now, row.at);
  event.tenant = name_of(row.tenant, "default");
  event.actor = actor_of(row);
  event.action = action.name;
  event.object = {name_of(row.object_type, "unknown"), name_of(row.object, "unknown")};
  event.outcome = Outcome::success;
  event.reason = printable(row.reason, limits.reason_bytes_max);
  event.request_id = printable(row.request_id, limits.name_bytes_max);
  event.subject = printable(row.subject, limits.name_bytes_max);
  if (row.details) {
    std::string details = *row.details;
    std::ranges::replace_if(details, [](char c) { return c == '\n' || c == '\r'; }, ' ');
    if (details.size() > limits.groups_bytes_max) {
      details = fmt::format(R"({{"bytes":{},"sha256":"{}"}})", details.size(),
                            to_hex(crypto::sha256(as_bytes(details))));
    }
    event.group(Group::details) = std::move(details);
  }
  return seal(event, action, source, journal_key);
}

}  // namespace citadel::audit
