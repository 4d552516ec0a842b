// Audit events from and to JSON.
//
// In: one object, an array of objects, or NDJSON (json/body.hpp). One bad event refuses the whole body, and
// the error names it and the field: "/3/actor/id: is missing", "line 4, /time: must …".
//
//   required  actor {type, id}, action, object {type, id}
//   optional  id        UUIDv7; sending it again makes a retry harmless. Made from the time where absent
//             time      RFC 3339; the id's time where absent, now where both are
//             tenant    "default" where absent
//             actor     {auth_method, address, on_behalf_of}
//             outcome   "success", "failure", "denied" or "unknown", which it is where absent
//             reason, trace_id (32 hexadecimal digits), request_id, subject
//             prompt, response, tool, details   any JSON value; kept as json::serialize() writes it
//
// An action that only the daemon records (catalogue.hpp) is refused. The times of event and id lie between
// now − past_max and now + future_max.
#pragma once
#include <string_view>
#include <vector>

#include "audit/event.hpp"
#include "base/random.hpp"
#include "json/body.hpp"
#include "json/writer.hpp"

namespace citadel::audit {

// At least one event, at most limits.events_max, each passes check_event(). Errors are invalid_argument.
// `random` makes the missing ids.
Result<std::vector<Event>> parse_events(std::string_view body, json::BodyForm form, const EventLimits& limits,
                                        WallTime now, Random& random);

// One object, in the words of the way in and "received_at"; what is empty is left out. The groups are JSON
// texts and are written as they are. One event has one text.
void write_event(json::Writer& out, const Event& event);
// The members alone, into an object that is open.
void write_event_members(json::Writer& out, const Event& event);

}  // namespace citadel::audit
