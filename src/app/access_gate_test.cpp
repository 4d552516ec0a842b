#include "app/access_gate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "access/routes.hpp"
#include "app/api.hpp"
#include "app/audit_secrets.hpp"
#include "app/settings.hpp"
#include "base/file.hpp"

namespace citadel::app {
namespace {

using access::Reach;
using access::Role;
using testing::HasSubstr;

// What the routes are made of, none of it started.
class Parts {
 public:
  Parts() {
    char name[] = "/tmp/citadel-gate-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    config_.journal.folder = folder_ / "journal";
    config_.audit.signing_key_file = folder_ / "signing.key";
    config_.audit.master_key_file = folder_ / "master.key";
    config_.audit.checkpoint_folder = folder_ / "checkpoint";
    config_.audit.journal_folder = folder_ / "audit-journal";
    EXPECT_TRUE(make_audit_secrets(config_.audit, "test.local/audit"));
    audit_ = *AuditTrail::open(config_, *load_audit_secrets(config_.audit), system_clock());
    journal_ = *journal::Journal::open(journal_options(config_), system_clock());
  }
  ~Parts() {
    audit_.reset();
    journal_.reset();
    std::filesystem::remove_all(folder_);
  }
  http::Router router() {
    return make_router(std::make_shared<ApiContext>(ApiContext{database_,
                                                               requests_,
                                                               *journal_,
                                                               audit_.get(),
                                                               keyring_,
                                                               metrics_,
                                                               service_metrics_,
                                                               system_clock(),
                                                               config_,
                                                               {},
                                                               {},
                                                               {},
                                                               {},
                                                               gate_}));
  }

 private:
  std::filesystem::path folder_;
  Config config_;
  asio::io_context context_{1};
  store::Database database_{context_.get_executor(), database_options(config_), system_clock(), 1};
  aio::Gate gate_{context_.get_executor()};
  usage::RequestReader requests_{database_, gate_};
  std::unique_ptr<journal::Journal> journal_;
  std::unique_ptr<AuditTrail> audit_;
  access::Keyring keyring_{access::Pepper(Secret("the pepper of this test, which is long")), system_clock(),
                           std::chrono::hours(1)};
  telemetry::Metrics metrics_;
  ServiceMetrics service_metrics_{metrics_};
};

class AccessGateTest : public testing::Test {
 protected:
  std::string key_of(Role role, std::string tenant) {
    const auto key = access::make_key();
    keys_.push_back({.tenant_id = tenant == access::operators_tenant ? 1 : 2,
                     .tenant = std::move(tenant),
                     .principal = std::string(to_string(role)),
                     .role = role,
                     .prefix = key.prefix,
                     .hash = keyring_.pepper().hash(key.text.reveal())});
    keyring_.replace(keyring_.begin_refresh(), clock_.monotonic(), ++revision_, false, keys_);
    return key.text.reveal();
  }
  Result<void> ask(std::string_view key, const http::Route& route) {
    request_.clear();
    return let_in(admin_key_, keyring_, key, route, request_);
  }
  int status(std::string_view key, const http::Route& route) {
    const auto may = ask(key, route);
    return may ? 200 : http::status_of(may.error().code);
  }

  Parts parts_;
  const http::Router router_ = parts_.router();
  const Secret admin_key_{"citadel_admin_of_this_test_only_0123456789"};
  ManualClock clock_;
  access::Keyring keyring_{access::Pepper(Secret("the pepper of this test, which is long")), clock_,
                           std::chrono::minutes(10)};
  std::vector<access::KeyRecord> keys_;
  std::int64_t revision_ = 0;
  http::Request request_;
};

// A route that is new needs a line in the table, and one that goes leaves none behind.
TEST_F(AccessGateTest, TheTableHasEachRouteOfTheRouterAndNoOther) {
  std::vector<std::string> ours, listed;
  for (const auto* route : router_.routes()) {
    ours.push_back(fmt::format("{} {}", to_string(route->method), route->pattern));
    const auto* const rule = access::find_rule(to_string(route->method), route->pattern);
    if (rule) EXPECT_EQ(rule->reach == Reach::open, route->options.auth == http::Auth::none) << ours.back();
  }
  for (const auto& rule : access::route_rules())
    listed.push_back(fmt::format("{} {}", rule.method, rule.pattern));
  EXPECT_THAT(ours, testing::UnorderedElementsAreArray(listed));
}

TEST_F(AccessGateTest, TheDocumentsTableIsThis) {
  const auto text = read_file(CITADEL_SOURCE_FOLDER "/docs/security.md", 1 << 20);
  ASSERT_TRUE(text) << text.error().to_string();
  for (const auto& rule : access::route_rules()) {
    std::string row = fmt::format("\n| `{} {}` | {} |", rule.method, rule.pattern,
                                  rule.reach == Reach::open     ? "no key"
                                  : rule.reach == Reach::tenant ? "tenant"
                                                                : "installation");
    for (const Role role : access::all_roles)
      row += rule.reach != Reach::open && rule.allows(role) ? " yes |" : " |";
    EXPECT_THAT(*text, HasSubstr(row + "\n"));
  }
  std::size_t rows = 0;
  for (std::size_t at = 0; (at = text->find("\n| `", at)) != std::string::npos; ++at) ++rows;
  EXPECT_EQ(rows, access::route_rules().size());
}

TEST_F(AccessGateTest, EachRoleGetsWhatTheTableSaysOnEachRoute) {
  for (const Role role : access::all_roles) {
    const auto operators = key_of(role, "default"), tenants = key_of(role, "acme");
    for (const auto* route : router_.routes()) {
      const auto* const rule = access::find_rule(to_string(route->method), route->pattern);
      ASSERT_TRUE(rule) << route->pattern;
      EXPECT_EQ(status(operators, *route), rule->allows(role) ? 200 : 403)
          << to_string(role) << ' ' << route->pattern;
      EXPECT_EQ(request_.principal, fmt::format("default/{}", to_string(role)));
      EXPECT_EQ(request_.role, to_string(role));
      EXPECT_EQ(request_.key, operators.substr(3, 8));
      EXPECT_EQ(status(tenants, *route), rule->allows(role) && rule->reach != Reach::installation ? 200 : 403)
          << to_string(role) << " of acme, " << route->pattern;
      EXPECT_EQ(request_.tenant, "acme");
      EXPECT_EQ(request_.tenant_id, 2);
    }
  }
}

TEST_F(AccessGateTest, TheAdminKeyMayCallAllAndNeedsNoDatabase) {
  for (const auto* route : router_.routes()) {
    EXPECT_EQ(status(admin_key_.reveal(), *route), 200) << route->pattern;
    EXPECT_EQ(request_.principal, "admin");
    EXPECT_EQ(request_.tenant, "default");
    EXPECT_EQ(request_.tenant_id, operators_tenant_id);
    EXPECT_EQ(request_.role, "admin");
    EXPECT_EQ(request_.key, "");
  }
}

TEST_F(AccessGateTest, WhatCannotBeKnownIs503AndWhatIsNotValid401) {
  const auto& route = *router_.routes().front();
  EXPECT_EQ(status("nonsense", route), 401);
  EXPECT_EQ(status(access::make_key().text.reveal(), route), 503);
  const auto key = key_of(Role::admin, "default");
  EXPECT_EQ(status(access::make_key().text.reveal(), route), 401);
  EXPECT_EQ(request_.principal, "");
  EXPECT_EQ(status(key, route), 200);
  clock_.advance(std::chrono::minutes(11));
  EXPECT_EQ(status(key, route), 503);
}

TEST_F(AccessGateTest, ARouteThatIsNotListedIsForNobody) {
  const http::Route route{http::Method::put, "/v1/keys", {}, {}};
  EXPECT_EQ(status(key_of(Role::admin, "default"), route), 403);
  EXPECT_EQ(status(admin_key_.reveal(), route), 403);
}

}  // namespace
}  // namespace citadel::app
