// The bytes of the trail: whatever is decoded encodes to the same bytes. The first byte chooses: l a leaf, e
// an envelope, r a record, whose id is the next 16 bytes.
#include <cstdint>

#include "audit/record_codec.hpp"
#include "base/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace citadel;
  using namespace citadel::audit;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'l') {
    if (const auto leaf = decode_leaf(as_bytes(text))) {
      CITADEL_CHECK(encode_leaf(*leaf) == text, "a leaf has two encodings");
    }
  } else if (data[0] == 'e') {
    if (const auto event = decode_envelope(as_bytes(text))) {
      CITADEL_CHECK(encode_envelope(*event) == text, "an envelope has two encodings");
      CITADEL_CHECK(check_event(*event, EventLimits::widest()).has_value(), "decoded, and not an event");
    }
  } else if (Uuid id; text.size() >= id.bytes.size()) {
    std::memcpy(id.bytes.data(), text.data(), id.bytes.size());
    const std::string_view payload = text.substr(id.bytes.size());
    if (const auto record = decode_record(id, payload)) {
      CITADEL_CHECK(encode_record(*record) == payload, "a record has two encodings");
    }
  }
  return 0;
}
