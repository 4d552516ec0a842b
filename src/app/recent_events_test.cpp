#include "app/recent_events.hpp"

#include <gtest/gtest.h>

#include "audit/audit_testing.hpp"

namespace citadel::app {
namespace {

using Seen = RecentEvents::Seen;

crypto::Digest digest(std::string_view text) {
  return crypto::sha256(as_bytes(text));
}

TEST(RecentEvents, ARepeatIsToldFromOtherContent) {
  RecentEvents recent(10);
  const Uuid id = audit::testing_id(1);
  EXPECT_EQ(recent.add(id, digest("a")).seen, Seen::never);
  const auto under_way = recent.add(id, digest("a"));
  EXPECT_EQ(under_way.seen, Seen::same);
  EXPECT_FALSE(under_way.position) << "not acknowledged yet: the caller must not be told that it is";
  recent.set_durable(id, {1, 7});
  EXPECT_EQ(recent.add(id, digest("a")).position, (journal::Position{1, 7}));
  EXPECT_EQ(recent.add(id, digest("b")).seen, Seen::other);
}

TEST(RecentEvents, WhatWasNotStoredIsForgottenAndWhatWasStays) {
  RecentEvents recent(10);
  const Uuid id = audit::testing_id(1);
  (void)recent.add(id, digest("a"));
  recent.forget(id);
  EXPECT_EQ(recent.add(id, digest("b")).seen, Seen::never);
  recent.set_durable(id, {1, 1});
  recent.forget(id);
  EXPECT_EQ(recent.add(id, digest("b")).seen, Seen::same);
}

TEST(RecentEvents, TheOldestGoFirst) {
  RecentEvents recent(3);
  for (std::uint64_t i = 1; i <= 4; ++i) (void)recent.add(audit::testing_id(i), digest("a"));
  EXPECT_EQ(recent.add(audit::testing_id(4), digest("a")).seen, Seen::same);
  EXPECT_EQ(recent.add(audit::testing_id(1), digest("a")).seen, Seen::never);
}

TEST(ContentDigest, DependsOnAllButWhenItWasReceived) {
  const auto event = audit::full_event();
  auto other = event;
  other.received_at += std::chrono::hours(1);
  EXPECT_EQ(content_digest(event), content_digest(other));
  other = event;
  other.reason += "x";
  EXPECT_NE(content_digest(event), content_digest(other));
  other = event;
  other.group(audit::Group::tool) = "18";
  EXPECT_NE(content_digest(event), content_digest(other));
}

}  // namespace
}  // namespace citadel::app
