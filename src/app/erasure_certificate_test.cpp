#include "app/erasure_certificate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "audit/catalogue.hpp"
#include "audit/record_codec.hpp"
#include "base/time_text.hpp"
#include "crypto/sha256.hpp"
#include "tlog/note.hpp"

namespace citadel::app {
namespace {

using testing::HasSubstr;

// A log of one entry: the erasure.
class CertificateTest : public testing::Test {
 protected:
  void SetUp() override {
    erasure = {};
    proved = {};
    erasure.id =
        make_uuid7(std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(1)), 0, 7);
    erasure.at = *parse_time("2026-11-25T12:00:00Z");
    erasure.tenant = "acme";
    erasure.subject_digest = to_hex(crypto::sha256(as_bytes("ada")));
    erasure.reason = "article 17";
    erasure.erased_by = "key:admin";
    erasure.events = 3;
    erasure.groups = 6;
    erasure.keys = 1;
    audit::Event event;
    event.id = erasure.id;
    event.time = event.received_at = erasure.at;
    event.tenant = erasure.tenant;
    event.actor = {.type = "key", .id = "admin"};
    event.action = "audit.erasure";
    event.object = {"subject", erasure.subject_digest};
    event.reason = erasure.reason;
    event.group(audit::Group::details) =
        R"({"at":"2026-11-25T12:00:00+00:00","erased_by":"key:admin","keys":1,)"
        R"("events":3,"groups":6,"conflicts":0,"entries":[]})";
    const auto record = audit::seal_event(event, *audit::find_action(event.action), key);
    const auto leaf = record.leaf(erasure.id, 1, 1, event.time);
    proved.proof.leaf = audit::encode_leaf(leaf);
    proved.entry.envelope = {record.envelope_salt, record.envelope, event};
    proved.entry.groups.push_back(
        {audit::Group::details, audit::open_group(event.id, audit::Group::details,
                                                  record.groups[0].ciphertext, record.wrapped_key, key)
                                    .value()});
    const tlog::Checkpoint checkpoint{.origin = "example.com/audit",
                                      .size = 1,
                                      .root = tlog::leaf_hash(as_bytes(proved.proof.leaf)),
                                      .extensions = {}};
    proved.checkpoint = tlog::encode_note(tlog::sign_note(checkpoint.encode(), signer).value());
  }
  Result<CheckedCertificate> check(std::optional<std::string> subject = {}) {
    return check_text(erasure_certificate("example.com/audit", erasure, proved, ""), std::move(subject));
  }
  Result<CheckedCertificate> check_text(std::string_view text, std::optional<std::string> subject = {}) {
    return check_erasure_certificate(
        text,
        {.origin = "example.com/audit", .log_keys = {signer.verifier()}, .witnesses = {}, .witnesses_min = 0},
        subject);
  }

  crypto::AesGcmKey key = crypto::AesGcmKey::generate();
  tlog::NoteSigner signer = tlog::NoteSigner::generate("example.com/audit").value();
  audit::Erasure erasure;
  ProvedEntry proved;
};

TEST_F(CertificateTest, WhatTheSignedEntrySaysIsGood) {
  const auto checked = check("ada");
  ASSERT_TRUE(checked) << checked.error().to_string();
  EXPECT_EQ(checked->events, 3);
  EXPECT_EQ(checked->groups, 6);
  EXPECT_EQ(checked->size, 1u);
}

TEST_F(CertificateTest, WhatItDoesNotSayIsNamed) {
  const auto says = [&](std::string_view what) {
    const auto checked = check();
    ASSERT_FALSE(checked) << what;
    EXPECT_EQ(checked.error().code, Code::corrupt);
    EXPECT_THAT(checked.error().message, HasSubstr(what));
    SetUp();
  };
  erasure.events = 4;
  says("number of events");
  erasure.conflicts = 1;
  says("number of conflicts");
  erasure.dead_letters = 1;
  says("number of dead letters");
  erasure.tenant = "other";
  says("tenant");
  erasure.reason = "because";
  says("reason");
  erasure.at -= std::chrono::hours(24);
  says("time");
  erasure.erased_by = "key:other";
  says("erased_by");
  erasure.subject_digest = to_hex(crypto::sha256(as_bytes("bob")));
  says("subject");
  erasure.id = Uuid{};
  says("id");
  proved.entry.groups[0].opened->bytes = "{}";
  says("details");
  const auto text = erasure_certificate("example.com/audit", erasure, proved, "");
  auto forged = text;
  forged.replace(forged.find(R"("index":0)"), 9, R"("index":7)");
  const auto checked = check_text(forged);
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().message, HasSubstr("index"));
  EXPECT_THAT(check("bob").error().message, HasSubstr("another subject"));
}

TEST_F(CertificateTest, WithoutAProofItSaysWhereToGetOne) {
  const auto text = erasure_certificate("example.com/audit", erasure, std::nullopt, "later");
  const auto checked = check_erasure_certificate(
      text,
      {.origin = "example.com/audit", .log_keys = {signer.verifier()}, .witnesses = {}, .witnesses_min = 0},
      {});
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, Code::invalid_argument);
  EXPECT_THAT(checked.error().message, HasSubstr("citadel audit certificate"));
}

}  // namespace
}  // namespace citadel::app
