// Who is let in: from the key of a request to its principal and tenant, and whether the principal's role may
// call the route. The table: access/routes.hpp. The admin key is let in whatever has become of the database.
#pragma once
#include <string_view>

#include "access/keyring.hpp"
#include "base/secret.hpp"
#include "http/router.hpp"

namespace citadel::app {

// The number of the operator's tenant: the first one, which the migration makes.
inline constexpr std::int32_t operators_tenant_id = 1;

// As http::Authenticator. Never unauthenticated for a key that may be valid: unavailable, where nobody knows.
Result<void> let_in(const Secret& admin_key, const access::Keyring& keyring, std::string_view key,
                    const http::Route& route, http::Request& request);

// 200 to the subrequest of a gateway: who was let in, in headers that it hands on. Names of the database
// cannot break a header. Age (RFC 9111 §5.1): the seconds since the database confirmed what is known of the
// key.
http::Response let_through(const access::Keyring& keyring, const http::Request& request);

}  // namespace citadel::app
