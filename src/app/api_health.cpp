#include "aio/wait.hpp"
#include "app/api.hpp"
#include "app/api_query.hpp"
#include "app/service.hpp"
#include "http/problem.hpp"

namespace citadel::app {
namespace {

using http::Request;
using http::Response;

Task<Snapshot> take(std::shared_ptr<const ApiContext> context) {
  co_return context->snapshot();
}

Task<Snapshot> snapshot_of(std::shared_ptr<const ApiContext> context) {
  const auto executor = context->database.executor();
  co_return co_await aio::run_on(executor, take(std::move(context)));
}

// The process runs and answers; nothing else is asked.
Task<Response> get_health(Request&) {
  co_return Response::json(200, R"({"status":"alive"})");
}

Task<Response> get_readiness(std::shared_ptr<const ApiContext> context) {
  const auto all = dependencies(co_await snapshot_of(std::move(context)));
  co_return Response::json(takes_requests(all) ? 200 : 503, readiness_json(all));
}

Task<Response> get_status(std::shared_ptr<const ApiContext> context) {
  co_return Response::json(200, status_json(co_await snapshot_of(std::move(context)), version()));
}

Task<Response> get_metrics(std::shared_ptr<const ApiContext> context) {
  const auto snapshot = co_await snapshot_of(context);
  context->service_metrics.update(snapshot, context->server_stats());
  Response response;
  response.content_type = telemetry::exposition_content_type;
  response.body = context->metrics.render();
  co_return response;
}

}  // namespace

void add_health_routes(http::Router& router, std::shared_ptr<const ApiContext> context) {
  using http::Auth;
  using http::Method;
  const http::RouteOptions open{.auth = Auth::none};
  router.add(Method::get, "/healthz", {.auth = Auth::none, .waits = http::RouteOptions::Waits::no},
             without_query(get_health));
  router.add(Method::get, "/readyz", open,
             without_query([context](Request&) { return get_readiness(context); }));
  router.add(Method::get, "/v1/status", {},
             without_query([context](Request&) { return get_status(context); }));
  router.add(Method::get, "/metrics", {},
             without_query([context](Request&) { return get_metrics(context); }));
}

http::Router make_router(std::shared_ptr<const ApiContext> context) {
  http::Router router;
  add_health_routes(router, context);
  add_request_routes(router, context);
  add_pool_routes(router, context);
  add_verify_routes(router, context);
  add_access_routes(router, context);
  add_authorization_routes(router, context);
  if (context->audit != nullptr) add_audit_routes(router, context);
  return router;
}

}  // namespace citadel::app
