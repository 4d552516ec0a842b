// The authorisation subrequest of a gateway, nginx's auth_request and Envoy's ext_authz: the gate has looked
// at the key, in memory, before the handler is called. So 401 and 403 are the gate's, and 503 where it cannot
// know.
#include <fmt/format.h>

#include <chrono>

#include "app/access_gate.hpp"
#include "app/api.hpp"

namespace citadel::app {

using http::Request;
using http::Response;

Response let_through(const access::Keyring& keyring, const Request& request) {
  Response response;
  auto& headers = response.headers;
  headers.push_back({"X-Citadel-Tenant", request.tenant});
  headers.push_back({"X-Citadel-Principal", request.principal});
  headers.push_back({"X-Citadel-Role", request.role});
  // The admin key has no prefix, and is not from the database.
  if (!request.key.empty()) {
    headers.push_back({"X-Citadel-Key", request.key});
    const auto age = keyring.status().age.value_or(Monotonic::duration::zero());
    headers.push_back({"Age", fmt::format("{}", std::chrono::floor<std::chrono::seconds>(age).count())});
  }
  headers.push_back({"Cache-Control", "no-store"});
  return response;
}

void add_authorization_routes(http::Router& router, std::shared_ptr<const ApiContext> context) {
  using http::Method;
  // Envoy asks with the method of the request that it holds back.
  for (const auto method :
       {Method::get, Method::post, Method::put, Method::patch, Method::delete_, Method::options}) {
    router.add(
        method, "/authz/{path...}",
        {.waits = http::RouteOptions::Waits::no, .reads = http::RouteOptions::Reads::head},
        [context](Request& request) -> Task<Response> { co_return let_through(context->keyring, request); });
  }
}

}  // namespace citadel::app
