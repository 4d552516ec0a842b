#include "access/role.hpp"

#include <algorithm>

namespace citadel::access {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::admin:
      return "admin";
    case Role::operator_:
      return "operator";
    case Role::gateway:
      return "gateway";
    case Role::model_service:
      return "model_service";
    case Role::auditor:
      return "auditor";
    case Role::reader:
      return "reader";
  }
  return "unknown";
}

std::optional<Role> parse_role(std::string_view text) {
  const auto* const found =
      std::ranges::find_if(all_roles, [&](Role role) { return to_string(role) == text; });
  if (found == all_roles.end()) return std::nullopt;
  return *found;
}

}  // namespace citadel::access
