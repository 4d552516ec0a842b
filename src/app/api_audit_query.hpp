// Query parameters and headers of the audit trail's routes. invalid_argument names the one that is wrong.
#pragma once
#include <cstdint>
#include <optional>

#include "audit/event.hpp"
#include "audit/queries.hpp"
#include "audit/search.hpp"
#include "http/message.hpp"

namespace citadel::app {

enum class Ack : std::uint8_t { journal, database, checkpoint };
std::string_view to_string(Ack ack);
// ?ack=; journal where it is absent.
Result<Ack> parse_ack(const http::Request& request);

// Idempotency-Key, for a body of one event. A UUIDv7 is the event's id. Of anything else, 1 to 255 printable
// ASCII characters, the id is made, with the event's own time: so that the same request has the same id.
Result<void> apply_idempotency_key(const http::Request& request, std::span<audit::Event> events,
                                   std::string_view body, const audit::EventLimits& limits);

// from, to, tenant, actor_type, actor, action, object_type, object, subject, outcome, trace_id, request_id,
// text, cursor, limit.
Result<audit::SearchFilter> parse_search(const http::Request& request, std::int64_t page_rows_max);

// ?action=; nothing where it is absent. One that the catalogue has not and no caller may define is refused,
// with the nearest name: nothing found would read like "it never happened".
Result<std::optional<std::string>> parse_action(const http::Request& request);
// What was asked for, as an entry of the log keeps it for ever: the query as it was sent, with the SHA-256 of
// a subject in place of its name.
std::string recorded_query(const http::Request& request);

// ?check=columns: whether the columns that searches go by are held against the entries.
Result<bool> parse_check(const http::Request& request);
// ?open=groups
Result<audit::OpenGroups> parse_open(const http::Request& request);
// A number of entries or an index; `otherwise` where it is absent.
Result<std::uint64_t> parse_number(const http::Request& request, std::string_view name,
                                   std::uint64_t otherwise);
Result<std::uint64_t> parse_index(std::string_view text, std::string_view name);

}  // namespace citadel::app
