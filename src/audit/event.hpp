// Event: who did what to which thing, when, from where, with what outcome: one entry of the audit trail
// before it has a place in the log. Plain values.
//
// Texts are UTF-8 without control characters. Limits are in EventLimits; check_event() holds an event against
// them. What the JSON reader gives back has passed it; what the decoder gives back has passed it with
// EventLimits::widest(), since an operator may have narrowed his limits meanwhile.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/uuid.hpp"

namespace citadel::audit {

enum class Outcome : std::uint8_t { success = 1, failure = 2, denied = 3, unknown = 4 };
std::string_view to_string(Outcome outcome);
std::optional<Outcome> parse_outcome(std::string_view text);

// Field groups, by their number in the leaf. The envelope is group 0.
enum class Group : std::uint8_t { envelope = 0, prompt = 1, response = 2, tool = 3, details = 4 };
inline constexpr std::array sensitive_groups = {Group::prompt, Group::response, Group::tool, Group::details};
std::string_view to_string(Group group);

struct Actor {
  std::string type;  // "user", "service", "key", "system", "database_role"
  std::string id;
  std::string auth_method{};   // "api_key", "mtls", …; "" where unknown
  std::string address{};       // where the actor came from; "" where unknown
  std::string on_behalf_of{};  // "" where it acted for itself
  friend bool operator==(const Actor&, const Actor&) = default;
};

struct Object {
  std::string type;  // "model_version", "api_key", …
  std::string id;
  friend bool operator==(const Object&, const Object&) = default;
};

struct Event {
  Uuid id;               // UUIDv7
  WallTime time;         // when it happened, as the producer says
  WallTime received_at;  // when this daemon took it
  std::string tenant;
  Actor actor;
  std::string action;  // in the catalogue, or "x." and a name of the caller's own
  Object object;       // both required: what was meant, where nothing came to be
  Outcome outcome = Outcome::unknown;
  std::string reason;
  std::string trace_id;    // 32 lower-case hexadecimal digits, not all zero, or ""
  std::string request_id;  // or ""
  std::string subject;     // whose data the field groups hold; "": the tenant's own
  // JSON texts; "" where the group is absent. Indexed by Group minus 1.
  std::array<std::string, sensitive_groups.size()> groups;

  // Not for the envelope.
  const std::string& group(Group g) const { return groups[static_cast<std::size_t>(g) - 1]; }
  std::string& group(Group g) { return groups[static_cast<std::size_t>(g) - 1]; }
  friend bool operator==(const Event&, const Event&) = default;
};

struct EventLimits {
  std::size_t name_bytes_max = 200;  // tenant, types, ids, action, subject, request id
  std::size_t reason_bytes_max = 1'000;
  std::size_t groups_bytes_max = 48 << 10;  // all groups of an event together
  std::size_t events_max = 10'000;          // in one body
  std::size_t body_bytes_max = 8 << 20;
  std::size_t line_bytes_max = 512 << 10;  // of NDJSON; an escape may be six times what it stands for
  std::size_t depth_max = 16;              // of a group
  std::chrono::microseconds past_max = std::chrono::hours(24 * 30);
  std::chrono::microseconds future_max = std::chrono::minutes(10);

  // What no operator may go beyond: an event within it can be kept and decoded for ever.
  static EventLimits widest();
};

// Times are held against received_at. invalid_argument naming the field by its JSON pointer.
Result<void> check_event(const Event& event, const EventLimits& limits);

}  // namespace citadel::audit
