#include <atomic>
#include <boost/json.hpp>

#include "aio/wait.hpp"
#include "app/api.hpp"
#include "http/problem.hpp"
#include "json/serialize.hpp"

namespace citadel::app {
namespace {

using Context = std::shared_ptr<const ApiContext>;
using http::Request;
using http::Response;

constexpr auto verify_deadline = std::chrono::seconds(180);

// One at a time: two would measure each other.
Task<Response> post_verify(Context context, std::shared_ptr<std::atomic<bool>> running, Request& request) {
  if (const auto known = request.allow_query({"disruptive"}); !known) {
    co_return http::problem_response(request, known.error());
  }
  if (running->exchange(true)) {
    co_return http::problem_response(request, Error(Code::conflict, "a verification is running already"));
  }
  const std::shared_ptr<void> ended(nullptr, [running](void*) { *running = false; });
  VerifyOptions options;
  // With private servers nobody else is disturbed, so the outage is part of it unless it is declined.
  if (request.query("disruptive") != "false") options.outage = context->outage;
  auto& database = context->database;
  const auto checks = co_await aio::run_on(
      database.executor(), verify(database, context->journal, options, context->clock, request.deadline));
  co_return Response::json(200, citadel::json::serialize(to_json(checks)));
}

}  // namespace

void add_verify_routes(http::Router& router, Context context) {
  auto running = std::make_shared<std::atomic<bool>>(false);
  router.add(http::Method::post, "/v1/verify", {.body_bytes_max = 0, .deadline = verify_deadline},
             [context, running](Request& request) { return post_verify(context, running, request); });
}

}  // namespace citadel::app
