#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.hpp"
#include "base/time_text.hpp"
#include "usage/batch.hpp"
#include "usage/record.hpp"
#include "usage/record_codec.hpp"
#include "usage/record_json.hpp"
#include "usage/rollup.hpp"

namespace citadel::usage {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const WallTime now = *parse_time("2026-11-25T12:00:00Z");

Uuid id_at(WallTime time, std::uint64_t number = 1) {
  return make_uuid7(std::chrono::floor<std::chrono::milliseconds>(time), 0, number);
}

RequestRecord minimal() {
  RequestRecord record;
  record.id = id_at(now);
  record.started_at = now;
  record.model = "mixtral-8x7b";
  record.prompt_tokens = 4808;
  record.completion_tokens = 10;
  return record;
}
RequestRecord full() {
  RequestRecord record = minimal();
  record.tenant = "acme";
  record.latency_us = 1'500'250;
  record.ttft_us = 0;
  record.queue_us = duration_us_max;
  record.status = 503;
  record.cost_nano = cost_nano_max;
  record.streamed = true;
  record.trace_id = Uuid{{0x0a, 0xf7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}};
  record.error_code = "model_overloaded";
  record.session = "s-\u00e9";
  record.endpoint = "/v1/chat/completions";
  record.api_key = "gateway";
  return record;
}

Result<std::vector<RequestRecord>> parse(std::string_view body, BodyForm form = BodyForm::json,
                                         const IngestLimits& limits = {}) {
  SeededRandom random(7);
  return parse_records(body, form, limits, now, random);
}
std::string error_of(std::string_view body, BodyForm form = BodyForm::json, const IngestLimits& limits = {}) {
  const auto records = parse(body, form, limits);
  if (records) return "accepted";
  EXPECT_EQ(records.error().code, Code::invalid_argument);
  return records.error().message;
}
// The error of a good record with one more field, or another value for one.
std::string error_with(std::string_view field) {
  return error_of("{\"model\":\"m\",\"prompt_tokens\":1,\"completion_tokens\":2," + std::string(field) + "}");
}
// internal, which no reader gives, where there is no error.
Code code_of(const Result<RequestRecord>& record) {
  return record ? Code::internal : record.error().code;
}
std::string message_of(const Result<RequestRecord>& record) {
  return record ? "decoded" : record.error().message;
}
std::string json_of(const RequestRecord& record) {
  json::Writer out;
  write_record(out, record);
  return out.take();
}

TEST(RecordJson, FillsInWhatIsAbsent) {
  const auto records = parse(R"({"model":"m","prompt_tokens":1,"completion_tokens":2})");
  ASSERT_TRUE(records.has_value());
  const RequestRecord& record = records->front();
  EXPECT_TRUE(record.id.is_version7());
  EXPECT_EQ(WallTime(record.id.time()), now);
  EXPECT_EQ(record.started_at, now);
  EXPECT_EQ(record.tenant, "default");
  EXPECT_EQ(record.status, 200);
  EXPECT_EQ(record.cost_nano, 0);
  EXPECT_EQ(record.latency_us, std::nullopt);
}

TEST(RecordJson, TakesTheTimeFromTheIdAndTheIdFromTheTime) {
  const Uuid id = id_at(now - 48h);
  const auto by_id =
      parse(R"({"id":")" + id.to_string() + R"(","model":"m","prompt_tokens":1,"completion_tokens":2})");
  EXPECT_EQ(by_id->front().id, id);
  EXPECT_EQ(by_id->front().started_at, now - 48h);
  const auto by_time = parse(
      R"({"started_at":"2023-11-16T18:17:03.9799600Z","model":"m","prompt_tokens":1,"completion_tokens":2})");
  EXPECT_EQ(format_time(by_time->front().started_at), "2023-11-16T18:17:03.979960Z");
  EXPECT_EQ(format_time(by_time->front().id.time()), "2023-11-16T18:17:03.979000Z");
}

TEST(RecordJson, ReadsWhatItWrites) {
  for (const RequestRecord& record : {minimal(), full()}) {
    const auto again = parse(json_of(record));
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(again->front(), record);
  }
  EXPECT_THAT(json_of(full()), HasSubstr(R"("latency_ms":1500.25,"ttft_ms":0.0,)"));
}

TEST(RecordJson, TakesArraysAndLines) {
  const std::string one = json_of(minimal());
  EXPECT_EQ(parse("[" + one + "," + one + "]")->size(), 2u);
  EXPECT_EQ(parse("\n" + one + "\r\n\n" + one, BodyForm::ndjson)->size(), 2u);
}

TEST(RecordJson, ABadRecordRefusesTheWholeBodyAndIsNamed) {
  const std::string good = R"({"model":"m","prompt_tokens":1,"completion_tokens":2})";
  const std::string bad = R"({"model":"m","prompt_tokens":-3,"completion_tokens":2})";
  EXPECT_EQ(error_of("[" + good + "," + bad + "]"),
            "/1/prompt_tokens: must be an integer from 0 to 1000000000, not -3");
  EXPECT_EQ(error_of(good + "\n\n" + bad, BodyForm::ndjson),
            "line 3, /prompt_tokens: must be an integer from 0 to 1000000000, not -3");
  EXPECT_THAT(error_of(good + "\n{", BodyForm::ndjson), StartsWith("line 2, column 2"));
  EXPECT_THAT(error_of(bad), StartsWith("/prompt_tokens: "));
  EXPECT_THAT(error_of("[1]"), StartsWith("/0: must be an object"));
  EXPECT_THAT(error_of("7"), StartsWith("must be an object"));
  EXPECT_THAT(error_of("7", BodyForm::ndjson), StartsWith("line 1, must be an object"));
  EXPECT_EQ(error_of("[]"), "the body holds no record");
  EXPECT_EQ(error_of("\n\n", BodyForm::ndjson), "the body holds no record");
}

TEST(RecordJson, RequiresModelAndTokens) {
  EXPECT_EQ(error_of(R"({"prompt_tokens":1,"completion_tokens":2})"), "/model: is missing");
  EXPECT_EQ(error_of(R"({"model":"m","completion_tokens":2})"), "/prompt_tokens: is missing");
  EXPECT_EQ(error_of(R"({"model":"m","prompt_tokens":2})"), "/completion_tokens: is missing");
}

TEST(RecordJson, RefusesEachFieldBeyondItsLimit) {
  EXPECT_THAT(error_with(R"("id":"x")"), StartsWith("/id: must be a text of 36 to 36 bytes"));
  EXPECT_EQ(error_with(R"("id":"018bd8f5-6a3b-4cc0-8000-0123456789ab")"),
            "/id: must be a UUID of version 7 (RFC 9562)");
  EXPECT_EQ(error_with(R"("id":"018bd8f5-6a3b-7cc0-0000-0123456789ab")"),
            "/id: must be a UUID of version 7 (RFC 9562)");
  EXPECT_THAT(error_with(R"("started_at":"2026-11-25 noon or so")"),
              StartsWith("/started_at: must be a time"));
  EXPECT_THAT(error_with(R"("tenant":"")"), StartsWith("/tenant: must be a text of 1 to 200 bytes"));
  EXPECT_THAT(error_with(R"("latency_ms":-0.1)"),
              StartsWith("/latency_ms: must be a number from 0 to 86400000"));
  EXPECT_THAT(error_with(R"("ttft_ms":86400001)"), StartsWith("/ttft_ms: "));
  EXPECT_THAT(error_with(R"("queue_ms":"1")"), StartsWith("/queue_ms: "));
  EXPECT_THAT(error_with(R"("status":99)"), StartsWith("/status: must be an integer from 100 to 599"));
  EXPECT_THAT(error_with(R"("cost_nano":1000000000001)"), StartsWith("/cost_nano: "));
  EXPECT_THAT(error_with(R"("streamed":1)"), StartsWith("/streamed: must be true or false"));
  EXPECT_THAT(error_with(R"("trace_id":"0af7")"), StartsWith("/trace_id: "));
  EXPECT_THAT(error_with(R"("trace_id":"zz000000000000000000000000000001")"),
              StartsWith("/trace_id: must be 32 hex"));
  EXPECT_THAT(error_with(R"("trace_id":"00000000000000000000000000000000")"), HasSubstr("not all zero"));
  EXPECT_THAT(error_with(R"("session":"a\u0000b")"), StartsWith("/session: must not hold control"));
  EXPECT_THAT(error_with("\"endpoint\":\"" + std::string(257, 'x') + "\""), StartsWith("/endpoint: "));
  EXPECT_THAT(error_with("\"api_key\":7"), StartsWith("/api_key: "));
  EXPECT_THAT(error_with("\"error_code\":\"\""), StartsWith("/error_code: "));
  EXPECT_EQ(error_with(R"("promt":1)"), "/promt: is not a known field");
  EXPECT_EQ(error_with(R"("statuss":1)"), "/statuss: is not a known field; did you mean \"status\"?");
}

TEST(RecordJson, HoldsTimesToTheWindow) {
  const auto at = [](WallTime time) { return error_with("\"started_at\":\"" + format_time(time) + "\""); };
  EXPECT_EQ(at(now + 10min), "accepted");
  EXPECT_THAT(at(now + 10min + 1us), StartsWith("/started_at: its time must lie between "));
  EXPECT_EQ(at(now - std::chrono::days(3660)), "accepted");
  EXPECT_THAT(at(now - std::chrono::days(3660) - 1us), StartsWith("/started_at: "));
  EXPECT_THAT(error_with("\"id\":\"" + id_at(now + 11min).to_string() + "\""),
              StartsWith("/id: its time must lie"));
  const std::string id = "\"id\":\"" + id_at(now - 3h).to_string() + "\",";
  EXPECT_EQ(error_with(id + "\"started_at\":\"" + format_time(now - 2h) + "\""), "accepted");
  EXPECT_EQ(error_with(id + "\"started_at\":\"" + format_time(now - 2h + 1us) + "\""),
            "/started_at: must lie within 60 minutes of the id's time, 2026-11-25T09:00:00Z");
}

// Who writes for one tenant cannot write for another, whatever else the body holds.
TEST(RecordJson, HoldsRecordsToTheTenantOfWhoSendsThem) {
  const IngestLimits bound{.tenant = "acme"};
  const std::string rest = R"("model":"m","prompt_tokens":1,"completion_tokens":1})";
  const auto own = parse("[{" + rest + R"(,{"tenant":"acme",)" + rest + "]", BodyForm::json, bound);
  ASSERT_TRUE(own) << own.error().to_string();
  EXPECT_EQ((*own)[0].tenant, "acme");
  EXPECT_EQ((*own)[1].tenant, "acme");
  EXPECT_EQ(error_of("[{" + rest + R"(,{"tenant":"default",)" + rest + "]", BodyForm::json, bound),
            "/1/tenant: must be acme, as the caller's, or be left out");
}

TEST(RecordJson, HoldsTheBodyToItsLimits) {
  const std::string one = json_of(minimal());
  const IngestLimits two{.records_max = 2};
  EXPECT_EQ(error_of("[" + one + "," + one + "," + one + "]", BodyForm::json, two),
            "the body holds more than 2 records");
  EXPECT_EQ(error_of(one + "\n" + one + "\n" + one, BodyForm::ndjson, two),
            "the body holds more than 2 records");
  EXPECT_THAT(error_of(one, BodyForm::json, {.body_bytes_max = 10}), HasSubstr("the limit is 10"));
  EXPECT_THAT(error_of(one, BodyForm::ndjson, {.line_bytes_max = 10}), HasSubstr("the limit is 10"));
  EXPECT_THAT(error_of("[[[[[]]]]]"), HasSubstr("nested deeper than allowed"));
}

TEST(RecordCheck, NamesTheFieldThatIsOutOfRange) {
  EXPECT_TRUE(check_record(minimal()).has_value());
  EXPECT_TRUE(check_record(full()).has_value());
  const auto error = [](auto change) {
    RequestRecord record = full();
    change(record);
    const auto checked = check_record(record);
    return checked ? "accepted" : checked.error().message.substr(0, checked.error().message.find(':'));
  };
  EXPECT_EQ(error([](auto& r) { r.id.bytes[6] = 0x40; }), "id");
  EXPECT_EQ(error([](auto& r) { r.started_at += 61min; }), "started_at");
  EXPECT_EQ(error([](auto& r) { r.tenant.clear(); }), "tenant");
  EXPECT_EQ(error([](auto& r) { r.model = std::string(201, 'x'); }), "model");
  EXPECT_EQ(error([](auto& r) { r.model = "a\nb"; }), "model");
  EXPECT_EQ(error([](auto& r) { r.prompt_tokens = -1; }), "prompt_tokens");
  EXPECT_EQ(error([](auto& r) { r.completion_tokens = 1'000'000'001; }), "completion_tokens");
  EXPECT_EQ(error([](auto& r) { r.latency_us = -1; }), "latency_us");
  EXPECT_EQ(error([](auto& r) { r.ttft_us = duration_us_max + 1; }), "ttft_us");
  EXPECT_EQ(error([](auto& r) { r.queue_us = -1; }), "queue_us");
  EXPECT_EQ(error([](auto& r) { r.status = 600; }), "status");
  EXPECT_EQ(error([](auto& r) { r.cost_nano = -1; }), "cost_nano");
  EXPECT_EQ(error([](auto& r) { r.trace_id = Uuid{}; }), "trace_id");
  EXPECT_EQ(error([](auto& r) { r.error_code = ""; }), "error_code");
  EXPECT_EQ(error([](auto& r) { r.session = std::string(257, 'x'); }), "session");
  EXPECT_EQ(error([](auto& r) { r.endpoint = "\x7F"; }), "endpoint");
  EXPECT_EQ(error([](auto& r) { r.api_key = "\t"; }), "api_key");
}

TEST(RecordCodec, GivesTheRecordBack) {
  for (const RequestRecord& record : {minimal(), full()}) {
    const auto again = decode_record(record.id, encode_record(record));
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(*again, record);
  }
}

// Journals outlive programs: these bytes must be read for ever.
TEST(RecordCodec, TheBytesOfVersionOneStay) {
  RequestRecord record = minimal();
  record.model = "m";
  record.latency_us = 1;
  EXPECT_EQ(to_hex(as_bytes(encode_record(record))),
            "01"
            "0200"
            "0700"
            "64656661756c74"
            "0100"
            "6d"
            "00f0fe9018610600"
            "c8120000"
            "0a000000"
            "c800"
            "0000000000000000"
            "0100000000000000");
}

TEST(RecordCodec, RefusesEveryCutAndEveryAddition) {
  const RequestRecord record = full();
  const std::string payload = encode_record(record);
  for (std::size_t length = 0; length < payload.size(); ++length) {
    EXPECT_FALSE(decode_record(record.id, std::string_view(payload).substr(0, length)).has_value()) << length;
  }
  EXPECT_EQ(code_of(decode_record(record.id, payload + '\0')), Code::corrupt);
}

TEST(RecordCodec, RefusesOtherVersionsFlagsAndRanges) {
  const RequestRecord record = minimal();
  const std::string payload = encode_record(record);
  const auto with = [&](std::size_t at, char byte) {
    std::string changed = payload;
    changed[at] = byte;
    return decode_record(record.id, changed);
  };
  EXPECT_EQ(code_of(with(0, 2)), Code::unsupported);
  EXPECT_EQ(code_of(with(0, 0)), Code::corrupt);
  EXPECT_THAT(message_of(with(2, 2)), HasSubstr("more than version 1 knows"));
  EXPECT_THAT(message_of(with(5, '\n')), HasSubstr("tenant"));
  Uuid other = record.id;
  other.bytes[6] = 0x40;
  EXPECT_THAT(message_of(decode_record(other, payload)), HasSubstr("id: out of its range"));
}

TEST(RecordCodec, PeeksAtTheNames) {
  const std::string payload = encode_record(full());
  const auto names = peek_names(payload);
  ASSERT_TRUE(names.has_value());
  EXPECT_EQ(names->tenant, "acme");
  EXPECT_EQ(names->model, "mixtral-8x7b");
  EXPECT_FALSE(peek_names(payload.substr(0, 10)).has_value());
  EXPECT_FALSE(peek_names("").has_value());
  EXPECT_FALSE(peek_names("\x02" + payload.substr(1)).has_value());
}

TEST(RecordCodec, TheDigestTellsRecordsApart) {
  EXPECT_EQ(digest_of("abc"), static_cast<std::int64_t>(0xba7816bf8f01cfeaULL));
  RequestRecord other = minimal();
  other.completion_tokens += 1;
  EXPECT_NE(digest_of(encode_record(minimal())), digest_of(encode_record(other)));
}

RollupRow row_at(std::string_view time, std::int32_t tenant, std::int32_t model, std::int64_t tokens) {
  return {{*parse_time(time), tenant, model}, {.requests = 1, .prompt_tokens = tokens}};
}

TEST(Rollup, SumsByBucketTenantAndModelInKeyOrder) {
  const std::vector<RollupRow> rows{
      row_at("2026-11-25T10:01:59.999999Z", 2, 1, 1), row_at("2026-11-25T10:02:00Z", 1, 1, 2),
      row_at("2026-11-25T10:01:00Z", 1, 2, 4), row_at("2026-11-25T10:01:30Z", 1, 2, 8),
      row_at("2026-11-24T23:59:59Z", 9, 9, 16)};
  const auto minutes = roll_up(rows, Bucket::minute);
  ASSERT_EQ(minutes.size(), 4u);
  EXPECT_TRUE(std::ranges::is_sorted(minutes, {}, &RollupRow::key));
  EXPECT_EQ(minutes[1].key, (RollupKey{*parse_time("2026-11-25T10:01:00Z"), 1, 2}));
  EXPECT_EQ(minutes[1].sums.prompt_tokens, 12);
  EXPECT_EQ(minutes[1].sums.requests, 2);
  const auto hours = roll_up(minutes, Bucket::hour);
  EXPECT_EQ(hours, roll_up(rows, Bucket::hour));
  EXPECT_EQ(hours.size(), 4u);
  EXPECT_EQ(roll_up(hours, Bucket::day), roll_up(rows, Bucket::day));
  EXPECT_TRUE(roll_up({}, Bucket::day).empty());
}

TEST(Rollup, CountsErrorsAndOnlyTheDurationsThatAreThere) {
  Sums sums = sums_of(full());
  EXPECT_EQ(sums.errors, 1);
  EXPECT_EQ(sums.latency, (DurationSums{1, 1'500'250, 1'500'250}));
  sums.add(sums_of(minimal()));
  EXPECT_EQ(sums.requests, 2);
  EXPECT_EQ(sums.errors, 1);
  EXPECT_EQ(sums.prompt_tokens, 9616);
  EXPECT_EQ(sums.latency, (DurationSums{1, 1'500'250, 1'500'250}));
  RequestRecord refused = minimal();
  refused.status = 399;
  EXPECT_EQ(sums_of(refused).errors, 0);
}

TEST(Rollup, ASumThatIsFullStaysFull) {
  Sums sums{.requests = 2, .cost_nano = sum_max - 1, .latency = {.count = 1, .sum = sum_max - 1, .max = 5}};
  EXPECT_FALSE(sums.saturated());
  sums.add({.requests = 1, .cost_nano = 1, .latency = {.count = 1, .sum = 2, .max = 2}});
  EXPECT_TRUE(sums.saturated());
  EXPECT_EQ(sums.cost_nano, sum_max);
  EXPECT_EQ(sums.latency, (DurationSums{2, sum_max, 5}));
  sums.add(sums);
  EXPECT_EQ(sums.cost_nano, sum_max);
  EXPECT_EQ(sums.requests, 6);
}

TEST(Rollup, NamesItsBuckets) {
  for (const Bucket bucket : {Bucket::minute, Bucket::hour, Bucket::day}) {
    EXPECT_EQ(parse_bucket(to_string(bucket)).value(), bucket);
    EXPECT_EQ(start_of(bucket, now + length_of(bucket)), start_of(bucket, now) + length_of(bucket));
  }
  ASSERT_FALSE(parse_bucket("week").has_value());
  EXPECT_THAT(parse_bucket("week").error().message, HasSubstr("minute, hour or day, not \"week\""));
}

journal::Frame frame_of(const RequestRecord& record, std::uint64_t sequence) {
  return {{1, sequence}, journal::Kind::usage_request, record.id, encode_record(record)};
}

TEST(Batch, OrdersByIdAndSetsRepeatsAndConflictsApart) {
  RequestRecord late = minimal(), early = minimal(), other = minimal();
  early.id = id_at(now - 1s);
  other.completion_tokens = 99;  // the id of `late`
  std::vector<journal::Frame> frames{frame_of(late, 1), frame_of(other, 2), frame_of(early, 3),
                                     frame_of(late, 4), frame_of(other, 5)};
  frames.push_back(frame_of(late, 6));
  frames.back().payload.pop_back();
  const Batch batch = read_batch(frames);
  ASSERT_EQ(batch.rows.size(), 2u);
  EXPECT_EQ(batch.rows[0].record, early);
  EXPECT_EQ(batch.rows[1].record, late);
  EXPECT_EQ(batch.repeated, 1u);
  ASSERT_EQ(batch.conflicts.size(), 2u);
  EXPECT_EQ(batch.conflicts[0].record, other);
  ASSERT_EQ(batch.unreadable.size(), 1u);
  EXPECT_EQ(batch.unreadable[0].frame, &frames[5]);
  EXPECT_THAT(batch.unreadable[0].reason, HasSubstr("cut off"));
}

TEST(Batch, TakesOutWhatTheDatabaseHas) {
  RequestRecord a = minimal(), b = minimal(), c = minimal(), c2 = minimal();
  b.id = id_at(now, 2);
  c.id = c2.id = id_at(now, 3);
  c2.prompt_tokens = 1;
  const std::vector<journal::Frame> frames{frame_of(a, 1), frame_of(b, 2), frame_of(c2, 3), frame_of(c, 4)};
  Batch batch = read_batch(frames);
  remove_stored(batch, {{c.id, digest_of(encode_record(c))}, {a.id, 12345}});
  ASSERT_EQ(batch.rows.size(), 1u);
  EXPECT_EQ(batch.rows[0].record, b);
  // `c` is there; `a` and `c2` are other records than those that are there.
  EXPECT_EQ(batch.repeated, 1u);
  ASSERT_EQ(batch.conflicts.size(), 2u);
  Batch untouched = read_batch(frames);
  remove_stored(untouched, {});
  EXPECT_EQ(untouched.rows.size(), 3u);
}

TEST(Batch, NamesTheDaysOfItsIds) {
  std::vector<journal::Frame> frames(4);
  frames[0].id = id_at(*parse_time("2026-11-25T23:59:59.999Z"));
  frames[1].id = id_at(*parse_time("2023-11-16T00:00:00Z"));
  frames[2].id = id_at(*parse_time("2026-11-26T00:00:00Z"));
  frames[3].id = id_at(*parse_time("2026-11-25T00:00:00Z"));
  using namespace std::chrono;
  EXPECT_THAT(days_of(frames),
              ElementsAre(sys_days(2023y / 11 / 16), sys_days(2026y / 11 / 25), sys_days(2026y / 11 / 26)));
  EXPECT_TRUE(days_of({}).empty());
}

}  // namespace
}  // namespace citadel::usage
