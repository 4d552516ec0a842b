// What the tests and benchmarks of this room share: events, and a clock that stands still.
#pragma once
#include "audit/event.hpp"
#include "base/time_text.hpp"

namespace citadel::audit {

inline const WallTime testing_now = *parse_time("2026-11-25T12:00:00.25Z");

inline Uuid testing_id(std::uint64_t number) {
  return make_uuid7(std::chrono::floor<std::chrono::milliseconds>(testing_now), 0, number);
}

// What a Result failed with; nothing where it did not.
template <class T>
std::optional<Code> code_of(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error().code);
}

inline Event minimal_event(std::uint64_t number = 1) {
  Event event;
  event.id = testing_id(number);
  event.time = event.received_at = testing_now;
  event.tenant = "default";
  event.actor = {.type = "user", .id = "ada"};
  event.action = "model_version.create";
  event.object = {.type = "model_version", .id = "fraud/7"};
  return event;
}

inline Event full_event(std::uint64_t number = 2) {
  using namespace std::chrono_literals;
  Event event = minimal_event(number);
  event.time -= 1500ms;
  event.tenant = "acme";
  event.actor.auth_method = "mtls";
  event.actor.address = "2001:db8::7";
  event.actor.on_behalf_of = "bob";
  event.action = "inference.complete";
  event.outcome = Outcome::success;
  event.reason = "asked \"why\" by \u00e9";
  event.trace_id = "0af7651916cd43dd8448eb211c80319c";
  event.request_id = "req-1";
  event.subject = "customer-9";
  event.group(Group::prompt) = R"([{"role":"user","content":"hi"}])";
  event.group(Group::response) = R"({"text":"ho"})";
  event.group(Group::tool) = "17";
  event.group(Group::details) = R"("plain")";
  return event;
}

}  // namespace citadel::audit
