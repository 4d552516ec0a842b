// LocalServers: a private PostgreSQL and a private Pgpool-II in a data folder, created at the first start,
// supervised while this object lives, stopped with it, and kept from start to start.
//
//   auto servers = local::LocalServers::start({.data = "/var/lib/citadel"}, Deadline::after(60s), print);
//   if (!servers) …                                // says what is wrong and what to do
//   connect((*servers)->pooled(), local::app_role, (*servers)->app_password());
//   (*servers)->stop(Deadline::after(10s));
//
// The data folder holds postgres/ (PGDATA), pgpool/, run/ (sockets), log/, secrets/ (passwords, one 0600 file
// each) and, if an operator makes it, postgres.extra.conf with settings of his own. One process at a time may
// use it.
//
// A server that dies is started again, at once the first time, then with growing pauses. Should this process
// die, by SIGKILL even, the kernel tells both servers to shut down; what is left over from a start that could
// not end cleanly is found and stopped by the next one. Started by root, the servers run as an unprivileged
// user.
//
// Thread-safe. Calls block for as long as their deadline allows; nothing here may be called from an I/O
// thread, save what only reads (endpoints, passwords, status).
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "base/error.hpp"
#include "base/secret.hpp"

namespace citadel::local {

inline constexpr std::string_view database_name = "citadel_ai";
inline constexpr std::string_view owner_role = "citadel_owner";  // owns the schemas, runs migrations
inline constexpr std::string_view app_role = "citadel_app";      // the daemon's; owns nothing
inline constexpr std::string_view superuser_role = "postgres";

enum class Durability : std::uint8_t {
  full,
  none  // for tests: a power cut loses everything, and nothing waits for the disk
};

struct LocalOptions {
  std::filesystem::path data;
  std::string host = "127.0.0.1";  // an IPv4 address that both servers listen on
  std::uint16_t postgres_port = 5434;
  std::uint16_t pgpool_port = 5433;
  // The servers' user when this process is root; empty: postgres if there is one, else nobody. Must be empty
  // or the own name otherwise.
  std::string user = {};
  // Clients that Pgpool-II serves at a time: 100 for the pool, and headroom for cancels and people.
  unsigned pgpool_children = 120;
  // Lines of postgresql.conf after Citadel's own and before the operator's.
  std::string postgres_settings = {};
  Durability durability = Durability::full;
  // Where the programs are; empty: the newest in /usr/lib/postgresql/*/bin that fits the data, then PATH.
  std::filesystem::path postgres_folder = {};
  std::filesystem::path pgpool_program = {};
  // Asked where the servers' ports are looked at, with the same effect: whether what the caller itself will
  // need can be had, as a port of its own.
  std::function<Result<void>()> check_first = {};
};

enum class Server : std::uint8_t { postgres, pgpool };
std::string_view to_string(Server server);  // "PostgreSQL", "Pgpool-II"

enum class State : std::uint8_t {
  stopped,   // on demand
  starting,  // runs and does not answer yet
  running,
  waiting,    // died; is started again after a pause
  crash_loop  // has died too often in a row to hope; still tried, at the longest pause
};
std::string_view to_string(State state);

struct ServerStatus {
  State state = State::stopped;
  pid_t pid = -1;              // its parent process; -1 where none runs
  std::uint64_t restarts = 0;  // since start()
  std::string last_failure;    // how it died last, with the tail of its log; empty if it never did
};

struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
  std::string database;
};

// Called on the thread that called start(), with a sentence.
using Progress = std::function<void(std::string_view)>;

class LocalServers {
 public:
  // `cancelled` where a stop is asked for meanwhile: what had been started has ended then, and the data
  // folder is good for another start. `conflict` for a port in use, before anything is made or started.
  static Result<std::unique_ptr<LocalServers>> start(LocalOptions options, Deadline deadline,
                                                     Progress progress = {},
                                                     const std::stop_token& stop = {});
  // Stops what runs, within 10 s.
  ~LocalServers();
  LocalServers(const LocalServers&) = delete;
  LocalServers& operator=(const LocalServers&) = delete;

  Endpoint direct() const;  // PostgreSQL
  Endpoint pooled() const;  // Pgpool-II
  const Secret& owner_password() const;
  const Secret& app_password() const;
  const Secret& superuser_password() const;
  // The file that holds a role's password, for a client that reads secrets from files.
  std::filesystem::path password_file(std::string_view role) const;
  std::filesystem::path log_file(Server server) const;
  // Where PostgreSQL's Unix socket lies; only root and the servers' user get in.
  const std::filesystem::path& socket_folder() const;
  int postgres_major() const;

  ServerStatus status(Server server) const;
  // Pgpool-II first, then PostgreSQL: clients end, data is written out. At the deadline what still runs is
  // killed.
  Result<void> stop(Deadline deadline);

  // One server alone, for `citadel verify` and tests. A stopped server stays so until it is started.
  Result<void> stop(Server server, Deadline deadline);
  Result<void> start(Server server, Deadline deadline);
  // A signal to the server's parent process; not_found where none runs.
  Result<void> kill(Server server, int signal);
  // A signal to all its processes: SIGSTOP and SIGCONT make it hang and go on.
  Result<void> kill_all(Server server, int signal);
  // All its processes.
  std::vector<pid_t> processes(Server server) const;

 private:
  struct Impl;
  explicit LocalServers(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::local
