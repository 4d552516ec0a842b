// /tlog: the log in the form of C2SP tlog-tiles, for tools that are not ours.
#include "app/api_audit.hpp"
#include "app/api_query.hpp"

namespace citadel::app {
namespace {

using http::Request;
using http::Response;

Response with_caching(const ApiContext& context, Response response, std::string_view how) {
  // Behind a key, a shared cache must not answer for us.
  const std::string_view whose = context.config.audit.public_log ? "public" : "private";
  response.headers.push_back({"Cache-Control", fmt::format("{}, {}", whose, how)});
  return response;
}

Task<Response> get_checkpoint(ApiContextPtr context, Request& request) {
  const auto published = co_await latest_checkpoint(context);
  if (!published) co_return audit_problem(request, published.error());
  co_return with_caching(*context, Response::text(200, published->note), "no-cache");
}

// A path stands for bytes that never change, a partial tile's too.
Task<Response> get_tile(ApiContextPtr context, Request& request) {
  const auto path = tlog::TilePath::parse(fmt::format("tile/{}", request.path_parameter("path")));
  if (!path)
    co_return audit_problem(request, Error(Code::not_found, "no tile has this path (C2SP tlog-tiles)"));
  const auto bytes =
      co_await on_data_plane(*context, audit::read_tile(context->database, *path, request.deadline));
  if (!bytes) co_return audit_problem(request, bytes.error());
  Response response;
  response.content_type = "application/octet-stream";
  response.body = *bytes;
  co_return with_caching(*context, std::move(response), "max-age=31536000, immutable");
}

}  // namespace

void add_tlog_routes(http::Router& router, ApiContextPtr context) {
  using http::Method;
  const bool is_public = context->config.audit.public_log;
  const http::RouteOptions options{.auth = is_public ? http::Auth::none : http::Auth::required,
                                   .gzip = http::RouteOptions::Gzip::accepted};
  router.add(Method::get, "/tlog/checkpoint", options,
             without_query([context](Request& r) { return get_checkpoint(context, r); }));
  router.add(Method::get, "/tlog/tile/{path...}", options,
             without_query([context](Request& r) { return get_tile(context, r); }));
}

}  // namespace citadel::app
