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

using Checks = Result<std::vector<Check>>;

Task<> verify_into(Context context, VerifyOptions options, Deadline deadline,
                   std::shared_ptr<std::atomic<bool>> running, std::shared_ptr<aio::OneShot<Checks>> shot) {
  const std::shared_ptr<void> ended(nullptr, [running](void*) { *running = false; });
  try {
    shot->set(co_await verify(context->database, context->journal, options, context->clock, deadline));
  } catch (const std::exception& error) {
    shot->set(fail(Code::internal, error.what()));
    throw;
  }
}

// On the data plane. The verification is the gate's, not the caller's: who goes away, or is cut off by a
// stop, does not take it along while PostgreSQL is down.
Task<Checks> verify_in_gate(Context context, VerifyOptions options, Deadline deadline,
                            std::shared_ptr<std::atomic<bool>> running) {
  auto shot = std::make_shared<aio::OneShot<Checks>>(context->database.executor());
  context->verifications.spawn("verification", verify_into(context, options, deadline, running, shot));
  auto checks = co_await shot->wait(deadline);
  if (checks) co_return std::move(*checks);
  co_return fail(Code::deadline_exceeded, "the verification did not end by its deadline");
}

// One at a time: two would measure each other.
Task<Response> post_verify(Context context, std::shared_ptr<std::atomic<bool>> running, Request& request) {
  if (const auto known = request.allow_query({"disruptive"}); !known) {
    co_return http::problem_response(request, known.error());
  }
  if (running->exchange(true)) {
    co_return http::problem_response(request, Error(Code::conflict, "a verification is running already"));
  }
  VerifyOptions options;
  // With private servers nobody else is disturbed, so the outage is part of it unless it is declined.
  if (request.query("disruptive") != "false") options.outage = context->outage;
  const auto checks = co_await aio::run_on(context->database.executor(),
                                           verify_in_gate(context, options, request.deadline, running));
  if (!checks) co_return http::problem_response(request, checks.error());
  co_return Response::json(200, citadel::json::serialize(to_json(*checks)));
}

}  // namespace

void add_verify_routes(http::Router& router, Context context) {
  auto running = std::make_shared<std::atomic<bool>>(false);
  router.add(http::Method::post, "/v1/verify", {.body_bytes_max = 0, .deadline = verify_deadline},
             [context, running](Request& request) { return post_verify(context, running, request); });
}

}  // namespace citadel::app
