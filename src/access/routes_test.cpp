#include "access/routes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace citadel::access {
namespace {

using testing::HasSubstr;

std::string says(Role role, std::string_view tenant, std::string_view method, std::string_view pattern) {
  const auto may = check_call(role, tenant, method, pattern);
  return may ? "ok" : std::string(to_string(may.error().code)) + ": " + may.error().message;
}

TEST(Role, NamesReadBack) {
  for (const Role role : all_roles) EXPECT_EQ(parse_role(to_string(role)), role);
  EXPECT_EQ(parse_role("root"), std::nullopt);
  EXPECT_EQ(parse_role(""), std::nullopt);
}

TEST(Routes, ARouteStandsInTheTableOnce) {
  std::set<std::string> seen;
  for (const auto& rule : route_rules())
    EXPECT_TRUE(seen.insert(std::string(rule.method) + " " + std::string(rule.pattern)).second)
        << rule.pattern;
}

TEST(Routes, WhatIsNotInTheTableIsRefusedForEverybody) {
  for (const Role role : all_roles)
    EXPECT_EQ(says(role, "default", "GET", "/v1/new"), "permission_denied: no role may call GET /v1/new");
  EXPECT_THAT(says(Role::admin, "default", "DELETE", "/v1/keys"), HasSubstr("no role may call"));
}

TEST(Routes, AdminMayCallEachOfThem) {
  for (const auto& rule : route_rules())
    EXPECT_EQ(says(Role::admin, "default", rule.method, rule.pattern), "ok") << rule.pattern;
}

TEST(Routes, OtherRolesMayCallWhatIsTheirs) {
  EXPECT_EQ(says(Role::gateway, "default", "POST", "/v1/requests"), "ok");
  EXPECT_EQ(says(Role::reader, "default", "POST", "/v1/requests"),
            "permission_denied: the role reader may not call POST /v1/requests");
  EXPECT_EQ(says(Role::auditor, "default", "GET", "/v1/audit/export"), "ok");
  EXPECT_THAT(says(Role::operator_, "default", "GET", "/v1/audit/export"), HasSubstr("permission_denied"));
}

// Who must not: they are the keys to all others.
TEST(Routes, AdminAloneMakesKeysAndErases) {
  for (const Role role : all_roles) {
    for (const std::string_view route :
         {"/v1/keys", "/v1/keys/{id}/rotate", "/v1/keys/{id}/revoke", "/v1/principals", "/v1/tenants",
          "/v1/audit/erasures", "/v1/audit/holds/{id}/release", "/v1/audit/accept-fork"}) {
      EXPECT_EQ(says(role, "default", "POST", route) == "ok", role == Role::admin) << route;
    }
  }
}

TEST(Routes, ATenantsOwnReachWhatIsTheTenantsAlone) {
  for (const auto& rule : route_rules()) {
    const auto told = says(Role::admin, "acme", rule.method, rule.pattern);
    if (rule.reach == Reach::installation) {
      EXPECT_THAT(told, HasSubstr("permission_denied: ")) << rule.pattern;
      EXPECT_THAT(told, HasSubstr("of all tenants")) << rule.pattern;
    } else {
      EXPECT_EQ(told, "ok") << rule.pattern;
    }
  }
}

}  // namespace
}  // namespace citadel::access
