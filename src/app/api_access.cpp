// Tenants, principals and keys. Whoever is of the operator's tenant may name another one; all others act in
// their own. A key's secret is in the answer that made it, and nowhere else.
#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "access/routes.hpp"
#include "access/store.hpp"
#include "app/api_audit.hpp"
#include "app/api_query.hpp"
#include "base/time_text.hpp"
#include "json/object_reader.hpp"
#include "json/writer.hpp"

namespace citadel::app {
namespace {

using citadel::json::ObjectReader;
using http::Request;
using http::Response;

constexpr std::int64_t overlap_seconds_max = 30 * 86'400;
constexpr std::int64_t valid_seconds_max = 10 * 366 * 86'400;
constexpr citadel::json::TextLimits name_limits{.bytes_min = 1, .bytes_max = 63};
constexpr auto refresh_time = std::chrono::seconds(2);

access::Caller caller_of(const Request& request) {
  const auto actor = actor_of(request);
  return {.actor = fmt::format("{}:{}", actor.type, actor.id), .request_id = request.request_id};
}

Response answer(const Request& request, int status, const Result<std::string>& body) {
  if (!body) return audit_problem(request, body.error());
  auto response = Response::json(status, *body);
  response.headers.push_back({"Cache-Control", "no-store"});
  return response;
}

struct Target {
  std::int32_t id = 0;
  std::string name;
};

// The tenant that is acted in: the one named, else the caller's own.
Task<Result<Target>> target(ApiContextPtr context, const Request& request, std::optional<std::string> named) {
  if (!named || *named == request.tenant) co_return Target{request.tenant_id, request.tenant};
  if (request.tenant != access::operators_tenant)
    co_return fail(Code::permission_denied, "tenant: a principal acts in its own tenant");
  CITADEL_CO_ASSIGN(
      auto found, co_await on_data_plane(
                      *context, access::find_tenant(context->database, *std::move(named), request.deadline)));
  co_return Target{found.id, std::move(found.name)};
}

// So that this daemon knows at once what it has changed; where that fails, it is known a second later.
Task<> look_again(ApiContextPtr context, const Request& request) {
  static_cast<void>(
      co_await on_data_plane(*context, access::refresh(context->database, context->keyring, context->clock,
                                                       request.deadline.within(refresh_time))));
}

std::optional<std::string> owned(std::optional<std::string_view> text) {
  if (!text) return std::nullopt;
  return std::string(*text);
}

// Of a body that says no more than the tenant, where one is named.
Task<Result<Target>> target_of_body(ApiContextPtr context, const Request& request) {
  CITADEL_CO_ASSIGN(const auto body, read_object(request));
  ObjectReader in(body.get_object());
  auto tenant = owned(in.optional_text("tenant", name_limits));
  CITADEL_CO_TRY(in.finish());
  co_return co_await target(std::move(context), request, std::move(tenant));
}

Result<Uuid> id_of(const Request& request) {
  const auto id = parse_uuid(request.path_parameter("id"));
  if (!id) return fail(Code::invalid_argument, "id: is not a UUID");
  return *id;
}

// ---- tenants

void write(citadel::json::Writer& out, const access::Tenant& tenant) {
  out.begin_object().key("id").integer(tenant.id).key("name").text(tenant.name);
  out.key("created_at").text(format_time(tenant.created_at)).end_object();
}

Task<Result<std::string>> post_tenant(ApiContextPtr context, Request& request) {
  CITADEL_CO_ASSIGN(const auto body, read_object(request));
  ObjectReader in(body.get_object());
  std::string name(in.text("name", name_limits));
  CITADEL_CO_TRY(in.finish());
  CITADEL_CO_TRY(access::check_name("name", name));
  CITADEL_CO_ASSIGN(
      const auto made,
      co_await on_data_plane(*context, access::create_tenant(context->database, std::move(name),
                                                             caller_of(request), request.deadline)));
  citadel::json::Writer out;
  write(out, made);
  co_return out.take();
}

Task<Result<std::string>> get_tenants(ApiContextPtr context, Request& request) {
  CITADEL_CO_TRY(request.allow_query({}));
  CITADEL_CO_ASSIGN(const auto all, co_await on_data_plane(
                                        *context, access::list_tenants(context->database, request.deadline)));
  citadel::json::Writer out;
  out.begin_object().key("tenants").begin_array();
  for (const auto& tenant : all) write(out, tenant);
  out.end_array().end_object();
  co_return out.take();
}

// ---- principals

void write(citadel::json::Writer& out, const access::Principal& principal, std::string_view tenant) {
  out.begin_object().key("tenant").text(tenant).key("name").text(principal.name);
  out.key("role").text(principal.role).key("disabled").boolean(principal.disabled);
  out.key("created_at").text(format_time(principal.created_at)).end_object();
}

Task<Result<std::string>> post_principal(ApiContextPtr context, Request& request) {
  CITADEL_CO_ASSIGN(const auto body, read_object(request));
  ObjectReader in(body.get_object());
  std::string name(in.text("name", name_limits));
  const auto role = access::parse_role(in.text("role", name_limits));
  auto tenant = owned(in.optional_text("tenant", name_limits));
  if (!role) in.refuse("role", "must be one of admin, operator, gateway, model_service, auditor, reader");
  CITADEL_CO_TRY(in.finish());
  CITADEL_CO_TRY(access::check_name("name", name));
  CITADEL_CO_ASSIGN(const auto where, co_await target(context, request, std::move(tenant)));
  CITADEL_CO_ASSIGN(const auto made,
                    co_await on_data_plane(
                        *context, access::create_principal(context->database, where.id, std::move(name),
                                                           *role, caller_of(request), request.deadline)));
  citadel::json::Writer out;
  write(out, made, where.name);
  co_return out.take();
}

Task<Result<std::string>> set_disabled(ApiContextPtr context, Request& request, bool disabled) {
  CITADEL_CO_ASSIGN(const auto where, co_await target_of_body(context, request));
  CITADEL_CO_ASSIGN(
      const auto changed,
      co_await on_data_plane(*context, access::set_disabled(context->database, where.id,
                                                            std::string(request.path_parameter("name")),
                                                            disabled, caller_of(request), request.deadline)));
  co_await look_again(context, request);
  citadel::json::Writer out;
  write(out, changed, where.name);
  co_return out.take();
}
Task<Result<std::string>> post_disable(ApiContextPtr context, Request& request) {
  co_return co_await set_disabled(std::move(context), request, true);
}
Task<Result<std::string>> post_enable(ApiContextPtr context, Request& request) {
  co_return co_await set_disabled(std::move(context), request, false);
}

Task<Result<std::string>> get_principals(ApiContextPtr context, Request& request) {
  CITADEL_CO_TRY(request.allow_query({"tenant"}));
  CITADEL_CO_ASSIGN(const auto where, co_await target(context, request, owned(request.query("tenant"))));
  CITADEL_CO_ASSIGN(const auto all,
                    co_await on_data_plane(
                        *context, access::list_principals(context->database, where.id, request.deadline)));
  citadel::json::Writer out;
  out.begin_object().key("principals").begin_array();
  for (const auto& principal : all) write(out, principal, where.name);
  out.end_array().end_object();
  co_return out.take();
}

// ---- keys

void write_members(citadel::json::Writer& out, const access::KeyInfo& key, std::string_view tenant) {
  out.key("id").text(key.id.to_string()).key("tenant").text(tenant);
  out.key("principal").text(key.principal).key("prefix").text(key.prefix);
  out.key("created_at").text(format_time(key.created_at));
  if (key.expires_at) out.key("expires_at").text(format_time(*key.expires_at));
  if (key.revoked_at) out.key("revoked_at").text(format_time(*key.revoked_at));
  if (key.replaced_by) out.key("replaced_by").text(key.replaced_by->to_string());
}

std::string issued(const access::IssuedKey& key, std::string_view tenant) {
  citadel::json::Writer out;
  out.begin_object().key("key").text(key.secret.reveal());
  write_members(out, key.info, tenant);
  out.end_object();
  return out.take();
}

Task<Result<std::string>> post_key(ApiContextPtr context, Request& request) {
  CITADEL_CO_ASSIGN(const auto body, read_object(request));
  ObjectReader in(body.get_object());
  std::string principal(in.text("principal", name_limits));
  auto tenant = owned(in.optional_text("tenant", name_limits));
  std::optional<std::chrono::seconds> valid_for;
  if (const auto seconds = in.optional_integer("valid_seconds", 1, valid_seconds_max))
    valid_for.emplace(*seconds);
  CITADEL_CO_TRY(in.finish());
  CITADEL_CO_ASSIGN(const auto where, co_await target(context, request, std::move(tenant)));
  CITADEL_CO_ASSIGN(
      const auto made,
      co_await on_data_plane(*context, access::create_key(context->database, context->keyring.pepper(),
                                                          where.id, std::move(principal), valid_for,
                                                          caller_of(request), request.deadline)));
  co_await look_again(context, request);
  co_return issued(made, where.name);
}

Task<Result<std::string>> get_keys(ApiContextPtr context, Request& request) {
  CITADEL_CO_TRY(request.allow_query({"tenant"}));
  CITADEL_CO_ASSIGN(const auto where, co_await target(context, request, owned(request.query("tenant"))));
  CITADEL_CO_ASSIGN(
      const auto all,
      co_await on_data_plane(*context, access::list_keys(context->database, where.id, request.deadline)));
  citadel::json::Writer out;
  out.begin_object().key("keys").begin_array();
  for (const auto& key : all) {
    out.begin_object();
    write_members(out, key, where.name);
    out.end_object();
  }
  out.end_array().end_object();
  co_return out.take();
}

Task<Result<std::string>> post_rotate(ApiContextPtr context, Request& request) {
  CITADEL_CO_ASSIGN(const auto id, id_of(request));
  CITADEL_CO_ASSIGN(const auto body, read_object(request));
  ObjectReader in(body.get_object());
  const std::chrono::seconds overlap(in.integer("overlap_seconds", 0, overlap_seconds_max));
  auto tenant = owned(in.optional_text("tenant", name_limits));
  CITADEL_CO_TRY(in.finish());
  CITADEL_CO_ASSIGN(const auto where, co_await target(context, request, std::move(tenant)));
  CITADEL_CO_ASSIGN(const auto made,
                    co_await on_data_plane(
                        *context, access::rotate_key(context->database, context->keyring.pepper(), where.id,
                                                     id, overlap, caller_of(request), request.deadline)));
  co_await look_again(context, request);
  co_return issued(made, where.name);
}

Task<Result<std::string>> post_revoke(ApiContextPtr context, Request& request) {
  CITADEL_CO_ASSIGN(const auto id, id_of(request));
  CITADEL_CO_ASSIGN(const auto where, co_await target_of_body(context, request));
  CITADEL_CO_ASSIGN(
      const auto ended,
      co_await on_data_plane(*context, access::revoke_key(context->database, where.id, id, caller_of(request),
                                                          request.deadline)));
  co_await look_again(context, request);
  citadel::json::Writer out;
  out.begin_object();
  write_members(out, ended, where.name);
  out.end_object();
  co_return out.take();
}

}  // namespace

void add_access_routes(http::Router& router, ApiContextPtr context) {
  using http::Method;
  using Act = Task<Result<std::string>> (*)(ApiContextPtr, Request&);
  const auto gives = [context](int status, Act act) -> http::Handler {
    return [context, status, act](Request& request) -> Task<Response> {
      co_return answer(request, status, co_await act(context, request));
    };
  };
  router.add(Method::get, "/v1/tenants", {}, gives(200, get_tenants));
  router.add(Method::post, "/v1/tenants", {}, without_query(gives(201, post_tenant)));
  router.add(Method::get, "/v1/principals", {}, gives(200, get_principals));
  router.add(Method::post, "/v1/principals", {}, without_query(gives(201, post_principal)));
  router.add(Method::post, "/v1/principals/{name}/disable", {}, without_query(gives(200, post_disable)));
  router.add(Method::post, "/v1/principals/{name}/enable", {}, without_query(gives(200, post_enable)));
  router.add(Method::get, "/v1/keys", {}, gives(200, get_keys));
  router.add(Method::post, "/v1/keys", {}, without_query(gives(201, post_key)));
  router.add(Method::post, "/v1/keys/{id}/rotate", {}, without_query(gives(201, post_rotate)));
  router.add(Method::post, "/v1/keys/{id}/revoke", {}, without_query(gives(200, post_revoke)));
}

}  // namespace citadel::app
