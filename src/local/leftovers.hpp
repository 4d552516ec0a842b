// Leftovers: processes and kernel objects of servers that ended without cleaning up: a parent killed by
// SIGKILL, or a Citadel killed together with the machine's patience. A process is known by its working folder
// and program, never by a number in a file alone: numbers are used again.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <vector>

#include "base/deadline.hpp"
#include "base/error.hpp"
#include "local/account.hpp"

namespace citadel::local {

// Live processes (not zombies) of `account` whose working folder is `folder` and whose program's name is
// `program`.
std::vector<pid_t> find_processes(const std::filesystem::path& folder, std::string_view program,
                                  const Account& account);

// Ends them all and gives who they were. `leader`, their parent, is asked with the signal `first` and has
// half of the time; where it is dead already, or when that time has passed, all get SIGKILL.
// deadline_exceeded names one that is still there.
Result<std::vector<pid_t>> end_processes(const std::filesystem::path& folder, std::string_view program,
                                         const Account& account, pid_t leader, int first, Deadline deadline);

// Removes the System V shared memory and semaphores that the processes `pids` (a server's parent and its
// children) made and that nobody uses any more. Waits until the deadline for those of them that are about to
// end; takes nothing while one lives. Gives how many objects went.
unsigned remove_ipc(std::vector<pid_t> pids, const Account& account, Deadline deadline);

// The first number in a pid file, -1 for none.
pid_t read_pid_file(const std::filesystem::path& path);

}  // namespace citadel::local
