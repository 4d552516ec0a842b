#include <array>

#include "audit/cbor_fields.hpp"
#include "audit/record_codec.hpp"
#include "base/hex_digit.hpp"

namespace citadel::audit {
namespace {

// The keys of the map. A number is never given to another field.
enum class Key : std::uint8_t { version, id, time, received_at, outcome, trace_id, first_text };
constexpr std::uint64_t version_1 = 1;
// version to outcome, in every envelope
constexpr std::size_t required = 5;

// The fields that are texts, by key from first_text on.
template <class E>
auto texts_of(E& event) {
  return std::array{&event.tenant,
                    &event.action,
                    &event.actor.type,
                    &event.actor.id,
                    &event.actor.auth_method,
                    &event.actor.address,
                    &event.actor.on_behalf_of,
                    &event.object.type,
                    &event.object.id,
                    &event.reason,
                    &event.request_id,
                    &event.subject};
}
constexpr std::uint64_t number_of(Key key) {
  return static_cast<std::uint64_t>(key);
}

// The value of a key that is there always, or the trace id's.
void read_fixed(cbor::Reader& in, std::uint64_t key, Event& event) {
  if (key == number_of(Key::version)) {
    if (in.number() != version_1) in.fail("it is of another version");
  } else if (key == number_of(Key::id)) {
    event.id = read_uuid(in);
  } else if (key == number_of(Key::time)) {
    event.time = read_time(in);
  } else if (key == number_of(Key::received_at)) {
    event.received_at = read_time(in);
  } else if (key == number_of(Key::outcome)) {
    event.outcome = static_cast<Outcome>(std::min<std::uint64_t>(in.number(), UINT8_MAX));
  } else {
    event.trace_id = to_hex(in.fixed<16>());
  }
}

}  // namespace

std::string encode_envelope(const Event& event) {
  return encode_envelope(event, event.received_at);
}

std::string encode_envelope(const Event& event, WallTime received_at) {
  const auto texts = texts_of(event);
  std::size_t count = required + (event.trace_id.empty() ? 0 : 1), size_bytes = 64;
  for (const std::string* text : texts) {
    if (!text->empty()) ++count;
    size_bytes += 4 + text->size();
  }
  cbor::Writer out(size_bytes);
  const auto key = [&](Key name) -> cbor::Writer& { return out.number(number_of(name)); };
  out.map(count);
  key(Key::version).number(version_1);
  key(Key::id).bytes(bytes_of(event.id));
  key(Key::time).integer(event.time.time_since_epoch().count());
  key(Key::received_at).integer(received_at.time_since_epoch().count());
  key(Key::outcome).number(static_cast<std::uint64_t>(event.outcome));
  if (!event.trace_id.empty()) {
    std::array<std::byte, 16> raw{};
    key(Key::trace_id).bytes(read_hex(event.trace_id, raw) ? Bytes(raw) : Bytes());
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i]->empty()) out.number(number_of(Key::first_text) + i).text(*texts[i]);
  }
  return out.take();
}

Result<Event> decode_envelope(Bytes bytes) {
  cbor::Reader in(bytes);
  // Filled where it is returned: an event is twenty strings to move.
  Result<Event> decoded;
  Event& event = *decoded;
  const auto texts = texts_of(event);
  const std::size_t count = in.map();
  for (std::size_t i = 0; i < count && in.good(); ++i) {
    const std::uint64_t key = in.number();
    if (i < required && key != i) in.fail("a field that every envelope has is missing");
    if (key < number_of(Key::first_text)) {
      read_fixed(in, key, event);
      continue;
    }
    const std::uint64_t text = key - number_of(Key::first_text);
    if (text >= texts.size()) in.fail("it has a field that is not known");
    if (!in.good()) break;
    *texts[text] = in.text();
    if (texts[text]->empty()) in.fail("an empty field is not left out");
  }
  if (count < required) in.fail("a field that every envelope has is missing");
  if (auto finished = in.finish(); !finished) {
    decoded = fail(Code::corrupt, "the envelope is " + finished.error().message);
  } else if (auto checked = check_event(event, EventLimits::widest()); !checked) {
    decoded = fail(Code::corrupt, "in the envelope, " + checked.error().message);
  }
  return decoded;
}

}  // namespace citadel::audit
