#include "app/audit_answers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "audit/audit_testing.hpp"
#include "audit/catalogue.hpp"
#include "audit/record_codec.hpp"
#include "json/parse.hpp"

namespace citadel::app {
namespace {

const crypto::AesGcmKey key = crypto::AesGcmKey::generate();

audit::EntryView entry_of(const audit::Event& event) {
  const auto record = audit::seal_event(event, *audit::find_action(event.action), key);
  audit::EntryView entry;
  entry.index = 7;
  entry.leaf = record.leaf(Uuid{{1}}, 1, 8, event.time);
  entry.leaf_bytes = audit::encode_leaf(entry.leaf);
  entry.received_at = event.received_at;
  audit::Event shown = event;
  shown.groups = {};
  entry.envelope = audit::EntryView::Envelope{record.envelope_salt, record.envelope, shown};
  for (const auto& group : record.groups) {
    entry.groups.push_back(
        {.group = group.group,
         .opened =
             audit::open_group(event.id, group.group, group.ciphertext, record.wrapped_key, key).value()});
  }
  return entry;
}

boost::json::value parsed(const std::string& text) {
  return json::parse(text, {}).value();
}

TEST(AuditAnswers, AnEntryShowsItsGroupsOnlyWhereTheyWereOpened) {
  auto entry = entry_of(audit::full_event());
  const auto open = parsed(entry_json(entry));
  EXPECT_EQ(open.at("index"), 7);
  EXPECT_EQ(open.at("event").at("tool"), 17);
  EXPECT_EQ(open.at("groups").at(0).at("state"), "open");
  for (auto& group : entry.groups) group.opened.reset();
  entry.groups.back().erased = true;
  const auto sealed = parsed(entry_json(entry));
  EXPECT_FALSE(sealed.at("event").as_object().contains("tool"));
  EXPECT_EQ(sealed.at("groups").at(0).at("state"), "sealed");
  EXPECT_EQ(sealed.at("groups").at(3).at("state"), "erased");
}

TEST(AuditAnswers, AnErasedEntryStillHasItsLeaf) {
  auto entry = entry_of(audit::minimal_event());
  entry.envelope.reset();
  const auto shown = parsed(entry_json(entry));
  EXPECT_FALSE(shown.as_object().contains("event"));
  EXPECT_TRUE(shown.as_object().contains("leaf"));
}

// The line is one that the verifier reads.
TEST(AuditAnswers, AnExportLineIsReadAgain) {
  auto entry = entry_of(audit::full_event());
  entry.index = 0;
  std::string lines;
  audit::append_export_header(lines, {.origin = "example.com/log", .size = 1, .before = {}});
  ASSERT_TRUE(append_export_line(lines, entry));
  audit::append_export_checkpoint(lines, "note\n");
  std::size_t groups = 0;
  audit::ExportReader reader({.on_header = [](const audit::ExportHeader&) { return Result<void>(); },
                              .on_entry = [&](const audit::ExportedEntry& read) -> Result<void> {
                                EXPECT_EQ(read.leaf, entry.leaf_bytes);
                                groups = read.groups.size();
                                return {};
                              }});
  const auto fed = reader.feed(lines);
  ASSERT_TRUE(fed) << fed.error().message;
  EXPECT_EQ(groups, 4u);
}

}  // namespace
}  // namespace citadel::app
