#include "audit/event.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "audit/catalogue.hpp"
#include "base/time_text.hpp"
#include "base/utf8.hpp"

namespace citadel::audit {
namespace {

constexpr std::array outcome_names = {
    std::pair{Outcome::success, "success"}, std::pair{Outcome::failure, "failure"},
    std::pair{Outcome::denied, "denied"}, std::pair{Outcome::unknown, "unknown"}};
constexpr std::size_t trace_id_digits = 32;

std::unexpected<Error> refuse(std::string_view field, std::string_view what) {
  return fail(Code::invalid_argument, fmt::format("{}: {}", field, what));
}

enum class Presence : std::uint8_t { required, optional };

Result<void> check_text(std::string_view field, std::string_view text, Presence presence,
                        std::size_t bytes_max) {
  if (text.empty() && presence == Presence::required) return refuse(field, "is missing");
  if (text.size() > bytes_max) {
    return refuse(field,
                  fmt::format("must be a text of at most {} bytes, not of {}", bytes_max, text.size()));
  }
  if (has_control(text)) return refuse(field, "must not hold control characters");
  if (!is_utf8(text)) return refuse(field, "must be UTF-8");
  return {};
}

Result<void> check_texts(const Event& event, const EventLimits& limits) {
  using enum Presence;
  const struct {
    std::string_view field, text;
    Presence presence;
  } names[] = {
      {"/tenant", event.tenant, required},
      {"/actor/type", event.actor.type, required},
      {"/actor/id", event.actor.id, required},
      {"/actor/auth_method", event.actor.auth_method, optional},
      {"/actor/address", event.actor.address, optional},
      {"/actor/on_behalf_of", event.actor.on_behalf_of, optional},
      {"/object/type", event.object.type, required},
      {"/object/id", event.object.id, required},
      {"/request_id", event.request_id, optional},
      {"/subject", event.subject, optional},
  };
  for (const auto& [field, text, presence] : names) {
    CITADEL_TRY(check_text(field, text, presence, limits.name_bytes_max));
  }
  return check_text("/reason", event.reason, optional, limits.reason_bytes_max);
}

Result<void> check_time(std::string_view field, WallTime time, const Event& event,
                        const EventLimits& limits) {
  const WallTime earliest = std::max(WallTime{}, event.received_at - limits.past_max);
  const WallTime latest = event.received_at + limits.future_max;
  if (time >= earliest && time <= latest) return {};
  return refuse(field, fmt::format("its time must lie between {} and {}, not at {}", format_time(earliest),
                                   format_time(latest), format_time(time)));
}

bool is_trace_id(std::string_view text) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == trace_id_digits && std::ranges::all_of(text, is_digit) &&
         text.find_first_not_of('0') != std::string_view::npos;
}

Result<void> check_groups(const Event& event, const EventLimits& limits) {
  std::size_t size_bytes = 0;
  for (const Group group : sensitive_groups) {
    size_bytes += event.group(group).size();
    if (size_bytes > limits.groups_bytes_max) {
      return refuse(
          fmt::format("/{}", to_string(group)),
          fmt::format("the field groups have more than {} bytes together", limits.groups_bytes_max));
    }
    // A JSON text, so that a line of an export stays a line; that it is one is its reader's to know.
    if (!is_utf8(event.group(group))) return refuse(fmt::format("/{}", to_string(group)), "must be UTF-8");
    if (event.group(group).find_first_of("\r\n") != std::string::npos) {
      return refuse(fmt::format("/{}", to_string(group)), "must be one line");
    }
  }
  return {};
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  const auto at = std::ranges::find(outcome_names, outcome, [](const auto& pair) { return pair.first; });
  return at == outcome_names.end() ? "?" : at->second;
}

std::optional<Outcome> parse_outcome(std::string_view text) {
  const auto at =
      std::ranges::find(outcome_names, text, [](const auto& pair) { return std::string_view(pair.second); });
  if (at == outcome_names.end()) return std::nullopt;
  return at->first;
}

std::string_view to_string(Group group) {
  switch (group) {
    case Group::envelope:
      return "envelope";
    case Group::prompt:
      return "prompt";
    case Group::response:
      return "response";
    case Group::tool:
      return "tool";
    case Group::details:
      return "details";
  }
  return "?";
}

EventLimits EventLimits::widest() {
  return {.name_bytes_max = 1'000,
          .reason_bytes_max = 4'000,
          .groups_bytes_max = 48 << 10,
          .past_max = std::chrono::hours(24 * 366 * 200),
          .future_max = std::chrono::hours(24 * 366)};
}

Result<void> check_event(const Event& event, const EventLimits& limits) {
  if (!event.id.is_version7()) return refuse("/id", "must be a UUID of version 7 (RFC 9562)");
  CITADEL_TRY(check_time("/time", event.time, event, limits));
  CITADEL_TRY(check_time("/id", event.id.time(), event, limits));
  CITADEL_TRY(check_texts(event, limits));
  if (!is_action_name(event.action))
    return refuse("/action", "must be words of a-z, 0-9 and _, joined by dots");
  if (to_string(event.outcome) == "?") return refuse("/outcome", "is not an outcome");
  if (!event.trace_id.empty() && !is_trace_id(event.trace_id)) {
    return refuse("/trace_id", "must be 32 lower-case hexadecimal digits, not all zero");
  }
  return check_groups(event, limits);
}

}  // namespace citadel::audit
