// Layout: where everything lies in a data folder, who owns it, and the lock that keeps a second Citadel out.
#pragma once
#include <filesystem>

#include "base/error.hpp"
#include "base/file.hpp"
#include "local/account.hpp"

namespace citadel::local {

struct Layout {
  std::filesystem::path data, postgres, postgres_new, pgpool, run, log, secrets, extra_settings;
  UniqueFd lock;  // held while this lives

  std::filesystem::path log_of(std::string_view name) const { return log / (std::string(name) + ".log"); }
};

// Makes what is missing. The servers own postgres/, pgpool/ and run/; the rest is this process's, 0700.
// `conflict` where another process holds the folder; permission_denied and storage_full say which folder.
Result<Layout> prepare_layout(const std::filesystem::path& data, const Account& account);

// Makes a folder with this owner and mode, or puts one that is there right.
Result<void> own_folder(const std::filesystem::path& folder, const Account& account, mode_t mode);

// The longest name of a socket in run/ is ".s.PGSQL.65535".
inline constexpr std::size_t socket_folder_bytes_max = 107 - 15;

}  // namespace citadel::local
