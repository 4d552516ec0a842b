#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

#include "audit/audit_testing.hpp"
#include "audit/cbor.hpp"
#include "audit/journal_range.hpp"
#include "audit/record_codec.hpp"
#include "base/bytes.hpp"

namespace citadel::audit {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Leaf sample_leaf() {
  return {.id = testing_id(1),
          .producer = testing_id(2),
          .epoch = 3,
          .sequence = 4'000,
          .action_class = ActionClass::change,
          .time = testing_now,
          .retention = Retention::extended,
          .commitments = {{Group::envelope, crypto::sha256(as_bytes("e"))},
                          {Group::details, crypto::sha256(as_bytes("d"))}}};
}

template <class T>
std::string error_of(const Result<T>& result) {
  if (result) return "decoded";
  EXPECT_EQ(result.error().code, Code::corrupt);
  return result.error().message;
}
std::string leaf_error(const Leaf& leaf) {
  return error_of(decode_leaf(as_bytes(encode_leaf(leaf))));
}

// SHA-256 of "citadel/group/v1", 04, 32 bytes 07 and "{}", by another program.
TEST(Leaf, ACommitmentIsTheHashThatTheDesignSays) {
  Salt salt;
  salt.fill(std::byte{7});
  std::string all = "citadel/group/v1";
  all += '\x04';
  all += std::string(32, '\x07');
  all += "{}";
  EXPECT_EQ(commit(Group::details, salt, as_bytes("{}")), crypto::sha256(as_bytes(all)));
  EXPECT_EQ(to_hex(commit(Group::details, salt, as_bytes("{}"))),
            "ca60e449b48d07f2d5c15d6b587ec4cfbb9f3a8493106d4e678381a40521f229");
}

TEST(Leaf, HasTheBytesThatTheDesignSays) {
  Leaf leaf = sample_leaf();
  leaf.commitments.resize(1);
  const std::string text = to_hex(as_bytes(encode_leaf(leaf)));
  EXPECT_EQ(text, "890150" + to_hex(std::as_bytes(std::span(leaf.id.bytes))) + "50" +
                      to_hex(std::as_bytes(std::span(leaf.producer.bytes))) + "03190fa0021b" +
                      "000661189102c090" + "0381820058" + "20" + to_hex(leaf.commitments[0].digest));
}

TEST(Leaf, IsReadAsItWasWritten) {
  const Leaf leaf = sample_leaf();
  const std::string bytes = encode_leaf(leaf);
  const auto again = decode_leaf(as_bytes(bytes));
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(again->id, leaf.id);
  EXPECT_EQ(again->producer, leaf.producer);
  EXPECT_EQ(again->sequence, leaf.sequence);
  EXPECT_EQ(again->time, leaf.time);
  EXPECT_EQ(again->commitments, leaf.commitments);
  EXPECT_EQ(encode_leaf(*again), bytes);
}

TEST(Leaf, EachFieldThatIsWrongIsRefused) {
  const auto with = [](auto change) {
    Leaf leaf = sample_leaf();
    change(leaf);
    return leaf_error(leaf);
  };
  EXPECT_THAT(with([](Leaf& leaf) { leaf.epoch = 0; }), HasSubstr("epoch or sequence is 0"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.sequence = 0; }), HasSubstr("epoch or sequence is 0"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.action_class = ActionClass{0}; }), HasSubstr("not known"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.action_class = ActionClass{6}; }), HasSubstr("not known"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.retention = Retention{4}; }), HasSubstr("not known"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.commitments.clear(); }), HasSubstr("no commitments"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.commitments.erase(leaf.commitments.begin()); }),
              HasSubstr("the envelope is missing"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.commitments.push_back(leaf.commitments[1]); }),
              HasSubstr("not in order"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.commitments[1].group = Group{5}; }), HasSubstr("not known"));
  EXPECT_THAT(with([](Leaf& leaf) { leaf.commitments.resize(6); }), HasSubstr("more than there are"));
}

TEST(Leaf, EveryBitThatFlipsIsAnotherLeafOrNone) {
  const std::string bytes = encode_leaf(sample_leaf());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    if (const auto leaf = decode_leaf(as_bytes(changed))) EXPECT_EQ(encode_leaf(*leaf), changed) << bit;
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_leaf(as_bytes(bytes).first(size)).has_value()) << size;
  }
  EXPECT_FALSE(decode_leaf(as_bytes(bytes + '\0')).has_value());
}

TEST(Leaf, ATimeThatNoTextCanNameIsRefused) {
  Leaf leaf = sample_leaf();
  for (const WallTime time : {WallTime(-1us), WallTime::max(), WallTime::min(),
                              WallTime(std::chrono::sys_days{std::chrono::year{10'000} / 1 / 1})}) {
    leaf.time = time;
    EXPECT_THAT(leaf_error(leaf), HasSubstr("1970 to 9999"));
  }
}

TEST(Leaf, OfAnotherVersionOrCountIsRefused) {
  std::string bytes = encode_leaf(sample_leaf());
  bytes[1] = 2;
  EXPECT_THAT(error_of(decode_leaf(as_bytes(bytes))), HasSubstr("another version"));
  bytes[0] = '\x8a';
  EXPECT_THAT(error_of(decode_leaf(as_bytes(bytes))), HasSubstr("another count of fields"));
}

Event without_groups(Event event) {
  for (auto& group : event.groups) group.clear();
  return event;
}

TEST(Envelope, IsReadAsItWasWritten) {
  for (const Event& event : {minimal_event(), full_event()}) {
    const std::string bytes = encode_envelope(event);
    const auto again = decode_envelope(as_bytes(bytes));
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(*again, without_groups(event));
    EXPECT_EQ(encode_envelope(*again), bytes);
  }
}

TEST(Envelope, WhatIsNotWhatTheEncoderWritesIsRefused) {
  const auto error = [](cbor::Writer& out) { return error_of(decode_envelope(as_bytes(out.take()))); };
  const auto begin = [](std::size_t count, std::uint64_t version = 1) {
    cbor::Writer out;
    const Uuid id = testing_id(1);
    const auto time = testing_now.time_since_epoch().count();
    out.map(count).number(0).number(version).number(1).bytes(std::as_bytes(std::span(id.bytes)));
    out.number(2).integer(time).number(3).integer(time).number(4).number(1);
    return out;
  };
  auto empty = cbor::Writer();
  EXPECT_THAT(error(empty.map(0)), HasSubstr("is missing"));
  EXPECT_THAT(error(empty.map(1).number(1).number(1)), HasSubstr("is missing"));
  auto version = begin(5, 2);
  EXPECT_THAT(error(version), HasSubstr("another version"));
  auto bare = begin(5);
  EXPECT_THAT(error(bare), HasSubstr("in the envelope, /tenant: is missing"));
  auto blank = begin(6);
  EXPECT_THAT(error(blank.number(6).text("")), HasSubstr("not left out"));
  auto unknown = begin(6);
  EXPECT_THAT(error(unknown.number(18).text("x")), HasSubstr("not known"));
  auto trace = begin(6);
  EXPECT_THAT(error(trace.number(5).bytes(as_bytes("short"))), HasSubstr("another length"));
  Event outcome = minimal_event();
  outcome.outcome = Outcome{9};
  EXPECT_THAT(error_of(decode_envelope(as_bytes(encode_envelope(outcome)))), HasSubstr("/outcome"));
  Event zero = minimal_event();
  zero.trace_id = std::string(32, '0');
  EXPECT_THAT(error_of(decode_envelope(as_bytes(encode_envelope(zero)))), HasSubstr("/trace_id"));
}

class RecordTest : public testing::Test {
 protected:
  Record seal(const Event& event) const { return seal_event(event, *find_action(event.action), key); }
  crypto::AesGcmKey master = crypto::AesGcmKey::generate();
  crypto::AesGcmKey key = journal_key(master);
};

TEST_F(RecordTest, IsReadAsItWasWritten) {
  for (const Event& event : {minimal_event(), full_event()}) {
    const Record record = seal(event);
    const std::string bytes = encode_record(record);
    const auto again = decode_record(event.id, bytes);
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(encode_record(*again), bytes);
    EXPECT_EQ(again->received_at, event.received_at);
    EXPECT_EQ(again->tenant, event.tenant);
    EXPECT_EQ(again->subject, event.subject);
    EXPECT_EQ(again->action_class, find_action(event.action)->action_class);
    EXPECT_EQ(again->retention, find_action(event.action)->retention);
    EXPECT_EQ(again->groups.size(), event.groups[0].empty() ? 0u : 4u);
  }
}

TEST_F(RecordTest, GroupsAreNotInItsBytesAndOpenWithTheKeyAlone) {
  const Event event = full_event();
  const Record record = seal(event);
  const std::string bytes = encode_record(record);
  for (const Group group : {Group::prompt, Group::response})
    EXPECT_EQ(bytes.find(event.group(group)), std::string::npos);
  for (const SealedGroup& sealed : record.groups) {
    const auto opened = open_group(event.id, sealed.group, sealed.ciphertext, record.wrapped_key, key);
    ASSERT_TRUE(opened.has_value());
    EXPECT_EQ(opened->bytes, event.group(sealed.group));
    EXPECT_EQ(commit(sealed.group, opened->salt, as_bytes(opened->bytes)), sealed.commitment);
  }
  const SealedGroup& sealed = record.groups[0];
  const auto code = [&](const Uuid& id, Group group, std::string_view ciphertext, std::string_view wrapped,
                        const crypto::AesGcmKey& by) {
    const auto opened = open_group(id, group, ciphertext, wrapped, by);
    return opened ? Code::internal : opened.error().code;
  };
  EXPECT_EQ(code(testing_id(9), sealed.group, sealed.ciphertext, record.wrapped_key, key), Code::corrupt);
  EXPECT_EQ(code(event.id, Group::response, sealed.ciphertext, record.wrapped_key, key), Code::corrupt);
  EXPECT_EQ(code(event.id, sealed.group, sealed.ciphertext, record.wrapped_key, master), Code::corrupt);
  std::string flipped = sealed.ciphertext;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  EXPECT_EQ(code(event.id, sealed.group, flipped, record.wrapped_key, key), Code::corrupt);
  EXPECT_EQ(code(event.id, sealed.group, sealed.ciphertext, "short", key), Code::corrupt);
}

TEST_F(RecordTest, ADataKeyIsWrappedAnewForTheSubject) {
  const Event event = full_event();
  const Record record = seal(event);
  const auto subject = crypto::AesGcmKey::generate();
  const auto wrapped = rewrap_key(record.wrapped_key, key, subject, event.id);
  ASSERT_TRUE(wrapped.has_value());
  EXPECT_EQ(open_group(event.id, Group::prompt, record.groups[0].ciphertext, *wrapped, subject)->bytes,
            event.group(Group::prompt));
  EXPECT_FALSE(open_group(event.id, Group::prompt, record.groups[0].ciphertext, *wrapped, key).has_value());
  EXPECT_EQ(rewrap_key(record.wrapped_key, subject, key, event.id).error().code, Code::corrupt);
  EXPECT_EQ(rewrap_key(record.wrapped_key, key, subject, testing_id(9)).error().code, Code::corrupt);
  const std::string short_key =
      crypto::seal_random(key, std::as_bytes(std::span(event.id.bytes)), as_bytes("short"));
  EXPECT_THAT(error_of(rewrap_key(short_key, key, subject, event.id)), HasSubstr("another length"));
}

TEST_F(RecordTest, KeysOfTwoPurposesDiffer) {
  EXPECT_FALSE(std::ranges::equal(journal_key(master).bytes(), subject_wrapping_key(master).bytes()));
  EXPECT_TRUE(std::ranges::equal(journal_key(master).bytes(), key.bytes()));
}

TEST_F(RecordTest, SealingTwiceGivesOtherSaltsAndKeys) {
  const Record one = seal(full_event()), two = seal(full_event());
  EXPECT_NE(one.envelope_salt, two.envelope_salt);
  EXPECT_NE(one.envelope_commitment(), two.envelope_commitment());
  EXPECT_NE(one.groups[0].commitment, two.groups[0].commitment);
  EXPECT_EQ(one.envelope, two.envelope);
}

// Salts are drawn ahead, for each thread by itself.
TEST_F(RecordTest, NoSaltIsGivenTwice) {
  std::set<Salt> salts{Salt{}};  // an empty one would be a salt that was wiped already
  std::mutex mutex;
  const auto seal_many = [&] {
    for (int i = 0; i < 50; ++i) {
      const Record record = seal(full_event());
      const std::lock_guard lock(mutex);
      EXPECT_TRUE(salts.insert(record.envelope_salt).second);
    }
  };
  std::thread other(seal_many);
  seal_many();
  other.join();
}

TEST_F(RecordTest, TheLeafNamesThePlaceAndTheCommitments) {
  const Record record = seal(full_event());
  const Leaf leaf = record.leaf(testing_id(5), 2, 9, testing_now);
  EXPECT_EQ(leaf.id, record.id);
  EXPECT_EQ(leaf.sequence, 9u);
  ASSERT_EQ(leaf.commitments.size(), 5u);
  EXPECT_EQ(leaf.commitments[0], (Commitment{Group::envelope, record.envelope_commitment()}));
  EXPECT_EQ(leaf.commitments[4], (Commitment{Group::details, record.groups[3].commitment}));
  EXPECT_TRUE(decode_leaf(as_bytes(encode_leaf(leaf))).has_value());
}

TEST_F(RecordTest, WhatIsNotARecordIsRefused) {
  const Event event = full_event();
  const Record record = seal(event);
  const auto error = [&](std::string_view payload) { return error_of(decode_record(event.id, payload)); };
  EXPECT_THAT(error(""), HasSubstr("empty"));
  EXPECT_THAT(error(std::string("\0\x80", 2)), HasSubstr("version 0"));
  EXPECT_EQ(decode_record(event.id, "\x02").error().code, Code::unsupported);
  EXPECT_THAT(error("\x01"), HasSubstr("ends before"));
  EXPECT_THAT(error("\x01\x80"), HasSubstr("another count"));
  EXPECT_THAT(error_of(decode_record(testing_id(77), encode_record(record))), HasSubstr("another event's"));
  const auto with = [&](auto change) {
    Record changed = record;
    change(changed);
    return error(encode_record(changed));
  };
  EXPECT_THAT(with([](Record& r) { r.action_class = ActionClass{9}; }), HasSubstr("class is not known"));
  EXPECT_THAT(with([](Record& r) { r.retention = Retention{0}; }), HasSubstr("retention class is not known"));
  EXPECT_THAT(with([](Record& r) { r.wrapped_key.clear(); }), HasSubstr("groups and no key"));
  EXPECT_THAT(with([](Record& r) { r.groups.clear(); }), HasSubstr("groups and no key"));
  EXPECT_THAT(with([](Record& r) { std::swap(r.groups[0], r.groups[1]); }), HasSubstr("not in order"));
  EXPECT_THAT(with([](Record& r) { r.groups[3].group = Group{5}; }), HasSubstr("not known"));
  EXPECT_THAT(with([](Record& r) { r.groups.push_back(r.groups[3]); }), HasSubstr("more groups"));
  EXPECT_THAT(with([](Record& r) { r.groups[0].ciphertext = "short"; }), HasSubstr("shorter than its salt"));
  EXPECT_THAT(with([](Record& r) { r.envelope = "x"; }), HasSubstr("the envelope is"));
  const std::string bytes = encode_record(record);
  for (std::size_t size = 1; size < bytes.size(); size += 7)
    EXPECT_NE(error(bytes.substr(0, size)), "decoded");
}

// A frame of the journal takes 65,535 bytes: whatever check_event() lets pass must fit.
TEST_F(RecordTest, TheLargestEventFitsIntoAFrame) {
  const EventLimits limits = EventLimits::widest();
  Event event = full_event();
  for (std::string* name :
       {&event.tenant, &event.actor.type, &event.actor.id, &event.actor.auth_method, &event.actor.address,
        &event.actor.on_behalf_of, &event.object.type, &event.object.id, &event.request_id, &event.subject}) {
    name->assign(limits.name_bytes_max, 'x');
  }
  event.reason.assign(limits.reason_bytes_max, 'x');
  event.action = "x." + std::string(98, 'a');
  for (const Group group : sensitive_groups)
    event.group(group) = std::string(limits.groups_bytes_max / 4, '1');
  ASSERT_TRUE(check_event(event, limits).has_value());
  EXPECT_LE(encode_record(seal_event(event, find_action(event.action).value(), key)).size(), 65'535u);
}

TEST(CheckEvent, NamesTheFieldThatIsWrong) {
  const auto with = [](auto change) {
    Event event = full_event();
    change(event);
    const auto checked = check_event(event, {});
    return checked ? "good" : checked.error().message;
  };
  EXPECT_EQ(with([](Event&) {}), "good");
  EXPECT_EQ(with([](Event& e) { e.id = Uuid{}; }), "/id: must be a UUID of version 7 (RFC 9562)");
  EXPECT_THAT(with([](Event& e) { e.time += 11min; }), HasSubstr("/time: its time must lie between"));
  EXPECT_THAT(with([](Event& e) { e.time -= 31 * 24h; }), HasSubstr("/time: its time must lie between"));
  EXPECT_THAT(with([](Event& e) { e.id = make_uuid7({}, 0, 0); }), HasSubstr("/id: its time"));
  EXPECT_EQ(with([](Event& e) { e.tenant = ""; }), "/tenant: is missing");
  EXPECT_EQ(with([](Event& e) { e.actor.type = ""; }), "/actor/type: is missing");
  EXPECT_EQ(with([](Event& e) { e.actor.id = ""; }), "/actor/id: is missing");
  EXPECT_EQ(with([](Event& e) { e.object.type = ""; }), "/object/type: is missing");
  EXPECT_EQ(with([](Event& e) { e.object.id = ""; }), "/object/id: is missing");
  EXPECT_EQ(with([](Event& e) { e.actor.address = "\x7f"; }),
            "/actor/address: must not hold control characters");
  EXPECT_EQ(with([](Event& e) { e.reason = "a\nb"; }), "/reason: must not hold control characters");
  EXPECT_EQ(with([](Event& e) { e.subject = "\xff"; }), "/subject: must be UTF-8");
  EXPECT_EQ(with([](Event& e) { e.request_id = std::string(201, 'x'); }),
            "/request_id: must be a text of at most 200 bytes, not of 201");
  EXPECT_THAT(with([](Event& e) { e.action = "Nope"; }), HasSubstr("/action: must be words"));
  EXPECT_EQ(with([](Event& e) { e.outcome = Outcome{0}; }), "/outcome: is not an outcome");
  for (const char* bad : {"00000000000000000000000000000000", "0AF7651916cd43dd8448eb211c80319c", "0af7"}) {
    EXPECT_THAT(with([&](Event& e) { e.trace_id = bad; }), HasSubstr("/trace_id: must be 32")) << bad;
  }
  EXPECT_THAT(with([](Event& e) { e.group(Group::tool) = std::string(49 << 10, '1'); }),
              HasSubstr("/tool: the field groups have more than 49152 bytes together"));
  EXPECT_EQ(with([](Event& e) { e.group(Group::details) = "\"\xff\""; }), "/details: must be UTF-8");
  EXPECT_EQ(with([](Event& e) { e.group(Group::details) = "[\n]"; }), "/details: must be one line");
}

TEST(EventNames, AreReadBack) {
  for (const Outcome outcome : {Outcome::success, Outcome::failure, Outcome::denied, Outcome::unknown}) {
    EXPECT_EQ(parse_outcome(to_string(outcome)), outcome);
  }
  EXPECT_EQ(parse_outcome("Success"), std::nullopt);
  EXPECT_EQ(to_string(Group::envelope), "envelope");
  EXPECT_EQ(to_string(Group{9}), "?");
}

TEST(JournalRange, OneRangeHasOneText) {
  const JournalRange range{testing_id(1), 3, 17, 20};
  EXPECT_EQ(to_string(range), testing_id(1).to_string() + "/3/17-20");
  EXPECT_EQ(parse_journal_range(to_string(range)), range);
  const JournalPosition position{testing_id(1), 3, 20};
  EXPECT_EQ(parse_journal_position(to_string(position)), position);
  const std::string id = testing_id(1).to_string();
  std::string upper = id;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  for (const std::string& bad :
       {std::string(), id, id + "/", id + "/3", id + "/3/17", id + "/3/17-", id + "/3/20-17", id + "/3/0-1",
        id + "/03/17-20", id + "/3/17-20 ", id + "/3/+17-20", id + "/3/1-99999999999999999999",
        upper + "/3/17-20", "x" + id.substr(1) + "/3/17-20", id + "-3/17-20"}) {
    EXPECT_EQ(parse_journal_range(bad), std::nullopt) << bad;
  }
  for (const std::string& bad :
       {id + "/3/", id + "/3/017", id + "/3/17-20", id + "/3", std::string("/3/17")}) {
    EXPECT_EQ(parse_journal_position(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace citadel::audit
