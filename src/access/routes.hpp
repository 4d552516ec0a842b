// The table of who may call what: one line a route, flat, and nothing beside it. A route that is not in it is
// refused for everybody, so a new one needs a line. app/access_gate_test.cpp holds it against the router's own
// routes, both ways. Pure.
#pragma once
#include <initializer_list>
#include <span>
#include <string_view>

#include "access/role.hpp"
#include "base/error.hpp"

namespace citadel::access {

// The operator's own tenant, the first one of the database. Its principals act for the whole installation.
inline constexpr std::string_view operators_tenant = "default";

enum class Reach : std::uint8_t {
  open,          // needs no key
  tenant,        // shows and changes what is of the caller's tenant; the operator's may name another one
  installation,  // of all tenants: for principals of the operator's tenant alone
};

struct RouteRule {
  std::string_view method;   // "GET"; HEAD is GET's
  std::string_view pattern;  // as the router has it: "/v1/keys/{id}/revoke"
  Reach reach;
  std::uint8_t roles;  // a bit for each: 1 << role

  bool allows(Role role) const { return (roles >> static_cast<unsigned>(role) & 1u) != 0; }
};

std::span<const RouteRule> route_rules();

// nullptr: it is not in the table.
const RouteRule* find_rule(std::string_view method, std::string_view pattern);

// permission_denied says what is in the way: the role, the tenant, or that the route is in no table.
Result<void> check_call(Role role, std::string_view tenant, std::string_view method,
                        std::string_view pattern);

}  // namespace citadel::access
