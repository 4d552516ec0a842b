// Roles: what a principal is, and so what it may call. A principal has one. The table of what each may call
// is access/routes.hpp.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace citadel::access {

enum class Role : std::uint8_t { admin, operator_, gateway, model_service, auditor, reader };
inline constexpr std::array all_roles{Role::admin,         Role::operator_, Role::gateway,
                                      Role::model_service, Role::auditor,   Role::reader};

// "model_service", as the database and the API write it.
std::string_view to_string(Role role);
std::optional<Role> parse_role(std::string_view text);

}  // namespace citadel::access
