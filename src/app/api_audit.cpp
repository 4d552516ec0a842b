#include "app/api_audit.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "app/api_query.hpp"
#include "json/object_reader.hpp"
#include "json/parse.hpp"
#include "json/writer.hpp"

namespace citadel::app {
namespace {

using http::Request;
using http::Response;

constexpr citadel::json::ParseLimits object_limits{.depth_max = 3, .size_bytes_max = 64 << 10};
constexpr std::size_t reason_bytes_max = 1'000;

Task<Result<audit::StoredCheckpoint>> take_checkpoint(ApiContextPtr context) {
  auto status = context->audit->publisher().status();
  // After a fork was found, too: it is what an auditor holds against the log.
  if (!status.published) status.published = status.stored;
  if (!status.published) {
    co_return fail(Code::unavailable, "no checkpoint has been signed yet; /readyz says why", Retry::safe);
  }
  co_return *status.published;
}

Task<Response> get_key(ApiContextPtr context, Request&) {
  citadel::json::Writer out;
  out.begin_object().key("origin").text(context->audit->origin());
  out.key("key").text(context->audit->verifier().encode()).key("older_keys").begin_array();
  for (const auto& key : context->audit->older_keys()) out.text(key.encode());
  out.end_array().end_object();
  co_return Response::json(200, out.take());
}

Task<Response> post_accept_fork(ApiContextPtr context, Request& request) {
  const auto body = read_object(request);
  if (!body) co_return audit_problem(request, body.error());
  citadel::json::ObjectReader in(body->get_object());
  const auto reason = read_reason(in);
  if (const auto read = in.finish(); !read) co_return audit_problem(request, read.error());
  const auto actor = actor_of(request);
  const auto who = fmt::format("{}:{} from {}", actor.type, actor.id, actor.address);
  const auto accepted =
      co_await on_data_plane(*context, context->audit->accept_fork(reason, who, request.deadline));
  if (!accepted) co_return audit_problem(request, accepted.error());
  co_return Response::json(200, R"({"accepted":true})");
}

// What `citadel audit verify` found: an entry of its own, and the metrics that alarms look at.
Task<Response> post_verification(ApiContextPtr context, Request& request) {
  const auto body = read_object(request);
  if (!body) co_return audit_problem(request, body.error());
  citadel::json::ObjectReader in(body->get_object());
  Verification found;
  found.at = context->clock.wall();
  found.entries =
      static_cast<std::uint64_t>(in.integer("entries", 0, std::numeric_limits<std::int64_t>::max()));
  found.passed = in.boolean("passed");
  found.finding = in.optional_text("finding", {.bytes_min = 0, .bytes_max = 1'000}).value_or("");
  if (const auto read = in.finish(); !read) co_return audit_problem(request, read.error());
  OwnEvent own{.action = found.passed ? "audit.verified" : "audit.verification_failed",
               .object = {.type = "audit_log", .id = context->audit->origin()},
               .outcome = found.passed ? audit::Outcome::success : audit::Outcome::failure,
               .reason = found.passed ? fmt::format("{} entries", found.entries) : found.finding,
               .actor = actor_of(request),
               .request_id = request.request_id};
  const auto recorded = co_await context->audit->record_own(std::move(own), request.deadline);
  if (!recorded) co_return audit_problem(request, recorded.error());
  context->audit->note_verification(std::move(found));
  co_return Response::json(200, R"({"recorded":true})");
}

// That `citadel audit report` made one: who has what the log says in hand.
Task<Response> post_report(ApiContextPtr context, Request& request) {
  const auto body = read_object(request);
  if (!body) co_return audit_problem(request, body.error());
  citadel::json::ObjectReader in(body->get_object());
  const std::string profile(in.text("profile", {.bytes_min = 1, .bytes_max = 40}));
  const std::string from(in.text("from", {.bytes_min = 1, .bytes_max = 40}));
  const std::string to(in.text("to", {.bytes_min = 1, .bytes_max = 40}));
  const auto entries = in.integer("entries", 0, std::numeric_limits<std::int64_t>::max());
  const bool passed = in.boolean("passed");
  if (const auto read = in.finish(); !read) co_return audit_problem(request, read.error());
  const auto recorded = co_await record_access(
      context, request, "audit.reported", {.type = "audit_log", .id = context->audit->origin()},
      fmt::format("{} of {} to {}: {} entries, {}", profile, from, to, entries,
                  passed ? "verified" : "which did not verify"));
  if (!recorded) co_return audit_problem(request, recorded.error());
  co_return Response::json(200, R"({"recorded":true})");
}

}  // namespace

Result<boost::json::value> read_object(const Request& request) {
  CITADEL_ASSIGN(auto value, citadel::json::parse(request.body, object_limits));
  if (!value.is_object()) return fail(Code::invalid_argument, "the body must be an object");
  return value;
}

std::string read_reason(citadel::json::ObjectReader& in) {
  std::string reason(in.text("reason", {.bytes_min = 1, .bytes_max = reason_bytes_max}));
  if (!reason.empty() && reason.find_first_not_of(" \t\r\n") == std::string::npos)
    in.refuse("reason", "must say why, and is blank");
  return reason;
}

Response audit_problem(const Request& request, const Error& error) {
  if (error.code == Code::corrupt) {
    log::error("audit", "the log is not as it was written",
               {{"request_id", request.request_id}, {"error", error}});
    return problem_response(
        request, http::make_problem(500, "audit_log_corrupt", "The audit log is not as it was written",
                                    error.message));
  }
  const auto problem = refused_query(request, error).value_or(http::problem_of(error));
  const bool ours =
      problem.status >= 500 && problem.status != 503 && problem.status != 504 && problem.status != 507;
  if (ours) return problem_response(request, error);
  return problem_response(request, problem);
}

audit::Actor actor_of(const Request& request) {
  return {.type = std::string(actor_type(request.principal)),
          .id = request.principal.empty() ? "unknown" : request.principal,
          .auth_method = request.principal.empty() ? "" : auth_method(request.key),
          .address = request.remote};
}

Task<Result<void>> record_access(ApiContextPtr context, Request& request, std::string_view action,
                                 audit::Object object, std::string what) {
  co_return co_await context->audit->record_own({.action = action,
                                                 .object = std::move(object),
                                                 .reason = std::move(what),
                                                 .actor = actor_of(request),
                                                 .request_id = request.request_id},
                                                request.deadline);
}

Task<Result<audit::StoredCheckpoint>> latest_checkpoint(ApiContextPtr context) {
  const ApiContext& there = *context;
  co_return co_await on_data_plane(there, take_checkpoint(std::move(context)));
}

void add_audit_routes(http::Router& router, ApiContextPtr context) {
  using http::Method;
  add_audit_event_routes(router, context);
  add_audit_read_routes(router, context);
  add_audit_proof_routes(router, context);
  add_audit_lifecycle_routes(router, context);
  add_tlog_routes(router, context);
  router.add(Method::get, "/v1/audit/key", {},
             without_query([context](Request& r) { return get_key(context, r); }));
  router.add(Method::post, "/v1/audit/accept-fork", {.deadline = std::chrono::seconds(60)},
             without_query([context](Request& r) { return post_accept_fork(context, r); }));
  router.add(Method::post, "/v1/audit/verifications", {},
             without_query([context](Request& r) { return post_verification(context, r); }));
  router.add(Method::post, "/v1/audit/reports", {},
             without_query([context](Request& r) { return post_report(context, r); }));
}

}  // namespace citadel::app
