// Api: the HTTP API's routes and handlers. Handlers run on the executor of their connection; what belongs to the data
// plane is asked for there by aio::run_on.
#pragma once
#include <functional>
#include <memory>

#include "app/audit_trail.hpp"
#include "app/config.hpp"
#include "app/snapshot.hpp"
#include "app/verify.hpp"
#include "http/problem.hpp"
#include "http/router.hpp"
#include "journal/journal.hpp"
#include "json/body.hpp"
#include "store/database.hpp"
#include "telemetry/metrics.hpp"

namespace citadel::app {

// What handlers need; all of it outlives the server.
struct ApiContext {
  store::Database& database;
  journal::Journal& journal;
  AuditTrail* audit;  // none: there is no audit trail
  telemetry::Metrics& metrics;
  ServiceMetrics& service_metrics;
  const Clock& clock;
  const Config& config;                          // as started
  std::function<Snapshot()> snapshot;            // on the data plane's executor only
  std::function<const http::ServerStats&()> server_stats;
  std::function<UsageConfig()> usage;            // as reloaded; from any thread
  std::optional<Outage> outage;                  // only with private servers
};

http::Router make_router(std::shared_ptr<const ApiContext> context);

// The parts of make_router, one a file.
void add_health_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_verify_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_request_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
// Only where there is an audit trail.
void add_audit_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_audit_event_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_audit_proof_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_audit_read_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_tlog_routes(http::Router& router, std::shared_ptr<const ApiContext> context);

// What several of them use.
Result<json::BodyForm> body_form(std::string_view content_type);
// What the database says of its own schema and rights is the operator's business, not the client's: a missing
// table or grant must not look like a missing record or a key without rights. Parameters are checked before
// they reach it, so that it refuses one (class 22, for example) is a bug of ours.
http::Problem for_client(const Error& error);

}  // namespace citadel::app
