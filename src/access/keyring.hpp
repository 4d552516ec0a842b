// Keyring: the keys as the database had them last, in memory, so that a request is let in or not without a
// query, and goes on being so while the database is away. refresh() of access/store.hpp keeps it new.
//
// Thread-safe; identify() takes a lock for a moment and never waits for I/O.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "access/key.hpp"
#include "access/role.hpp"
#include "base/clock.hpp"

namespace citadel::access {

struct KeyRecord {
  std::int32_t tenant_id = 0;
  std::string tenant, principal;
  std::optional<Role> role =
      {};  // nullopt: one that this version does not know, and that so may call nothing
  std::string prefix;
  crypto::Digest hash{};
  std::optional<WallTime> expires_at = {}, revoked_at = {};
  bool revoked = false;   // by the database's clock, whatever ours says of revoked_at
  bool disabled = false;  // the principal is
};

// Whose a key is.
struct Identity {
  std::string tenant;
  std::int32_t tenant_id = 0;
  std::string principal;  // "acme/alice"
  Role role = Role::reader;
  std::string prefix;  // of the key
};

struct KeyringStatus {
  std::size_t keys = 0;
  std::optional<Monotonic::duration> age;  // since they were known to be those of the database; none: never
  bool usable = false;                     // a key is let in, where it is valid
  bool foreign = false;                    // made with another pepper
};

class Keyring {
 public:
  // For this long after the database last confirmed what is here, a key that is not here is not valid; later
  // one cannot know, because it may have been made since.
  static constexpr auto fresh_time = std::chrono::seconds(5);

  // `clock` outlives it. `stale_max`: how long keys are served without the database.
  Keyring(Pepper pepper, const Clock& clock, Monotonic::duration stale_max);

  // unauthenticated: not valid, expired, revoked, or its principal disabled. unavailable: nobody can know
  // now, and why. permission_denied: its role is not known here. `known` is whose it is, as soon as the
  // secret was right, also where the key is refused. A key that another daemon has just made is not valid
  // here until the next look.
  Result<Identity> identify(std::string_view key, Identity* known = nullptr) const;

  // For refresh(): a number that grows with each call; what began earlier does not overwrite what began
  // later.
  std::uint64_t begin_refresh();
  std::optional<std::int64_t> stamp() const;
  // What the database had at `read_at`, before it was asked. `foreign`: its keys were made with another
  // pepper.
  void confirm(std::uint64_t refresh, MonotonicTime read_at);
  void replace(std::uint64_t refresh, MonotonicTime read_at, std::int64_t stamp, bool foreign,
               std::vector<KeyRecord> keys);

  const Pepper& pepper() const { return pepper_; }
  KeyringStatus status() const;

 private:
  struct Table {
    std::int64_t stamp = 0;
    bool foreign = false;
    std::unordered_map<std::string, KeyRecord> by_prefix;
  };
  struct View {
    std::shared_ptr<const Table> table;
    MonotonicTime confirmed_at{};
  };
  View view() const;

  const Pepper pepper_;
  const Clock& clock_;
  const Monotonic::duration stale_max_;
  mutable std::mutex mutex_;
  View view_;                              // guarded by mutex_; no table: never read
  std::uint64_t begun_ = 0, applied_ = 0;  // guarded by mutex_
};

}  // namespace citadel::access
