// Account: the unprivileged user that the servers run as. PostgreSQL refuses to run as root.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace citadel::local {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  bool drop = false;  // this process is root: take the account's ids before exec
};

// `wanted` empty: this process's own user, or for root postgres if there is one, else nobody.
Result<Account> choose_account(const std::string& wanted);

// Takes the account's ids in a child between fork and exec; false where the kernel refuses.
// Async-signal-safe.
bool become(const Account& account);

// Whether the account can enter the folder; else permission_denied names the first folder on the way that it
// cannot.
Result<void> check_traversable(const Account& account, const std::filesystem::path& folder);

}  // namespace citadel::local
