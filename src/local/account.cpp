#include "local/account.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

namespace citadel::local {
namespace {

Account make_account(const passwd& entry, bool drop) {
  Account account{
      .name = entry.pw_name, .uid = entry.pw_uid, .gid = entry.pw_gid, .groups = {}, .drop = drop};
  int count = 64;
  account.groups.resize(static_cast<std::size_t>(count));
  if (::getgrouplist(entry.pw_name, entry.pw_gid, account.groups.data(), &count) < 0) count = 0;
  account.groups.resize(static_cast<std::size_t>(count));
  return account;
}

std::optional<Account> find_account(const std::string& name, bool drop) {
  passwd entry{};
  passwd* found = nullptr;
  char buffer[16384];
  if (::getpwnam_r(name.c_str(), &entry, buffer, sizeof buffer, &found) != 0 || found == nullptr)
    return std::nullopt;
  return make_account(*found, drop);
}

Account own_account() {
  passwd entry{};
  passwd* found = nullptr;
  char buffer[16384];
  if (::getpwuid_r(::geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) {
    return make_account(*found, false);
  }
  return {.name = fmt::format("{}", ::geteuid()),
          .uid = ::geteuid(),
          .gid = ::getegid(),
          .groups = {},
          .drop = false};
}

}  // namespace

Result<Account> choose_account(const std::string& wanted) {
  if (::geteuid() != 0) {
    auto own = own_account();
    if (wanted.empty() || wanted == own.name) return own;
    return fail(
        Code::invalid_argument,
        fmt::format("local.user is {}, but only root can start the servers as another user than {}; leave it "
                    "empty or start as root",
                    wanted, own.name));
  }
  if (!wanted.empty()) {
    auto account = find_account(wanted, true);
    if (!account) return fail(Code::invalid_argument, fmt::format("local.user: there is no user {}", wanted));
    if (account->uid == 0) {
      return fail(Code::invalid_argument,
                  "local.user is root, as which PostgreSQL refuses to run; name another user");
    }
    return *account;
  }
  for (const char* name : {"postgres", "nobody"}) {
    if (auto account = find_account(name, true); account && account->uid != 0) return *account;
  }
  return fail(Code::not_found,
              "there is neither a user postgres nor nobody to run the servers as; name one in local.user");
}

bool become(const Account& account) {
  if (!account.drop) return true;
  // System calls and not their wrappers: those would signal the threads that this copy of the process does
  // not have.
  return ::syscall(SYS_setgroups, account.groups.size(), account.groups.data()) == 0 &&
         ::syscall(SYS_setresgid, account.gid, account.gid, account.gid) == 0 &&
         ::syscall(SYS_setresuid, account.uid, account.uid, account.uid) == 0;
}

Result<void> check_traversable(const Account& account, const std::filesystem::path& folder) {
  std::vector<std::string> way;
  for (auto path = folder;; path = path.parent_path()) {
    way.push_back(path.string());
    if (path == path.parent_path()) break;
  }
  std::ranges::reverse(way);
  // Asked as the user itself, so that access lists and mounts have their say.
  const pid_t child = ::fork();
  if (child < 0) return fail_errno(errno, "make a process");
  if (child == 0) {
    if (!become(account)) ::_exit(254);
    for (std::size_t i = 0; i < way.size() && i < 250; ++i) {
      if (::access(way[i].c_str(), X_OK) != 0) ::_exit(static_cast<int>(i) + 1);
    }
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  if (code == 254)
    return fail(Code::permission_denied, fmt::format("the system refuses to become user {}", account.name));
  if (code == 0) return {};
  return fail(
      Code::permission_denied,
      fmt::format("user {}, as which the servers run, cannot enter {}, on the way to the data folder {}; "
                  "chmod o+x it, or choose another data folder",
                  account.name, way[static_cast<std::size_t>(code) - 1], folder.string()));
}

}  // namespace citadel::local
