#include "access/store.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.hpp"

namespace citadel::access {
namespace {

constexpr pg::Statement make_tenant{"access make tenant", "select access.create_tenant($1)"};
constexpr pg::Statement select_tenants{
    "access tenants", "select id, name, created_at from access.tenants() order by id desc limit $1"};
constexpr pg::Statement select_tenant{"access tenant",
                                      "select id, name, created_at from access.tenants() where name = $1"};
constexpr pg::Statement insert_principal{
    "access create principal",
    "insert into access.principal (tenant_id, name, role) values ($1, $2, $3) "
    "returning id, name, role, disabled, created_at"};
constexpr pg::Statement select_principals{
    "access principals",
    "select id, name, role, disabled, created_at from access.principal order by id desc limit $1"};
constexpr pg::Statement select_principal{"access principal",
                                         "select id from access.principal where name = $1"};
constexpr pg::Statement disable_principal{"access disable principal",
                                          "update access.principal set disabled = $2 where name = $1 "
                                          "returning id, name, role, disabled, created_at"};
constexpr pg::Statement claim_pepper{"access claim pepper", "select access.claim_pepper($1)"};
constexpr pg::Statement insert_key{
    "access create key",
    "insert into access.api_key (id, tenant_id, principal, expires_at, prefix, hash) "
    "values ($1, $2, $3, now() + $4::bigint * interval '1 second', $5, $6)"};
#define KEY_COLUMNS                                                                                       \
  "select k.id, p.name, k.prefix, k.created_at, k.expires_at, k.revoked_at, k.replaced_by, k.principal, " \
  "extract(epoch from k.expires_at - k.created_at)::bigint, "                                             \
  "coalesce(least(k.expires_at, k.revoked_at) <= now(), false) "                                          \
  "from access.api_key k join access.principal p on p.id = k.principal "
constexpr pg::Statement select_keys{"access keys", KEY_COLUMNS "order by 10, k.id desc limit $1"};
constexpr pg::Statement count_keys{"access count keys",
                                   "select count(*) from access.api_key "
                                   "where coalesce(least(expires_at, revoked_at) > now(), true)"};
constexpr pg::Statement count_principals{"access count principals", "select count(*) from access.principal"};
constexpr pg::Statement select_key{"access key", KEY_COLUMNS "where k.id = $1"};
constexpr pg::Statement lock_key{"access lock key", KEY_COLUMNS "where k.id = $1 for update of k"};
#undef KEY_COLUMNS
constexpr pg::Statement replace_key{
    "access replace key",
    "update access.api_key set replaced_by = $2, "
    "revoked_at = least(revoked_at, now() + $3::bigint * interval '1 second') where id = $1"};
constexpr pg::Statement end_key{"access revoke key",
                                "update access.api_key set revoked_at = now() where id = $1"};
constexpr pg::Statement select_state{"access state", "select stamp, pepper_check from access.state"};
constexpr pg::Statement select_lookup{
    "access lookup",
    "select tenant_id, tenant, principal, role, prefix, hash, expires_at, revoked_at, revoked, disabled "
    "from access.lookup()"};

Tenant tenant_of(const pg::Row& row) {
  return {row.get<std::int32_t>(0), row.get<std::string>(1), row.get<WallTime>(2)};
}

Principal principal_of(const pg::Row& row) {
  return {row.get<std::int32_t>(0), row.get<std::string>(1), row.get<std::string>(2), row.get<bool>(3),
          row.get<WallTime>(4)};
}

KeyInfo key_of(const pg::Row& row) {
  return {.id = row.get<Uuid>(0),
          .principal = row.get<std::string>(1),
          .prefix = row.get<std::string>(2),
          .created_at = row.get<WallTime>(3),
          .expires_at = row.get<std::optional<WallTime>>(4),
          .revoked_at = row.get<std::optional<WallTime>>(5),
          .replaced_by = row.get<std::optional<Uuid>>(6)};
}

crypto::Digest digest_of(Bytes bytes) {
  crypto::Digest out{};
  if (bytes.size() == out.size()) std::ranges::copy(bytes, out.begin());
  return out;
}

std::unexpected<Error> no_key(Uuid id) {
  return fail(Code::not_found, fmt::format("there is no key {}", id.to_string()));
}

std::unexpected<Error> no_principal(std::string_view name) {
  return fail(Code::not_found, fmt::format("the tenant has no principal {}", name));
}

Task<Result<void>> act_for(pg::Transaction& transaction, std::int32_t tenant, const Caller& caller,
                           Deadline deadline) {
  CITADEL_CO_TRY(co_await transaction.set_local("citadel.tenant", std::to_string(tenant), deadline));
  CITADEL_CO_TRY(co_await transaction.set_local("citadel.actor", caller.actor, deadline));
  co_return co_await transaction.set_local("citadel.request_id", caller.request_id, deadline);
}

// The rows of one statement, as one tenant sees them.
Task<Result<pg::Rows>> read_of(store::Database& database, std::int32_t tenant, const pg::Statement& statement,
                               Deadline deadline) {
  co_return co_await database.transact<pg::Rows>(
      deadline, store::Intent::read_your_writes, {.name = statement.name},
      [&statement, tenant, deadline](pg::Transaction& transaction) -> Task<Result<pg::Rows>> {
        CITADEL_CO_TRY(co_await transaction.set_local("citadel.tenant", std::to_string(tenant), deadline));
        co_return co_await transaction.execute(statement, pg::Params(listed_max), deadline);
      });
}

Task<Result<KeyInfo>> read_key(pg::Transaction& transaction, Uuid id, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(select_key, pg::Params(id), deadline));
  if (rows.empty()) co_return no_key(id);
  co_return key_of(rows[0]);
}

// A key that is ready to be stored: made before the transaction, which may run several times.
struct FreshKey {
  explicit FreshKey(const Pepper& pepper, WallTime now)
      : id([now] {
          SeededRandom random(random_seed());
          return new_uuid7(now, random);
        }()),
        key(make_key()),
        hash(pepper.hash(key.text.reveal())),
        fingerprint(pepper.fingerprint()) {}
  Uuid id;
  NewKey key;
  crypto::Digest hash, fingerprint;
};

// Two at the same time may both find room for the last one: the limit keeps memory, not a promise.
Task<Result<void>> check_room(pg::Transaction& transaction, const pg::Statement& count, std::string_view what,
                              Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(count, {}, deadline));
  if (rows[0].get<std::int64_t>(0) < listed_max) co_return Result<void>();
  co_return fail(Code::constraint,
                 fmt::format("the tenant has {} {} already, and no room for more", listed_max, what));
}

Task<Result<KeyInfo>> store_key(pg::Transaction& transaction, const FreshKey& fresh, std::int32_t tenant,
                                std::int32_t principal, std::optional<std::int64_t> seconds,
                                Deadline deadline) {
  CITADEL_CO_ASSIGN(
      const pg::Rows claimed,
      co_await transaction.execute(claim_pepper, pg::Params(Bytes(fresh.fingerprint)), deadline));
  if (!claimed[0].get<bool>(0)) {
    co_return fail(Code::conflict,
                   "access.pepper_file is not that of this database's keys: copy it from another daemon");
  }
  CITADEL_CO_TRY(co_await check_room(transaction, count_keys, "keys", deadline));
  const pg::Params params(fresh.id, tenant, principal, seconds, fresh.key.prefix, Bytes(fresh.hash));
  CITADEL_CO_TRY(co_await transaction.execute(insert_key, params, deadline));
  co_return co_await read_key(transaction, fresh.id, deadline);
}

}  // namespace

Result<void> check_name(std::string_view field, std::string_view name) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view others = "._@-";
  const bool good =
      !name.empty() && name.size() <= 63 && letters.contains(name.front()) &&
      std::ranges::all_of(name, [&](char c) { return letters.contains(c) || others.contains(c); });
  if (good) return {};
  return fail(Code::invalid_argument,
              fmt::format("{}: must have 1 to 63 letters, digits, '.', '_', '@' and '-', and begin with a "
                          "letter or a digit",
                          field));
}

Task<Result<Tenant>> create_tenant(store::Database& database, std::string name, Caller caller,
                                   Deadline deadline) {
  auto made = co_await database.transact<Tenant>(
      deadline, store::Intent::write, {.name = make_tenant.name},
      [&](pg::Transaction& transaction) -> Task<Result<Tenant>> {
        CITADEL_CO_TRY(co_await transaction.set_local("citadel.actor", caller.actor, deadline));
        CITADEL_CO_TRY(co_await transaction.set_local("citadel.request_id", caller.request_id, deadline));
        CITADEL_CO_TRY(co_await transaction.execute(make_tenant, pg::Params(name), deadline));
        CITADEL_CO_ASSIGN(const pg::Rows rows,
                          co_await transaction.execute(select_tenant, pg::Params(name), deadline));
        co_return tenant_of(rows[0]);
      });
  if (!made && made.error().code == Code::conflict)
    co_return fail(Code::conflict, fmt::format("name: there is a tenant {} already", name));
  co_return made;
}

Task<Result<std::vector<Tenant>>> list_tenants(store::Database& database, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 select_tenants, pg::Params(listed_max)));
  std::vector<Tenant> out;
  for (const pg::Row row : rows) out.push_back(tenant_of(row));
  co_return out;
}

Task<Result<Tenant>> find_tenant(store::Database& database, std::string name, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await database.query(deadline, store::Intent::read_your_writes,
                                                                 select_tenant, pg::Params(name)));
  if (rows.empty()) co_return fail(Code::not_found, fmt::format("there is no tenant {}", name));
  co_return tenant_of(rows[0]);
}

Task<Result<Principal>> create_principal(store::Database& database, std::int32_t tenant, std::string name,
                                         Role role, Caller caller, Deadline deadline) {
  auto made = co_await database.transact<Principal>(
      deadline, store::Intent::write, {.name = insert_principal.name},
      [&](pg::Transaction& transaction) -> Task<Result<Principal>> {
        CITADEL_CO_TRY(co_await act_for(transaction, tenant, caller, deadline));
        CITADEL_CO_TRY(co_await check_room(transaction, count_principals, "principals", deadline));
        CITADEL_CO_ASSIGN(const pg::Rows rows,
                          co_await transaction.execute(insert_principal,
                                                       pg::Params(tenant, name, to_string(role)), deadline));
        co_return principal_of(rows[0]);
      });
  if (!made && made.error().code == Code::conflict)
    co_return fail(Code::conflict, fmt::format("name: the tenant has a principal {} already", name));
  co_return made;
}

Task<Result<std::vector<Principal>>> list_principals(store::Database& database, std::int32_t tenant,
                                                     Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await read_of(database, tenant, select_principals, deadline));
  std::vector<Principal> out;
  for (const pg::Row row : rows) out.push_back(principal_of(row));
  co_return out;
}

Task<Result<Principal>> set_disabled(store::Database& database, std::int32_t tenant, std::string name,
                                     bool disabled, Caller caller, Deadline deadline) {
  co_return co_await database.transact<Principal>(
      deadline, store::Intent::write, {.name = disable_principal.name},
      [&](pg::Transaction& transaction) -> Task<Result<Principal>> {
        CITADEL_CO_TRY(co_await act_for(transaction, tenant, caller, deadline));
        CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(
                                                   disable_principal, pg::Params(name, disabled), deadline));
        if (rows.empty()) co_return no_principal(name);
        co_return principal_of(rows[0]);
      });
}

Task<Result<IssuedKey>> create_key(store::Database& database, const Pepper& pepper, std::int32_t tenant,
                                   std::string principal, std::optional<std::chrono::seconds> valid_for,
                                   Caller caller, Deadline deadline) {
  const FreshKey fresh(pepper, system_clock().wall());
  std::optional<std::int64_t> seconds;
  if (valid_for) seconds = valid_for->count();
  CITADEL_CO_ASSIGN(
      auto info, co_await database.transact<KeyInfo>(
                     deadline, store::Intent::write, {.name = insert_key.name},
                     [&](pg::Transaction& transaction) -> Task<Result<KeyInfo>> {
                       CITADEL_CO_TRY(co_await act_for(transaction, tenant, caller, deadline));
                       CITADEL_CO_ASSIGN(
                           const pg::Rows rows,
                           co_await transaction.execute(select_principal, pg::Params(principal), deadline));
                       if (rows.empty()) co_return no_principal(principal);
                       co_return co_await store_key(transaction, fresh, tenant, rows[0].get<std::int32_t>(0),
                                                    seconds, deadline);
                     }));
  co_return IssuedKey{std::move(info), fresh.key.text};
}

Task<Result<std::vector<KeyInfo>>> list_keys(store::Database& database, std::int32_t tenant,
                                             Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await read_of(database, tenant, select_keys, deadline));
  std::vector<KeyInfo> out;
  for (const pg::Row row : rows) out.push_back(key_of(row));
  co_return out;
}

Task<Result<IssuedKey>> rotate_key(store::Database& database, const Pepper& pepper, std::int32_t tenant,
                                   Uuid id, std::chrono::seconds overlap, Caller caller, Deadline deadline) {
  const FreshKey fresh(pepper, system_clock().wall());
  CITADEL_CO_ASSIGN(auto info,
                    co_await database.transact<KeyInfo>(
                        deadline, store::Intent::write, {.name = replace_key.name},
                        [&](pg::Transaction& transaction) -> Task<Result<KeyInfo>> {
                          CITADEL_CO_TRY(co_await act_for(transaction, tenant, caller, deadline));
                          CITADEL_CO_ASSIGN(const pg::Rows rows,
                                            co_await transaction.execute(lock_key, pg::Params(id), deadline));
                          if (rows.empty()) co_return no_key(id);
                          if (rows[0].get<bool>(9))
                            co_return fail(Code::conflict, "the key has ended: create a new one");
                          if (!rows[0].is_null(6))
                            co_return fail(Code::conflict, "the key was rotated before");
                          CITADEL_CO_ASSIGN(
                              auto made,
                              co_await store_key(transaction, fresh, tenant, rows[0].get<std::int32_t>(7),
                                                 rows[0].get<std::optional<std::int64_t>>(8), deadline));
                          const pg::Params params(id, fresh.id, std::int64_t{overlap.count()});
                          CITADEL_CO_TRY(co_await transaction.execute(replace_key, params, deadline));
                          co_return made;
                        }));
  co_return IssuedKey{std::move(info), fresh.key.text};
}

Task<Result<KeyInfo>> revoke_key(store::Database& database, std::int32_t tenant, Uuid id, Caller caller,
                                 Deadline deadline) {
  co_return co_await database.transact<KeyInfo>(
      deadline, store::Intent::write, {.name = end_key.name},
      [&](pg::Transaction& transaction) -> Task<Result<KeyInfo>> {
        CITADEL_CO_TRY(co_await act_for(transaction, tenant, caller, deadline));
        CITADEL_CO_ASSIGN(const pg::Rows rows,
                          co_await transaction.execute(lock_key, pg::Params(id), deadline));
        if (rows.empty()) co_return no_key(id);
        if (rows[0].get<bool>(9)) co_return fail(Code::conflict, "the key has ended before");
        CITADEL_CO_TRY(co_await transaction.execute(end_key, pg::Params(id), deadline));
        co_return co_await read_key(transaction, id, deadline);
      });
}

Task<Result<void>> refresh(store::Database& database, Keyring& keyring, const Clock& clock,
                           Deadline deadline) {
  const auto ticket = keyring.begin_refresh();
  const auto read_at = clock.monotonic();
  CITADEL_CO_ASSIGN(const pg::Rows state,
                    co_await database.query(deadline, store::Intent::read_your_writes, select_state, {}));
  if (state.empty()) co_return fail(Code::internal, "access.state has no row");
  const auto stamp = state[0].get<std::int64_t>(0);
  if (keyring.stamp() == stamp) {
    keyring.confirm(ticket, read_at);
    co_return Result<void>();
  }
  const auto check = state[0].get<std::optional<Bytes>>(1);
  const bool foreign = check && digest_of(*check) != keyring.pepper().fingerprint();
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.query(deadline, store::Intent::read_your_writes, select_lookup, {}));
  std::vector<KeyRecord> keys;
  for (const pg::Row row : rows) {
    keys.push_back({.tenant_id = row.get<std::int32_t>(0),
                    .tenant = row.get<std::string>(1),
                    .principal = row.get<std::string>(2),
                    .role = parse_role(row.get<std::string_view>(3)),
                    .prefix = row.get<std::string>(4),
                    .hash = digest_of(row.get<Bytes>(5)),
                    .expires_at = row.get<std::optional<WallTime>>(6),
                    .revoked_at = row.get<std::optional<WallTime>>(7),
                    .revoked = row.get<bool>(8),
                    .disabled = row.get<bool>(9)});
  }
  keyring.replace(ticket, read_at, stamp, foreign, std::move(keys));
  co_return Result<void>();
}

}  // namespace citadel::access
