#include "app/access_gate.hpp"

#include "access/routes.hpp"

namespace citadel::app {

Result<void> let_in(const Secret& admin_key, const access::Keyring& keyring, std::string_view key,
                    const http::Route& route, http::Request& request) {
  auto role = access::Role::admin;
  if (admin_key.equals(key)) {
    request.principal = "admin";
    request.tenant = access::operators_tenant;
    request.tenant_id = operators_tenant_id;
  } else {
    access::Identity identity;
    const auto valid = keyring.identify(key, &identity);
    request.principal = std::move(identity.principal);
    request.tenant = std::move(identity.tenant);
    request.tenant_id = identity.tenant_id;
    request.key = std::move(identity.prefix);
    if (!valid) return std::unexpected(valid.error());
    role = identity.role;
  }
  request.role = to_string(role);
  return access::check_call(role, request.tenant, to_string(route.method), route.pattern);
}

}  // namespace citadel::app
