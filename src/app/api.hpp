// Api: the HTTP API's routes and handlers. Handlers run on the executor of their connection; what belongs to the data
// plane is asked for there by aio::run_on.
#pragma once
#include <functional>
#include <memory>

#include "aio/gate.hpp"
#include "app/config.hpp"
#include "app/snapshot.hpp"
#include "app/verify.hpp"
#include "http/router.hpp"
#include "journal/journal.hpp"
#include "store/database.hpp"
#include "telemetry/metrics.hpp"

namespace citadel::app {

// What handlers need; all of it outlives the server.
struct ApiContext {
  store::Database& database;
  journal::Journal& journal;
  telemetry::Metrics& metrics;
  ServiceMetrics& service_metrics;
  const Clock& clock;
  const Config& config;                          // as started
  std::function<Snapshot()> snapshot;            // on the data plane's executor only
  std::function<const http::ServerStats&()> server_stats;
  std::function<UsageConfig()> usage;            // as reloaded; from any thread
  std::optional<Outage> outage;                  // only with private servers
  aio::Gate& verifications;            // on the data plane
};

http::Router make_router(std::shared_ptr<const ApiContext> context);

// The parts of make_router, one a file.
void add_health_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_verify_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_request_routes(http::Router& router, std::shared_ptr<const ApiContext> context);

}  // namespace citadel::app
