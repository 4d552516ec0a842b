#include "local/layout.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace citadel::local {
namespace {

Result<void> make_own(const std::filesystem::path& folder, mode_t mode) {
  if (::mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) {
    return fail_errno(errno, fmt::format("make folder {}", folder.string()));
  }
  return {};
}

// The data folder itself stays closed to all but the servers' group, which may pass through it.
Result<void> open_for_servers(const std::filesystem::path& data, const Account& account) {
  if (!account.drop) return {};
  struct stat info{};
  if (::stat(data.c_str(), &info) != 0)
    return fail_errno(errno, fmt::format("data folder {}", data.string()));
  if ((info.st_mode & S_IXOTH) != 0 || info.st_uid == account.uid) return {};
  if (info.st_gid != account.gid && ::chown(data.c_str(), static_cast<uid_t>(-1), account.gid) != 0) {
    return fail_errno(errno, fmt::format("give data folder {} to group {}", data.string(), account.gid));
  }
  if ((info.st_mode & S_IXGRP) != 0) return {};
  if (::chmod(data.c_str(), (info.st_mode & 07777) | S_IXGRP) != 0) {
    return fail_errno(errno, fmt::format("chmod data folder {}", data.string()));
  }
  return {};
}

Result<UniqueFd> lock_data(const std::filesystem::path& data) {
  const auto path = data / "lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd)
    return fail_errno(errno,
                      fmt::format("data folder {} cannot be written: open {}", data.string(), path.string()));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    char holder[32] = {};
    const auto got = ::pread(fd.get(), holder, sizeof holder - 1, 0);
    return fail(
        Code::conflict,
        fmt::format(
            "another citadel (process {}) uses data folder {}; stop it, or choose another folder with --data",
            got > 0 ? std::string_view(holder, static_cast<std::size_t>(got)) : "unknown", data.string()));
  }
  const auto pid = fmt::format("{}", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return fail_errno(errno, fmt::format("write {}", path.string()));
  }
  return fd;
}

bool is_private_folder_of(const std::filesystem::path& folder, const Account& account) {
  struct stat info{};
  return ::lstat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == account.uid &&
         (info.st_mode & 0077) == 0;
}

// PGDATA that another user made; PostgreSQL itself would say no more than that the owner is wrong.
Result<void> check_owner(const std::filesystem::path& postgres, const Account& account) {
  struct stat info{};
  if (::stat(postgres.c_str(), &info) != 0 || info.st_uid == account.uid) return {};
  return fail(
      Code::permission_denied,
      fmt::format(
          "{} belongs to user id {}, and the servers run as {} (user id {}); start as that user, or as "
          "root with local.user naming it",
          postgres.string(), info.st_uid, account.name, account.uid));
}

// Where data/run would make a socket's path too long, a folder under /tmp that data/run.path remembers.
Result<std::filesystem::path> choose_run(const std::filesystem::path& data, const Account& account) {
  const auto plain = data / "run";
  if (plain.string().size() <= socket_folder_bytes_max) {
    CITADEL_TRY(own_folder(plain, account, 0700));
    return plain;
  }
  const auto record = data / "run.path";
  if (auto known = read_file(record, 4096); known && is_private_folder_of(*known, account)) {
    return std::filesystem::path(*known);
  }
  std::string made = "/tmp/citadel-run-XXXXXX";
  if (::mkdtemp(made.data()) == nullptr) return fail_errno(errno, "make a folder for sockets under /tmp");
  CITADEL_TRY(own_folder(made, account, 0700));
  CITADEL_TRY(write_file_durably(record, made, 0600));
  return std::filesystem::path(made);
}

}  // namespace

Result<void> own_folder(const std::filesystem::path& folder, const Account& account, mode_t mode) {
  CITADEL_TRY(make_own(folder, mode));
  struct stat info{};
  if (::stat(folder.c_str(), &info) != 0) return fail_errno(errno, fmt::format("folder {}", folder.string()));
  if (account.drop && (info.st_uid != account.uid || info.st_gid != account.gid) &&
      ::chown(folder.c_str(), account.uid, account.gid) != 0) {
    return fail_errno(errno, fmt::format("give folder {} to user {}", folder.string(), account.name));
  }
  if ((info.st_mode & 07777) != mode && ::chmod(folder.c_str(), mode) != 0) {
    return fail_errno(
        errno, fmt::format("chmod folder {} (it belongs to user id {})", folder.string(), info.st_uid));
  }
  return {};
}

// A folder of something else is not made ours: it would be taken apart with us. A new file system has
// lost+found.
Result<void> check_ours(const std::filesystem::path& data) {
  constexpr std::string_view ours[] = {"lock",    "postgres",  "postgres.new",       "secrets",
                                       "journal", "admin.key", "postgres.extra.conf"};
  std::error_code error;
  if (std::ranges::any_of(ours, [&](auto name) { return std::filesystem::exists(data / name, error); }))
    return {};
  for (const auto& entry : std::filesystem::directory_iterator(data, error)) {
    if (entry.path().filename() == "lost+found") continue;
    return fail(
        Code::invalid_argument,
        fmt::format("data folder {} holds something else ({}): name a new or an empty one with --data",
                    data.string(), entry.path().filename().string()));
  }
  if (error) return fail_errno(error.value(), fmt::format("data folder {}", data.string()));
  return {};
}

Result<Layout> prepare_layout(const std::filesystem::path& data, const Account& account) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(data, error).lexically_normal();
  if (data.empty() || error) return fail(Code::invalid_argument, "local.data: no data folder is named");
  if (!std::filesystem::exists(absolute, error)) {
    std::filesystem::create_directories(absolute.parent_path(), error);
    if (error)
      return fail_errno(error.value(), fmt::format("make folder {}", absolute.parent_path().string()));
    CITADEL_TRY(make_own(absolute, 0700));
  }
  if (!std::filesystem::is_directory(absolute, error)) {
    return fail(Code::invalid_argument, fmt::format("data folder {} is not a folder", absolute.string()));
  }
  CITADEL_TRY(check_ours(absolute));
  Layout layout{.data = absolute,
                .postgres = absolute / "postgres",
                .postgres_new = absolute / "postgres.new",
                .pgpool = absolute / "pgpool",
                .run = {},
                .log = absolute / "log",
                .secrets = absolute / "secrets",
                .extra_settings = absolute / "postgres.extra.conf",
                .lock = {}};
  CITADEL_ASSIGN(layout.lock, lock_data(absolute));
  CITADEL_TRY(open_for_servers(absolute, account));
  CITADEL_TRY(check_traversable(account, absolute));
  CITADEL_TRY(check_owner(layout.postgres, account));
  CITADEL_ASSIGN(layout.run, choose_run(absolute, account));
  CITADEL_TRY(own_folder(layout.pgpool, account, 0700));
  CITADEL_TRY(make_own(layout.log, 0700));
  CITADEL_TRY(make_own(layout.secrets, 0700));
  return layout;
}

}  // namespace citadel::local
