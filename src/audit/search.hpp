// Search: events of the trail by time, tenant, actor, action, object, subject, outcome, trace, request and
// words, newest first by their own time, in pages; and everything under one trace, in order.
//
// A search that goes on while events arrive neither repeats nor skips one that was there at its start. A page
// has fewer than `limit` events, and a cursor all the same, where half of the time went by before they were
// found: go on with it. What was erased or pruned is not found. Words, and types without the thing's own id,
// are searched back in windows of time, none of which sorts more than 5,000 events; a minute in which more of
// them match is walked through in the order of time, until the page is full.
// All calls on the database's executor.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "audit/catalogue.hpp"
#include "audit/event.hpp"
#include "store/database.hpp"

namespace citadel::audit {

inline constexpr int search_limit_max = 1'000;

// As the index event_by_word_and_type has them: words, types, and minute, hour and day of the time.
inline constexpr std::string_view words_sql =
    "to_tsvector('simple'::regconfig, translate(action || ' ' || actor || ' ' || object_type || ' ' || "
    "object || ' ' "
    "|| reason, './:@_-', '      '))";
inline constexpr std::string_view types_sql = "(array['actor ' || actor_type, 'object ' || object_type])";
inline constexpr std::string_view periods_sql =
    "(array[floor(extract(epoch from time - timestamptz '1970-01-01 00:00:00+00') / 60)::bigint, "
    "10000000000 + floor(extract(epoch from time - timestamptz '1970-01-01 00:00:00+00') / 3600)::bigint, "
    "20000000000 + floor(extract(epoch from time - timestamptz '1970-01-01 00:00:00+00') / 86400)::bigint])";

struct SearchFilter {
  std::optional<WallTime> from = {}, to = {};  // of the event's time: from <= time < to
  std::optional<std::string> tenant = {}, actor_type = {}, actor = {}, action = {}, object_type = {},
                             object = {}, subject = {};
  std::optional<Outcome> outcome = {};
  std::optional<std::string> trace_id = {};  // 32 hexadecimal digits
  std::optional<std::string> request_id = {};
  std::optional<std::string> text = {};  // all its words, in action, actor, object and reason together
  std::string cursor = {};               // from the page before; "" at the beginning
  int limit = 100;                       // 1 to search_limit_max
};

struct FoundEvent {
  std::uint64_t index = 0;  // of its entry
  ActionClass action_class = ActionClass::operation;
  Severity severity = Severity::info;
  Retention retention = Retention::standard;
  Event event;  // without groups
};

struct SearchPage {
  std::vector<FoundEvent> events = {};
  std::optional<std::string> next_cursor = {};  // nullopt on the last page
};

// invalid_argument names the parameter.
Task<Result<SearchPage>> search_events(store::Database& database, SearchFilter filter, Deadline deadline);

// Oldest first; `cursor` as above.
Task<Result<SearchPage>> trace_events(store::Database& database, std::string trace_id, std::string cursor,
                                      int limit, Deadline deadline);

}  // namespace citadel::audit
