#include "local/leftovers.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <initializer_list>
#include <thread>

#include "base/file.hpp"

namespace citadel::local {
namespace {

union SemaphoreArgument {  // semctl's fourth; the caller has to declare it
  int value;
  semid_ds* info;
  seminfo* system;
};

bool is_zombie(const std::filesystem::path& process) {
  const auto stat = read_file(process / "stat", 4096);
  if (!stat) return true;
  const auto end_of_name = stat->rfind(')');
  return end_of_name == std::string::npos || end_of_name + 2 >= stat->size() ||
         (*stat)[end_of_name + 2] == 'Z' || (*stat)[end_of_name + 2] == 'X';
}

// A zombie holds nothing any more; whoever should reap an orphan may take his time.
bool is_gone(pid_t pid) {
  return (::kill(pid, 0) != 0 && errno == ESRCH) || is_zombie(fmt::format("/proc/{}", pid));
}

bool contains(const std::vector<pid_t>& pids, pid_t pid) {
  return std::ranges::find(pids, pid) != pids.end();
}

// Pgpool-II's control process makes a flag of one byte for itself alone, and ends before anybody has seen its
// number when its parent is killed.
bool is_control_flag(const shmid_ds& info) {
  return info.shm_segsz == 1 && info.shm_perm.__key == IPC_PRIVATE && info.shm_cpid == info.shm_lpid &&
         is_gone(info.shm_cpid);
}

struct Removal {
  unsigned removed = 0;
  bool pending = false;  // something of theirs is still held by a process that is about to end
};

void remove_shared_memory(const std::vector<pid_t>& pids, const Account& account, Removal& out) {
  shmid_ds info{};
  const int last = ::shmctl(0, SHM_INFO, &info);
  for (int index = 0; index <= last; ++index) {
    const int id = ::shmctl(index, SHM_STAT, &info);
    if (id < 0 || info.shm_perm.cuid != account.uid) continue;
    const bool theirs = contains(pids, info.shm_cpid);
    if (info.shm_nattch != 0) {
      out.pending |= theirs;
    } else if ((theirs || is_control_flag(info)) && ::shmctl(id, IPC_RMID, nullptr) == 0) {
      ++out.removed;
    }
  }
}

void remove_semaphores(const std::vector<pid_t>& pids, const Account& account, Removal& out) {
  seminfo system{};
  SemaphoreArgument argument{};
  argument.system = &system;
  const int last = ::semctl(0, 0, SEM_INFO, argument);
  for (int index = 0; index <= last; ++index) {
    semid_ds info{};
    argument.info = &info;
    const int id = ::semctl(index, 0, SEM_STAT, argument);
    if (id < 0 || info.sem_perm.cuid != account.uid) continue;
    // A set does not say who made it, but each semaphore says who changed it last, if only to set its first
    // value.
    bool theirs = false, used = false;
    for (unsigned long i = 0; i < info.sem_nsems; ++i) {
      const pid_t user = ::semctl(id, static_cast<int>(i), GETPID);
      theirs |= contains(pids, user);
      used |= user < 0 || (user > 0 && !is_gone(user));
    }
    if (theirs && used) out.pending = true;
    if (theirs && !used && ::semctl(id, 0, IPC_RMID) == 0) ++out.removed;
  }
}

// A process of `account` with that working folder and program; a zombie is none.
class Theirs {
 public:
  Theirs(const std::filesystem::path& folder, std::string_view program, const Account& account)
      : program_(program), account_(account), known_(::stat(folder.c_str(), &folder_) == 0) {}

  bool operator()(pid_t pid) const {
    const std::filesystem::path process = fmt::format("/proc/{}", pid);
    struct stat info{};
    if (!known_ || ::stat(process.c_str(), &info) != 0 || info.st_uid != account_.uid) return false;
    if (::stat((process / "cwd").c_str(), &info) != 0) return false;
    if (info.st_dev != folder_.st_dev || info.st_ino != folder_.st_ino) return false;
    std::error_code gone;
    auto binary = std::filesystem::read_symlink(process / "exe", gone).filename().string();
    if (const auto deleted = binary.find(" (deleted)"); deleted != std::string::npos) binary.resize(deleted);
    return binary == program_ && !is_zombie(process);
  }

 private:
  std::string_view program_;
  const Account& account_;
  struct stat folder_{};
  bool known_;
};

// Only where the number still is one of theirs: between a look and a signal it may pass on to somebody else.
// A descriptor does not.
void send(const Theirs& theirs, pid_t pid, std::initializer_list<int> signals) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process || !theirs(pid)) return;
  for (const int signal : signals) ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0);
}

}  // namespace

std::vector<pid_t> find_processes(const std::filesystem::path& folder, std::string_view program,
                                  const Account& account) {
  std::vector<pid_t> out;
  const Theirs theirs(folder, program, account);
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const auto name = entry->path().filename().string();
    pid_t pid = 0;
    const auto [rest, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc{} || rest != name.data() + name.size()) continue;
    if (theirs(pid)) out.push_back(pid);
  }
  return out;
}

Result<std::vector<pid_t>> end_processes(const std::filesystem::path& folder, std::string_view program,
                                         const Account& account, pid_t leader, int first, Deadline deadline) {
  const Theirs theirs(folder, program, account);
  const auto impatient = Deadline::after(deadline.remaining() / 2);
  std::vector<pid_t> seen;
  bool asked = false;
  for (;;) {
    const auto live = find_processes(folder, program, account);
    if (live.empty()) return seen;
    if (deadline.expired()) {
      return fail(Code::deadline_exceeded, fmt::format("{} process {} of {} does not end, even by SIGKILL",
                                                       program, live.front(), folder.string()));
    }
    const bool led = contains(live, leader) && !impatient.expired();
    if (led && !asked) send(theirs, leader, {first});
    asked = asked || led;
    for (const auto pid : live) {
      if (!contains(seen, pid)) seen.push_back(pid);
      // A stopped process hears no other signal than SIGCONT.
      if (led) {
        send(theirs, pid, {SIGCONT});
      } else {
        send(theirs, pid, {SIGKILL, SIGCONT});
      }
    }
    // sleep: not our children, so there is nothing to wait on
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

unsigned remove_ipc(std::vector<pid_t> pids, const Account& account, Deadline deadline) {
  std::erase_if(pids, [](pid_t pid) { return pid <= 0; });
  if (pids.empty()) return 0;
  Removal done;
  for (;;) {
    done.pending = std::ranges::any_of(pids, [](pid_t pid) { return !is_gone(pid); });
    if (!done.pending) {
      remove_shared_memory(pids, account, done);
      remove_semaphores(pids, account, done);
    }
    if (!done.pending || deadline.expired()) return done.removed;
    // sleep: not our children, so there is nothing to wait on
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

pid_t read_pid_file(const std::filesystem::path& path) {
  const auto text = read_file(path, 4096);
  pid_t pid = -1;
  if (text) std::from_chars(text->data(), text->data() + text->size(), pid);
  return pid;
}

}  // namespace citadel::local
