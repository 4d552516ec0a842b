// The journal's bytes: whatever is decoded encodes to the same bytes. The body of POST /v1/requests: whatever
// is accepted passes check_record, and is written as JSON that gives the same record again.
#include <cstdint>

#include "base/check.hpp"
#include "usage/record_codec.hpp"
#include "usage/record_json.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace citadel;
  using namespace citadel::usage;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const WallTime now = std::chrono::sys_days{std::chrono::year{2026} / 11 / 25};
  const Uuid id = make_uuid7(std::chrono::floor<std::chrono::milliseconds>(now), 1, 2);
  if (data[0] == 'b') {
    if (const auto record = decode_record(id, text)) {
      CITADEL_CHECK(encode_record(*record) == text, "a record has two encodings");
      CITADEL_CHECK(peek_names(text)->model == record->model, "the names are not where they are looked for");
    }
    return 0;
  }
  SeededRandom random(1);
  const IngestLimits limits;
  const auto form = data[0] == 'n' ? BodyForm::ndjson : BodyForm::json;
  const auto records = parse_records(text, form, limits, now, random);
  if (!records) return 0;
  for (const RequestRecord& record : *records) {
    CITADEL_CHECK(check_record(record).has_value(), "accepted at the door, refused inside");
    const auto decoded = decode_record(record.id, encode_record(record));
    CITADEL_CHECK(decoded && *decoded == record, "the codec changes a record");
    json::Writer out;
    write_record(out, record);
    const auto again = parse_records(out.take(), BodyForm::json, limits, now, random);
    CITADEL_CHECK(again && again->front() == record, "what is shown is not what was sent");
  }
  return 0;
}
