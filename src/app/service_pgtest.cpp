// The daemon's parts together, with real servers, asked by HTTP.
#include "app/service.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "aio/gate.hpp"
#include "aio/run.hpp"
#include "aio/wait.hpp"
#include "http/client.hpp"
#include "store/migrated_testing.hpp"
#include "support/servers.hpp"

namespace citadel::app {
namespace {

using namespace std::chrono_literals;
using http::Method;
using testing::HasSubstr;

Deadline soon() {
  return Deadline::after(30s);
}

class ServiceTest : public testing::Test {
 protected:
  explicit ServiceTest(support::Servers& servers = support::shared_servers()) : servers_(servers) {}
  void SetUp() override {
    config_.http.listen = {"127.0.0.1", 0};
    config_.database.host = servers_->pooled().host;
    config_.database.port = servers_->pooled().port;
    config_.database.name = name_;
    config_.database.password_file.value = servers_->app_password();
    config_.database.application_name = name_;
    config_.pool.size_min = 2;
    config_.journal.folder = folder_ / "journal";
    config_.access.pepper_file = folder_ / "access.pepper";
    config_.drain.interval = 1ms;
    config_.runtime.threads = 2;
    config_.audit.enabled = false;  // tests/system/audit_test.py has it on
  }

  void start() {
    auto started = Service::start(config_, key_, std::nullopt, soon());
    ASSERT_TRUE(started) << started.error().to_string();
    service_ = *std::move(started);
    auto options = http::parse_url(service_->url());
    ASSERT_TRUE(options);
    options->api_key = key_;
    client_options_ = *options;
    ASSERT_TRUE(becomes([&] { return status().at("readiness").at("status") == "ready"; }));
  }
  void TearDown() override {
    if (service_) EXPECT_TRUE(service_->stop(soon()));
  }

  template <class T>
  T run(Task<T> task) {
    return aio::run(context_, std::move(task));
  }
  http::ClientResponse ask(Method method, std::string target, std::string body = {}) {
    http::Client client(context_.get_executor(), client_options_);
    std::vector<http::Parameter> headers;
    if (!body.empty()) headers.push_back({"Content-Type", "application/json"});
    auto answer = run(client.request(method, std::move(target), std::move(headers), std::move(body), soon()));
    EXPECT_TRUE(answer) << answer.error().to_string();
    return answer ? *std::move(answer) : http::ClientResponse{};
  }
  boost::json::value status() { return boost::json::parse(ask(Method::get, "/v1/status").body); }
  std::string metrics() { return ask(Method::get, "/metrics").body; }
  static std::int64_t number(const boost::json::value& value) { return value.to_number<std::int64_t>(); }
  static bool becomes(const std::function<bool()>& condition) {
    for (const auto deadline = soon(); !deadline.expired();) {
      if (condition()) return true;
    }
    return false;
  }
  // Posts a record and waits until the database has it.
  std::string stored_record() {
    const auto posted =
        ask(Method::post, "/v1/requests", R"({"model":"m","prompt_tokens":1,"completion_tokens":2})");
    EXPECT_EQ(posted.status, 202) << posted.body;
    std::string id(boost::json::parse(posted.body).at("ids").at(0).as_string());
    EXPECT_TRUE(becomes([&] { return ask(Method::get, "/v1/requests/" + id).status == 200; }));
    return id;
  }
  support::Servers& servers_;
  const std::string name_ = store::migrated_database(servers_);
  const support::TempFolder folder_{"service"};
  const Secret key_{"citadel_admin_of_this_test_only_0123456789"};
  asio::io_context context_{1};
  Config config_;
  http::ClientOptions client_options_;
  std::unique_ptr<Service> service_;
};

// tests/system/access_test.py has two daemons, and the database away.
TEST_F(ServiceTest, AKeyIsMadeLetInAsItsRoleMayAndRevoked) {
  start();
  EXPECT_EQ(ask(Method::post, "/v1/tenants", R"({"name":"acme"})").status, 201);
  const auto made_principal =
      ask(Method::post, "/v1/principals", R"({"name":"ada","role":"reader","tenant":"default"})");
  EXPECT_EQ(made_principal.status, 201) << made_principal.body;
  const auto made = ask(Method::post, "/v1/keys", R"({"principal":"ada"})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(made.headers.get("Cache-Control"), "no-store");
  const auto key = boost::json::parse(made.body);
  EXPECT_THAT(ask(Method::get, "/v1/keys").body,
              testing::Not(HasSubstr(std::string(key.at("key").as_string()))));

  const auto admin = std::exchange(client_options_.api_key, Secret(std::string(key.at("key").as_string())));
  EXPECT_EQ(ask(Method::get, "/v1/usage").status, 200);
  const auto refused = ask(Method::post, "/v1/keys", R"({"principal":"ada"})");
  EXPECT_EQ(refused.status, 403);
  EXPECT_THAT(refused.body, HasSubstr("the role reader may not call POST /v1/keys"));
  const auto reader = std::exchange(client_options_.api_key, admin);
  const auto revoke = "/v1/keys/" + std::string(key.at("id").as_string()) + "/revoke";
  const auto revoked = ask(Method::post, revoke, "{}");
  EXPECT_EQ(revoked.status, 200) << revoked.body;
  EXPECT_EQ(ask(Method::post, revoke, "{}").status, 409);
  client_options_.api_key = reader;
  const auto ended = ask(Method::get, "/v1/usage");
  EXPECT_EQ(ended.status, 401);
  EXPECT_THAT(ended.body, HasSubstr("this key was revoked"));
  client_options_.api_key = admin;
}

TEST_F(ServiceTest, ManyWhoReadOneRecordEachShareQueriesAndHaveTheirOwnAnswers) {
  start();
  const std::string id = stored_record();
  const auto before = status().at("database");
  int good = 0, absent = 0;
  run([&]() -> Task<bool> {
    aio::Gate clients(context_.get_executor());
    const auto read = [&](bool there) -> Task<> {
      http::Client client(context_.get_executor(), client_options_);
      const auto answer = co_await client.request(
          Method::get, "/v1/requests/" + (there ? id : "019a0000-0000-7000-8000-000000000000"), {}, "",
          soon());
      EXPECT_TRUE(answer) << answer.error().to_string();
      if (answer && answer->status == 200 && answer->body.find(id) != std::string::npos) ++good;
      if (answer && answer->status == 404) ++absent;
    };
    for (int i = 0; i < 200; ++i) clients.spawn("read", read(i % 4 != 0));
    co_return (co_await clients.drain(soon())).has_value();
  }());
  EXPECT_EQ(good, 150);
  EXPECT_EQ(absent, 50);
  const auto after = status().at("database");
  EXPECT_EQ(number(after.at("point_reads_total")) - number(before.at("point_reads_total")), 200);
  EXPECT_LT(number(after.at("point_read_queries_total")) - number(before.at("point_read_queries_total")),
            200);
  EXPECT_EQ(ask(Method::get, "/v1/requests/not-an-id").status, 400);
  EXPECT_THAT(metrics(), HasSubstr("citadel_point_reads_total "));
}

// Servers that a test may restart.
struct OwnServers {
  support::Servers own{{.pgpool_children = 40}};
};
class PlannedRestart : OwnServers, public ServiceTest {
 protected:
  PlannedRestart() : ServiceTest(own) {}
};

TEST_F(PlannedRestart, APausedPoolHasNoSessionAndItsCallersWaitUntilItIsResumed) {
  config_.http.request_timeout = 3s;  // enough for a login on a machine that has much to do
  start();
  const std::string id = stored_record();
  for (int i = 0; i < 2; ++i) {  // twice is as good as once
    const auto paused = ask(Method::post, "/v1/pool/pause");
    EXPECT_EQ(paused.status, 200);
    EXPECT_EQ(boost::json::parse(paused.body).at("paused"), true) << paused.body;
    EXPECT_EQ(number(boost::json::parse(paused.body).at("open")), 0) << paused.body;
  }
  EXPECT_THAT(ask(Method::get, "/readyz").body, HasSubstr("\"degraded\""));
  EXPECT_THAT(ask(Method::get, "/readyz").body, HasSubstr("pool is paused"));
  EXPECT_THAT(metrics(), HasSubstr("citadel_pool_paused 1"));
  const auto refused = ask(Method::get, "/v1/usage");
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body, HasSubstr("the pool is paused"));
  EXPECT_EQ(
      ask(Method::post, "/v1/requests", R"({"model":"m","prompt_tokens":1,"completion_tokens":2})").status,
      202);
  EXPECT_EQ(status().at("database").at("breaker").at("state"), "closed");

  // PostgreSQL is restarted meanwhile. Who asked before the pool was resumed is served.
  ASSERT_TRUE(servers_->stop(local::Server::postgres, soon()));
  ASSERT_TRUE(servers_->start(local::Server::postgres, soon()));
  run([&]() -> Task<bool> {
    aio::Gate clients(context_.get_executor());
    int answered = 0;
    const auto read = [&]() -> Task<> {
      http::Client client(context_.get_executor(), client_options_);
      const auto answer = co_await client.request(Method::get, "/v1/requests/" + id, {}, "", soon());
      answered = answer ? answer->status : -1;
    };
    clients.spawn("read", read());
    // sleep: time for the read to wait; too short a time could only hide a fault
    co_await aio::sleep_for(50ms);
    EXPECT_EQ(answered, 0);
    http::Client client(context_.get_executor(), client_options_);
    const auto resumed = co_await client.request(Method::post, "/v1/pool/resume", {}, "", soon());
    EXPECT_TRUE(resumed && resumed->status == 200);
    EXPECT_TRUE(co_await clients.drain(soon()));
    EXPECT_EQ(answered, 200);
    co_return true;
  }());
  EXPECT_TRUE(becomes([&] { return number(status().at("journal").at("undrained_records")) == 0; }));
  EXPECT_EQ(number(status().at("database").at("pool").at("generation")), 2);
  EXPECT_EQ(number(status().at("database").at("retries_total")), 0)
      << "somebody met a session of the time before";
  client_options_.api_key = Secret("not the key");
  EXPECT_EQ(ask(Method::post, "/v1/pool/pause").status, 401);
}

TEST_F(ServiceTest, TheBreakersModeIsReloadedAndWhatItWouldHaveDoneIsSeen) {
  config_.breaker.calls_min = 1;
  config_.breaker.failures_in_row = 1;
  config_.breaker.failing_for = 0ms;
  config_.pool.size_max = 2;
  config_.retry.attempts_max = 1;
  start();
  const auto reload = [&](BreakerMode mode) {
    config_.breaker.mode = mode;
    service_->reload(config_);
    return std::string(status().at("database").at("breaker").at("state").as_string());
  };
  EXPECT_EQ(reload(BreakerMode::forced_open), "forced_open");
  EXPECT_EQ(ask(Method::get, "/v1/usage").status, 503);
  EXPECT_GT(number(status().at("database").at("breaker").at("refused_total")), 0);
  EXPECT_EQ(reload(BreakerMode::forced_closed), "forced_closed");
  EXPECT_EQ(ask(Method::get, "/v1/usage").status, 200);
  EXPECT_EQ(reload(BreakerMode::observe_only), "observe_only");
  EXPECT_EQ(number(status().at("database").at("breaker").at("would_open_total")), 0);
  servers_.sql_as_superuser(fmt::format(
      "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = '{}'", name_));
  ask(Method::get, "/v1/usage");  // finds a dead session
  EXPECT_GT(number(status().at("database").at("breaker").at("would_open_total")), 0);
  EXPECT_THAT(metrics(), testing::Not(HasSubstr("citadel_breaker_would_open_total 0\n")));
  EXPECT_EQ(status().at("database").at("breaker").at("state"), "observe_only");
  EXPECT_EQ(reload(BreakerMode::normal), "closed");
  EXPECT_EQ(ask(Method::get, "/v1/usage").status, 200);
}

TEST_F(ServiceTest, WhatIsCountedIsSeenInStatusAndMetrics) {
  start();
  stored_record();
  EXPECT_TRUE(
      becomes([&] { return status().at("drain").at("batch_seconds_total").to_number<double>() > 0; }));
  const auto shown = status();
  EXPECT_GE(number(shown.at("database").at("pool").at("reprepared_total")), 0);
  EXPECT_GE(number(shown.at("journal").at("shed_total")), 0);
  EXPECT_GE(number(shown.at("drain").at("replayed_total")), 0);
  const std::string page = metrics();
  for (const std::string_view name :
       {"citadel_pool_reprepared_total", "citadel_pool_generation 1", "citadel_journal_shed_total",
        "citadel_drain_replayed_total", "citadel_drain_batch_seconds_total"}) {
    EXPECT_THAT(page, HasSubstr(std::string("\n") + std::string(name)));
  }
}

}  // namespace
}  // namespace citadel::app
