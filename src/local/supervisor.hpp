// Supervisor: keeps a few programs running on a thread of its own: starts them, notices their end at once,
// starts them again with growing pauses, stops them in order. The thread lives as long as the object, because
// the kernel's signal at our death goes by the thread that forked.
//
// Thread-safe; each call blocks until what it asks for has happened, or its deadline.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "local/local.hpp"
#include "local/spawn.hpp"

namespace citadel::local {

// How long a server waits after its nth death in a row before it is started again; the first is not waited
// for.
std::chrono::milliseconds restart_pause(unsigned deaths_in_row);
inline constexpr unsigned crash_loop_deaths = 5;
inline constexpr unsigned looks_max = 3;
// A server that ran this long is no longer in a row of deaths.
inline constexpr std::chrono::seconds stable_after{30};
// A log is copied to NAME.log.1 and emptied at this size.
inline constexpr std::uint64_t log_bytes_max = 16ull * 1024 * 1024;

class Supervisor {
 public:
  struct Program {
    std::string name;
    Command command;
    std::filesystem::path log;
    int stop_signal = 0;                          // asks it to end soon and in order
    int abort_signal = 0;                         // asks it to end now
    std::function<Result<void>(pid_t)> clean_up;  // before each start; the pid that died, or -1
    std::function<bool(pid_t)> ready;             // asked every few milliseconds while it starts
    // Asked every `look_every` while it runs; may be left out. Where it is so `looks_max` times in a row, the
    // program neither serves nor ends: it is killed and started again.
    std::function<bool(pid_t)> broken = nullptr;
    std::chrono::milliseconds look_every{5'000};
  };

  Supervisor(Account account, std::vector<Program> programs);
  // Stops what runs, in reverse order, within 10 s.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Started, and ready. Fails with the tail of the log where it dies meanwhile; it is left stopped then.
  // `cancelled` where a stop was asked for first: it goes on to start, until stop() or the end of this
  // object.
  Result<void> start(std::size_t index, Deadline deadline, const std::stop_token& stop = {});
  // At half of the time it gets the abort signal, then SIGKILL.
  Result<void> stop(std::size_t index, Deadline deadline);
  ServerStatus status(std::size_t index) const;
  // To the process, while it is ours: its number cannot have been used again.
  Result<void> kill(std::size_t index, int signal);

 private:
  struct Server;
  void loop();
  void step(Server& server, std::unique_lock<std::mutex>& lock);
  void launch(Server& server, std::unique_lock<std::mutex>& lock);
  void died(Server& server, const std::string& how);
  void look(Server& server, std::unique_lock<std::mutex>& lock);
  void press_stop(Server& server);
  void rotate_log(const Server& server) const;
  Monotonic::duration patience() const;
  void wake() const;

  const Account account_;
  UniqueFd wake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Server>> servers_;
  bool quit_ = false;
  std::thread thread_;
};

// The last lines of a file, at most 2,000 bytes.
std::string log_tail(const std::filesystem::path& log);

}  // namespace citadel::local
