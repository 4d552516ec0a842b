// Tenants, principals and keys in the database. Each change leaves an entry of the audit trail in its own
// transaction, by the caller that is given; a key's hash is in none. Rows are seen and written under the
// tenant's own setting: row-level security refuses all others (migrations/0010_access.sql).
//
// All calls on the database's executor.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "access/keyring.hpp"
#include "store/database.hpp"

namespace citadel::access {

// So many principals and so many keys that have not ended a tenant has at most; each daemon has all keys in
// memory, and one tenant must not take its room from the others. A list shows all of them: what has ended
// comes last.
inline constexpr std::int32_t listed_max = 1'000;

// Who asks, for the entry that says so.
struct Caller {
  std::string actor;  // "principal:acme/alice"
  std::string request_id = {};
};

struct Tenant {
  std::int32_t id = 0;
  std::string name;
  WallTime created_at;
};
struct Principal {
  std::int32_t id = 0;
  std::string name;
  std::string role;  // as the database has it; a newer Citadel may have others
  bool disabled = false;
  WallTime created_at;
};
struct KeyInfo {
  Uuid id;
  std::string principal;
  std::string prefix;
  WallTime created_at;
  std::optional<WallTime> expires_at, revoked_at;
  std::optional<Uuid> replaced_by;
};
struct IssuedKey {
  KeyInfo info;
  Secret secret;  // the whole key; it is nowhere else
};

// invalid_argument: letters, digits and . _ @ - , the first a letter or digit, at most 63.
Result<void> check_name(std::string_view field, std::string_view name);

// conflict: there is one of this name. constraint: the tenant has as many as it may.
Task<Result<Tenant>> create_tenant(store::Database& database, std::string name, Caller caller,
                                   Deadline deadline);
Task<Result<std::vector<Tenant>>> list_tenants(store::Database& database, Deadline deadline);
// not_found
Task<Result<Tenant>> find_tenant(store::Database& database, std::string name, Deadline deadline);

Task<Result<Principal>> create_principal(store::Database& database, std::int32_t tenant, std::string name,
                                         Role role, Caller caller, Deadline deadline);
Task<Result<std::vector<Principal>>> list_principals(store::Database& database, std::int32_t tenant,
                                                     Deadline deadline);

// Whether its keys are valid. not_found: the tenant has no such principal.
Task<Result<Principal>> set_disabled(store::Database& database, std::int32_t tenant, std::string name,
                                     bool disabled, Caller caller, Deadline deadline);

// not_found: the tenant has no such principal, or no such key. conflict: the key has ended or was rotated
// before; or this daemon's pepper is not that of the keys that are there. constraint: as above.
Task<Result<IssuedKey>> create_key(store::Database& database, const Pepper& pepper, std::int32_t tenant,
                                   std::string principal, std::optional<std::chrono::seconds> valid_for,
                                   Caller caller, Deadline deadline);
Task<Result<std::vector<KeyInfo>>> list_keys(store::Database& database, std::int32_t tenant,
                                             Deadline deadline);
// A new key for the same principal, as long valid as the old one was at first; that one goes on for
// `overlap`.
Task<Result<IssuedKey>> rotate_key(store::Database& database, const Pepper& pepper, std::int32_t tenant,
                                   Uuid id, std::chrono::seconds overlap, Caller caller, Deadline deadline);
// From now on; also a key that was going on for an overlap.
Task<Result<KeyInfo>> revoke_key(store::Database& database, std::int32_t tenant, Uuid id, Caller caller,
                                 Deadline deadline);

// Looks whether anything has changed, and takes it into the keyring. May run beside itself.
Task<Result<void>> refresh(store::Database& database, Keyring& keyring, const Clock& clock,
                           Deadline deadline);

}  // namespace citadel::access
