#include <fmt/format.h>

#include "aio/wait.hpp"
#include "app/api.hpp"
#include "app/api_query.hpp"
#include "app/thread_random.hpp"
#include "base/log.hpp"
#include "http/problem.hpp"
#include "json/writer.hpp"
#include "usage/queries.hpp"
#include "usage/record_codec.hpp"
#include "usage/record_json.hpp"
#include "usage/record_row.hpp"

namespace citadel::app {
namespace {

using Context = std::shared_ptr<const ApiContext>;
using http::Request;
using http::Response;

usage::IngestLimits ingest_limits(const ApiContext& context, const Request& request) {
  const auto config = context.usage();
  usage::IngestLimits limits;
  limits.past_max = std::chrono::floor<std::chrono::days>(config.past_max);
  limits.future_max = std::chrono::floor<std::chrono::minutes>(config.future_max);
  limits.tenant = bound_tenant(request);
  limits.body_bytes_max = static_cast<std::size_t>(context.config.http.body_bytes_max);
  return limits;
}

// 202: on disk here, and on its way to the database.
Task<Response> post_requests(Context context, Request& request) {
  const auto form = body_form(request.headers.get("Content-Type"));
  if (!form) co_return http::problem_response(request, form.error());
  auto records = usage::parse_records(request.body, *form, ingest_limits(*context, request),
                                      context->clock.wall(), thread_random());
  if (!records) co_return http::problem_response(request, records.error());

  std::vector<journal::Record> entries;
  entries.reserve(records->size());
  json::Writer out;
  out.begin_object()
      .key("accepted")
      .integer(static_cast<std::int64_t>(records->size()))
      .key("ids")
      .begin_array();
  for (const auto& record : *records) {
    entries.push_back(
        {.kind = journal::Kind::usage_request, .id = record.id, .payload = usage::encode_record(record)});
    out.text(record.id.to_string());
  }
  out.end_array().end_object();
  const auto durable = co_await context->journal.append(std::move(entries), request.deadline);
  if (!durable) co_return http::problem_response(request, durable.error());
  co_return Response::json(202, out.take());
}

Task<Response> get_request(Context context, Request& request) {
  const auto id = parse_uuid(request.path_parameter("id"));
  if (!id) co_return http::problem_response(request, Error(Code::invalid_argument, "id: is not a UUID"));
  const auto found =
      co_await aio::run_on(context->database.executor(), context->requests.read(*id, request.deadline));
  if (!found) co_return read_problem(request, found.error());
  const auto bound = bound_tenant(request);
  if (bound && found->tenant != *bound) co_return read_problem(request, usage::no_such_request(*id).error());
  co_return Response::json(200, usage::to_json(*found));
}

Task<Response> list_requests(Context context, Request& request) {
  const auto query = parse_request_filter(request, context->usage().page_rows_max);
  if (!query) co_return http::problem_response(request, query.error());
  auto& database = context->database;
  auto page =
      co_await aio::run_on(database.executor(), usage::list_requests(database, *query, request.deadline));
  if (!page) co_return read_problem(request, page.error());
  co_return Response::json(200, usage::to_json(*page));
}

Task<Response> get_usage(Context context, Request& request) {
  const auto query = parse_usage_query(request, context->clock.wall());
  if (!query) co_return http::problem_response(request, query.error());
  auto& database = context->database;
  auto report =
      co_await aio::run_on(database.executor(), usage::usage_report(database, *query, request.deadline));
  if (!report) co_return read_problem(request, report.error());
  co_return Response::json(200, usage::to_json(*report));
}

}  // namespace

Result<json::BodyForm> body_form(std::string_view content_type) {
  const auto type = content_type.substr(0, content_type.find(';'));
  if (type.empty() || http::equals_ignoring_case(type, "application/json")) return json::BodyForm::json;
  for (const std::string_view name : {"application/x-ndjson", "application/ndjson", "application/jsonl"}) {
    if (http::equals_ignoring_case(type, name)) return json::BodyForm::ndjson;
  }
  return fail(
      Code::invalid_argument,
      fmt::format("Content-Type '{}' is not application/json or application/x-ndjson", type.substr(0, 100)));
}

// Parameters are checked before they reach the database, so that it refuses one (class 22, for example) is a
// bug of ours.
std::optional<http::Problem> refused_query(const Request& request, const Error& error) {
  const bool not_ready =
      error.code == Code::permission_denied || error.code == Code::not_found || error.code == Code::internal;
  const bool bug = error.code == Code::invalid_argument;
  if (error.sqlstate[0] == '\0' || !(not_ready || bug)) return std::nullopt;
  log::error("app", "the database refuses a query of ours",
             {{"request_id", request.request_id}, {"path", request.path()}, {"error", error}});
  if (bug) return http::problem_of(Error(Code::internal, error.message));
  return http::problem_of(Error(Code::unavailable, "the database is not ready for this; /readyz says why"));
}

http::Response read_problem(const Request& request, const Error& error) {
  const auto refused = refused_query(request, error);
  return refused ? http::problem_response(request, *refused) : http::problem_response(request, error);
}

void add_request_routes(http::Router& router, Context context) {
  using http::Method;
  const auto body_max = static_cast<std::size_t>(context->config.http.body_bytes_max);
  const auto deadline = std::chrono::duration_cast<Monotonic::duration>(context->config.http.request_timeout);
  const http::RouteOptions writes{.body_bytes_max = body_max, .deadline = deadline};
  const http::RouteOptions reads{.deadline = deadline};
  router.add(Method::post, "/v1/requests", writes,
             without_query([context](Request& r) { return post_requests(context, r); }));
  router.add(Method::get, "/v1/requests", reads, [context](Request& r) { return list_requests(context, r); });
  router.add(Method::get, "/v1/requests/{id}", reads,
             without_query([context](Request& r) { return get_request(context, r); }));
  router.add(Method::get, "/v1/usage", reads, [context](Request& r) { return get_usage(context, r); });
}

}  // namespace citadel::app
