// The body of POST /v1/audit/events: whatever is accepted passes check_event, is written as JSON that gives
// the same event again, and goes through redaction once: a second time finds nothing.
#include <cstdint>

#include "audit/event_json.hpp"
#include "audit/record_codec.hpp"
#include "audit/redaction.hpp"
#include "base/check.hpp"

namespace {

using namespace citadel;
using namespace citadel::audit;

// received_at is not a field of the way in.
std::string sent(const Event& event) {
  json::Writer out;
  write_event(out, event);
  std::string text = out.take();
  const auto begin = text.find(",\"received_at\":"), end = text.find(",\"tenant\":");
  return text.erase(begin, end - begin);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const WallTime now = std::chrono::sys_days{std::chrono::year{2026} / 11 / 25};
  static const Redactor redactor = Redactor::compile(default_redaction_rules()).value();
  SeededRandom random(1);
  const EventLimits limits;
  const auto form = data[0] == 'n' ? json::BodyForm::ndjson : json::BodyForm::json;
  auto events = parse_events(text, form, limits, now, random);
  if (!events) return 0;
  for (Event& event : *events) {
    CITADEL_CHECK(check_event(event, limits).has_value(), "accepted at the door, refused inside");
    const auto again = parse_events(sent(event), json::BodyForm::json, limits, now, random);
    CITADEL_CHECK(again && again->front() == event, "what is shown is not what was sent");
    auto decoded = decode_envelope(as_bytes(encode_envelope(event)));
    CITADEL_CHECK(decoded.has_value(), "an envelope that is not read");
    decoded->groups = event.groups;
    CITADEL_CHECK(*decoded == event, "the envelope changes an event");
    CITADEL_CHECK(redactor.apply(event).has_value(), "a group that was accepted is not JSON");
    CITADEL_CHECK(redactor.apply(event)->empty(), "redaction leaves something for a second time");
  }
  return 0;
}
