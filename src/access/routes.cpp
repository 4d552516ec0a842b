#include "access/routes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace citadel::access {
namespace {

constexpr std::uint8_t bit(Role role) {
  return static_cast<std::uint8_t>(1u << static_cast<unsigned>(role));
}
constexpr std::uint8_t A = bit(Role::admin), O = bit(Role::operator_), G = bit(Role::gateway),
                       M = bit(Role::model_service), U = bit(Role::auditor), R = bit(Role::reader);
constexpr std::uint8_t everybody = A | O | G | M | U | R;

// clang-format off
constexpr auto rules = std::to_array<RouteRule>({
    {"GET",  "/healthz",                     Reach::open,         everybody},
    {"GET",  "/readyz",                      Reach::open,         everybody},
    {"GET",  "/v1/status",                   Reach::installation, A | O | U | R},
    {"GET",  "/metrics",                     Reach::installation, A | O | R},

    {"GET",  "/authz/{path...}",             Reach::tenant,       A | O | G | M | R},
    {"POST", "/authz/{path...}",             Reach::tenant,       A | O | G | M | R},
    {"PUT",  "/authz/{path...}",             Reach::tenant,       A | O | G | M | R},
    {"PATCH", "/authz/{path...}",            Reach::tenant,       A | O | G | M | R},
    {"DELETE", "/authz/{path...}",           Reach::tenant,       A | O | G | M | R},
    {"OPTIONS", "/authz/{path...}",          Reach::tenant,       A | O | G | M | R},

    {"POST", "/v1/requests",                 Reach::tenant,       A | G | M},
    {"GET",  "/v1/requests",                 Reach::tenant,       A | O | U | R},
    {"GET",  "/v1/requests/{id}",            Reach::tenant,       A | O | U | R},
    {"GET",  "/v1/usage",                    Reach::tenant,       A | O | U | R},

    {"POST", "/v1/pool/pause",               Reach::installation, A | O},
    {"POST", "/v1/pool/resume",              Reach::installation, A | O},
    {"POST", "/v1/verify",                   Reach::installation, A | O},

    {"GET",  "/v1/tenants",                  Reach::installation, A | O | U},
    {"POST", "/v1/tenants",                  Reach::installation, A},
    {"GET",  "/v1/principals",               Reach::tenant,       A | U},
    {"POST", "/v1/principals",               Reach::tenant,       A},
    {"POST", "/v1/principals/{name}/disable", Reach::tenant,      A},
    {"POST", "/v1/principals/{name}/enable", Reach::tenant,       A},
    {"GET",  "/v1/keys",                     Reach::tenant,       A | U},
    {"POST", "/v1/keys",                     Reach::tenant,       A},
    {"POST", "/v1/keys/{id}/rotate",         Reach::tenant,       A},
    {"POST", "/v1/keys/{id}/revoke",         Reach::tenant,       A},

    {"POST", "/v1/audit/events",             Reach::installation, A | G | M},
    {"GET",  "/v1/audit/events",             Reach::installation, A | U},
    {"GET",  "/v1/audit/events/tail",        Reach::installation, A | U},
    {"GET",  "/v1/audit/events/{id}",        Reach::installation, A | U},
    {"GET",  "/v1/audit/entries/{index}",    Reach::installation, A | U},
    {"GET",  "/v1/audit/traces/{trace_id}",  Reach::installation, A | U},
    {"GET",  "/v1/audit/export",             Reach::installation, A | U},
    {"GET",  "/v1/audit/beginning",          Reach::installation, A | U},
    {"GET",  "/v1/audit/proof",              Reach::installation, A | U},
    {"GET",  "/v1/audit/consistency",        Reach::installation, A | O | U},
    {"GET",  "/v1/audit/key",                Reach::installation, A | O | U},
    {"POST", "/v1/audit/verifications",      Reach::installation, A | O | U},
    {"POST", "/v1/audit/reports",            Reach::installation, A | U},
    {"POST", "/v1/audit/accept-fork",        Reach::installation, A},
    {"GET",  "/v1/audit/holds",              Reach::installation, A | U},
    {"POST", "/v1/audit/holds",              Reach::installation, A | U},
    {"POST", "/v1/audit/holds/{id}/release", Reach::installation, A},
    {"POST", "/v1/audit/erasures",           Reach::installation, A},
    {"GET",  "/v1/audit/erasures/{id}",      Reach::installation, A | U},
    {"GET",  "/v1/audit/retention",          Reach::installation, A | O | U},
    {"POST", "/v1/audit/retention",          Reach::installation, A | O},
    {"POST", "/v1/audit/rotate-key",         Reach::installation, A | O},
    {"GET",  "/tlog/checkpoint",             Reach::installation, A | O | U},
    {"GET",  "/tlog/tile/{path...}",         Reach::installation, A | O | U},
});
// clang-format on

}  // namespace

std::span<const RouteRule> route_rules() {
  return rules;
}

const RouteRule* find_rule(std::string_view method, std::string_view pattern) {
  const auto* const found = std::ranges::find_if(
      rules, [&](const RouteRule& rule) { return rule.method == method && rule.pattern == pattern; });
  return found == rules.end() ? nullptr : found;
}

Result<void> check_call(Role role, std::string_view tenant, std::string_view method,
                        std::string_view pattern) {
  const auto* const rule = find_rule(method, pattern);
  if (!rule) {
    return fail(Code::permission_denied, fmt::format("no role may call {} {}", method, pattern));
  }
  if (!rule->allows(role)) {
    return fail(Code::permission_denied,
                fmt::format("the role {} may not call {} {}", to_string(role), method, pattern));
  }
  if (rule->reach == Reach::installation && tenant != operators_tenant) {
    return fail(Code::permission_denied,
                fmt::format("{} {} is of all tenants: it needs a principal of the tenant {}", method, pattern,
                            operators_tenant));
  }
  return {};
}

}  // namespace citadel::access
