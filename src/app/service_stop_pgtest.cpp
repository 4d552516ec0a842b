// The daemon as a whole, on servers of its own.
#include "app/service.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "aio/run.hpp"
#include "http/client.hpp"
#include "store/migrated_testing.hpp"
#include "support/servers.hpp"

namespace citadel::app {
namespace {

using namespace std::chrono_literals;

// A migrated database, and a configuration that leads to it.
class ServiceStopTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto name = store::migrated_database(servers_);
    auto config = parse_config("", "test", {{}, {}, false});
    ASSERT_TRUE(config);
    config_ = *std::move(config);
    config_.journal.folder = folder_.path() / "journal";
    config_.access.pepper_file = folder_.path() / "access.pepper";
    config_.http.listen = {"127.0.0.1", 0};
    config_.audit.enabled = false;
    config_.database.host = servers_->pooled().host;
    config_.database.port = servers_->pooled().port;
    config_.database.name = name;
    config_.database.user = local::app_role;
    config_.database.tls = TlsMode::disable;
    config_.database.password_file = {servers_->password_file(local::app_role), servers_->app_password()};
    config_.database_direct.host = servers_->direct().host;
    config_.database_direct.port = servers_->direct().port;
    config_.database_direct.tls = TlsMode::disable;
  }

  support::Servers& servers_ = support::shared_servers();
  const support::TempFolder folder_;
  Config config_;
};

TEST_F(ServiceStopTest, AStopWaitsForAVerificationThatHasStoppedPostgres) {
  const std::string key(40, 'k');
  std::latch stopping(1), go_on(1);
  std::atomic<bool> started_again = false;
  const Outage outage{[&]() -> Result<void> {
                        stopping.count_down();
                        go_on.wait();
                        return fail(Code::internal, "PostgreSQL is needed by other tests");
                      },
                      [&]() -> Result<void> {
                        started_again = true;
                        return {};
                      }};
  auto service = Service::start(config_, Secret(key), outage, Deadline::after(30s));
  ASSERT_TRUE(service) << service.error().to_string();
  std::jthread caller([&, url = (*service)->url()] {
    asio::io_context context;
    auto options = *http::parse_url(url);
    options.api_key = Secret(key);
    http::Client client(context.get_executor(), options);
    (void)aio::run(context, client.request(http::Method::post, "/v1/verify", {}, "", Deadline::after(120s)));
  });
  stopping.wait();
  std::jthread operation([&] {
    std::this_thread::sleep_for(12s);  // sleep: PostgreSQL takes longer to stop than the service may
    go_on.count_down();
  });
  // Records may be left in the journal after so short a time; what matters is who was waited for.
  (void)(*service)->stop(Deadline::after(200ms));
  EXPECT_TRUE(started_again);
}

}  // namespace
}  // namespace citadel::app
