#include "aio/wait.hpp"
#include "app/api.hpp"
#include "app/api_query.hpp"
#include "base/log.hpp"

namespace citadel::app {
namespace {

using http::Request;
using http::Response;

// How long a pause waits for sessions that are lent. Who needs them back sooner asks again, and sees how many
// are left.
constexpr auto pause_patience = std::chrono::seconds(10);

// After it, no session is open but those that are lent still: PostgreSQL and Pgpool-II may be stopped.
Task<std::string> pause(pg::Pool& pool, std::string principal, Deadline deadline) {
  if (!pool.status().paused) {
    log::warning("app", "the connection pool is paused", {{"by", principal}});
    pool.pause();
    pool.flush();
  }
  const auto busy = [&pool] { return pool.status().open + pool.status().opening > 0; };
  for (const auto limit = deadline.within(pause_patience); busy() && !limit.expired();) {
    co_await aio::sleep_for(std::chrono::milliseconds(10));
  }
  co_return pool_json(pool.status());
}

Task<std::string> resume(pg::Pool& pool, std::string principal) {
  if (pool.status().paused) log::warning("app", "the connection pool is resumed", {{"by", principal}});
  pool.resume();
  co_return pool_json(pool.status());
}

Task<Response> post_pause(std::shared_ptr<const ApiContext> context, Request& request) {
  auto& database = context->database;
  co_return Response::json(
      200,
      co_await aio::run_on(database.executor(), pause(database.pool(), request.principal, request.deadline)));
}

Task<Response> post_resume(std::shared_ptr<const ApiContext> context, Request& request) {
  auto& database = context->database;
  co_return Response::json(
      200, co_await aio::run_on(database.executor(), resume(database.pool(), request.principal)));
}

}  // namespace

void add_pool_routes(http::Router& router, std::shared_ptr<const ApiContext> context) {
  const http::RouteOptions options{.body_bytes_max = 0, .deadline = pause_patience + std::chrono::seconds(5)};
  router.add(http::Method::post, "/v1/pool/pause", options,
             without_query([context](Request& request) { return post_pause(context, request); }));
  router.add(http::Method::post, "/v1/pool/resume", options,
             without_query([context](Request& request) { return post_resume(context, request); }));
}

}  // namespace citadel::app
