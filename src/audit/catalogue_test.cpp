#include "audit/catalogue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace citadel::audit {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string error_of(std::string_view name) {
  const auto action = find_action(name);
  return action ? "found" : action.error().message;
}

TEST(Catalogue, NamesAreSortedUniqueAndWellFormed) {
  EXPECT_TRUE(std::ranges::is_sorted(catalogue(), {}, &Action::name));
  std::set<std::string_view> names;
  for (const Action& action : catalogue()) {
    EXPECT_TRUE(is_action_name(action.name)) << action.name;
    EXPECT_TRUE(names.insert(action.name).second) << action.name;
    EXPECT_FALSE(action.name.starts_with("x.")) << action.name;
    EXPECT_NE(to_string(action.action_class), "?") << action.name;
    EXPECT_NE(to_string(action.severity), "?") << action.name;
    EXPECT_NE(to_string(action.retention), "?") << action.name;
  }
}

TEST(Catalogue, WhatMustBeRecordedIsNeverShed) {
  for (const Action& action : catalogue()) {
    if (action.shed == journal::Class::critical) continue;
    EXPECT_EQ(action.action_class, ActionClass::use) << action.name;
    EXPECT_THAT(std::string(action.name), Not(HasSubstr("human"))) << action.name;
  }
  for (const char* name :
       {"human.override", "human.review", "auth.failure", "key.denied", "audit.gap", "role.grant"}) {
    EXPECT_EQ(find_action(name)->shed, journal::Class::critical) << name;
  }
}

TEST(Catalogue, WhatCarriesTheLoadIsShedFirst) {
  for (const Action& action : catalogue()) {
    if (action.name.starts_with("inference."))
      EXPECT_EQ(action.shed, journal::Class::sheddable) << action.name;
  }
}

TEST(Catalogue, TheTrailsOwnEntriesAndTheDatabasesAreTheDaemons) {
  for (const Action& action : catalogue()) {
    const bool own = action.name.starts_with("audit.") || action.name.starts_with("database.") ||
                     action.name.starts_with("migration.");
    EXPECT_EQ(action.recorder == Recorder::daemon, own) << action.name;
    EXPECT_EQ(action.action_class == ActionClass::audit, action.name.starts_with("audit.")) << action.name;
  }
}

TEST(Catalogue, HoldsWhatTheDesignNames) {
  for (const char* name :
       {"auth.success",      "auth.failure",        "key.create",         "key.denied",
        "role.grant",        "tenant.update",       "model.create",       "model_version.create",
        "alias.update",      "route.update",        "parameter.update",   "prompt.update",
        "config.change",     "inference.start",     "inference.complete", "inference.abort",
        "inference.error",   "human.override",      "audit.read",         "audit.searched",
        "audit.exported",    "audit.verified",      "audit.started",      "audit.stopped",
        "audit.gap",         "audit.retention_run", "audit.hold_placed",  "audit.hold_released",
        "audit.erasure",     "audit.key_rotated",   "audit.restored",     "audit.fork_accepted",
        "audit.id_conflict", "migration.apply",     "audit.journal_full", "database.insert",
        "database.update",   "database.delete",     "database.truncate"}) {
    EXPECT_TRUE(find_action(name).has_value()) << name;
  }
}

TEST(Catalogue, AnActionOfOnesOwnIsAUseOfTheStandardClass) {
  const auto action = find_action("x.billing.invoice_sent");
  ASSERT_TRUE(action.has_value());
  EXPECT_EQ(action->name, "x.billing.invoice_sent");
  EXPECT_EQ(action->action_class, ActionClass::use);
  EXPECT_EQ(action->retention, Retention::standard);
  EXPECT_EQ(action->recorder, Recorder::anyone);
}

TEST(Catalogue, AnUnknownActionIsRefusedWithTheNearest) {
  EXPECT_THAT(error_of("model.creates"), HasSubstr("did you mean \"model.create\"?"));
  EXPECT_EQ(error_of("nothing.like_it_at_all"), "is not a known action; one of your own begins with \"x.\"");
  for (const char* name : {"", "x.", "x", "x.A", "x..y", "x.y.", ".x.y", "x.y z", "x.\u00e9"}) {
    EXPECT_NE(error_of(name), "found") << name;
  }
  EXPECT_NE(error_of("x." + std::string(99, 'a')), "found");
  EXPECT_EQ(error_of("x." + std::string(98, 'a')), "found");
}

}  // namespace
}  // namespace citadel::audit
