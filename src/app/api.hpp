// Api: the HTTP API's routes and handlers. Handlers run on the executor of their connection; what belongs to
// the data plane is asked for there by aio::run_on.
#pragma once
#include <functional>
#include <memory>

#include "access/keyring.hpp"
#include "aio/gate.hpp"
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
#include "usage/request_reader.hpp"

namespace citadel::app {

// What handlers need; all of it outlives the server.
struct ApiContext {
  store::Database& database;
  usage::RequestReader& requests;  // on the data plane's executor only
  journal::Journal& journal;
  AuditTrail* audit;  // none: there is no audit trail
  access::Keyring& keyring;
  telemetry::Metrics& metrics;
  ServiceMetrics& service_metrics;
  const Clock& clock;
  const Config& config;                // as started
  std::function<Snapshot()> snapshot;  // on the data plane's executor only
  std::function<const http::ServerStats&()> server_stats;
  std::function<UsageConfig()> usage;  // as reloaded; from any thread
  std::optional<Outage> outage;        // only with private servers
  aio::Gate& verifications;            // on the data plane
};

http::Router make_router(std::shared_ptr<const ApiContext> context);

// The parts of make_router, one a file.
void add_health_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_verify_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_pool_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_access_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_authorization_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_request_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
// Only where there is an audit trail.
void add_audit_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_audit_event_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_audit_proof_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_audit_lifecycle_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_audit_read_routes(http::Router& router, std::shared_ptr<const ApiContext> context);
void add_tlog_routes(http::Router& router, std::shared_ptr<const ApiContext> context);

// What several of them use.
Result<json::BodyForm> body_form(std::string_view content_type);
// The answer to a read that failed with `error`. What the database says of its own schema and rights is the
// operator's business, not the client's: a missing table or grant must not look like a missing record or a
// key without rights. Whatever the client is not told stands in the log, under the request's id.
http::Response read_problem(const http::Request& request, const Error& error);
// Its first part: what the client is told where the database refused a query of ours, which is logged here.
std::optional<http::Problem> refused_query(const http::Request& request, const Error& error);

}  // namespace citadel::app
