#include "access/keyring.hpp"

#include <fmt/format.h>

#include "crypto/hmac.hpp"

namespace citadel::access {
namespace {

std::unexpected<Error> not_known(std::string why) {
  return fail(Code::unavailable, "whether this key is valid is not known now: " + std::move(why),
              Retry::safe);
}

}  // namespace

Keyring::Keyring(Pepper pepper, const Clock& clock, Monotonic::duration stale_max)
    : pepper_(std::move(pepper)), clock_(clock), stale_max_(stale_max) {}

Keyring::View Keyring::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

Result<Identity> Keyring::identify(std::string_view key, Identity* known) const {
  const auto prefix = prefix_of(key);
  if (!prefix) return fail(Code::unauthenticated, "this key is not valid");
  const auto [table, confirmed_at] = view();
  if (!table) return not_known("the database has not been reached since the start");
  const auto age = clock_.monotonic() - confirmed_at;
  if (age > stale_max_) {
    return not_known("the database has been away for longer than access.stale_max");
  }
  if (table->foreign) return not_known("access.pepper_file is not that of this database's keys");
  // As much work where there is no such prefix, and where the secret is wrong.
  const auto hash = pepper_.hash(key);
  const auto found = table->by_prefix.find(std::string(*prefix));
  const bool is_there = found != table->by_prefix.end();
  if (!crypto::equal_in_constant_time(is_there ? found->second.hash : crypto::Digest{}, hash)) {
    if (!is_there && age > fresh_time) return not_known("the database is away, and it may be a new one");
    return fail(Code::unauthenticated, "this key is not valid");
  }
  const KeyRecord& record = found->second;
  Identity identity{record.tenant, record.tenant_id, fmt::format("{}/{}", record.tenant, record.principal),
                    record.role.value_or(Role::reader), record.prefix};
  if (known) *known = identity;
  const auto now = clock_.wall();
  if (record.revoked || (record.revoked_at && *record.revoked_at <= now)) {
    return fail(Code::unauthenticated, "this key was revoked");
  }
  if (record.expires_at && *record.expires_at <= now) {
    return fail(Code::unauthenticated, "this key has expired");
  }
  if (record.disabled) return fail(Code::unauthenticated, "this key's principal is disabled");
  if (!record.role)
    return fail(Code::permission_denied,
                "the role of this key's principal is not known here: a newer Citadel made it");
  return identity;
}

std::uint64_t Keyring::begin_refresh() {
  const std::lock_guard lock(mutex_);
  return ++begun_;
}

std::optional<std::int64_t> Keyring::stamp() const {
  const auto [table, confirmed_at] = view();
  if (!table) return std::nullopt;
  return table->stamp;
}

void Keyring::confirm(std::uint64_t refresh, MonotonicTime read_at) {
  const std::lock_guard lock(mutex_);
  if (refresh < applied_) return;
  applied_ = refresh;
  view_.confirmed_at = read_at;
}

void Keyring::replace(std::uint64_t refresh, MonotonicTime read_at, std::int64_t stamp, bool foreign,
                      std::vector<KeyRecord> keys) {
  auto table = std::make_shared<Table>();
  table->stamp = stamp;
  table->foreign = foreign;
  for (auto& key : keys) {
    auto prefix = key.prefix;
    table->by_prefix.emplace(std::move(prefix), std::move(key));
  }
  const std::lock_guard lock(mutex_);
  if (refresh < applied_) return;
  applied_ = refresh;
  view_ = {std::move(table), read_at};
}

KeyringStatus Keyring::status() const {
  const auto [table, confirmed_at] = view();
  if (!table) return {};
  const auto age = clock_.monotonic() - confirmed_at;
  return {table->by_prefix.size(), age, age <= stale_max_ && !table->foreign, table->foreign};
}

}  // namespace citadel::access
