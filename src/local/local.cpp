#include "local/local.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.hpp"
#include "base/log.hpp"
#include "local/account.hpp"
#include "local/config.hpp"
#include "local/initialise.hpp"
#include "local/layout.hpp"
#include "local/leftovers.hpp"
#include "local/ports.hpp"
#include "local/programs.hpp"
#include "local/supervisor.hpp"

namespace citadel::local {
namespace {

using namespace std::chrono_literals;

constexpr auto leftover_patience = 10s;  // for orphans to write out what they have
constexpr auto kill_patience = 5s;       // for processes that got SIGKILL
constexpr auto exit_patience = 500ms;    // from SIGKILL until the kernel has taken a process apart
constexpr unsigned children_max = 4000;

std::string_view program_name(Server server) {
  return server == Server::postgres ? "postgres" : "pgpool";
}

Result<void> check_options(const LocalOptions& options) {
  if (options.postgres_port == 0 || options.pgpool_port == 0 ||
      options.postgres_port == options.pgpool_port) {
    return fail(Code::invalid_argument,
                fmt::format("the ports of PostgreSQL ({}) and Pgpool-II ({}) must be two "
                            "different ones from 1 to 65535",
                            options.postgres_port, options.pgpool_port));
  }
  if (options.pgpool_children < 1 || options.pgpool_children > children_max) {
    return fail(Code::invalid_argument, fmt::format("Pgpool-II can have 1 to {} children, not {}",
                                                    children_max, options.pgpool_children));
  }
  return {};
}

Result<void> check_ports(const LocalOptions& options) {
  CITADEL_TRY(check_port_free(options.host, options.postgres_port, "--postgres-port"));
  CITADEL_TRY(check_port_free(options.host, options.pgpool_port, "--pgpool-port"));
  return options.check_first ? options.check_first() : Result<void>();
}

// postmaster.pid: the first line is the process, the eighth its state.
bool postgres_is_ready(const std::filesystem::path& postgres, pid_t pid) {
  const auto text = read_file(postgres / "postmaster.pid", 4096);
  return text && text->starts_with(fmt::format("{}\n", pid)) && text->contains("\nready");
}

void remove_sockets(const std::filesystem::path& run, std::uint16_t port) {
  std::error_code ignored;
  std::filesystem::remove(run / fmt::format(".s.PGSQL.{}", port), ignored);
  std::filesystem::remove(run / fmt::format(".s.PGSQL.{}.lock", port), ignored);
}

}  // namespace

std::string_view to_string(Server server) {
  return server == Server::postgres ? "PostgreSQL" : "Pgpool-II";
}

std::string_view to_string(State state) {
  switch (state) {
    case State::stopped:
      return "stopped";
    case State::starting:
      return "starting";
    case State::running:
      return "running";
    case State::waiting:
      return "waiting";
    case State::crash_loop:
      return "crash_loop";
  }
  return "stopped";
}

struct LocalServers::Impl {
  LocalOptions options;
  Account account;
  Layout layout;
  Programs programs;
  Passwords passwords;
  std::unique_ptr<Supervisor> supervisor;

  const std::filesystem::path& folder(Server server) const {
    return server == Server::postgres ? layout.postgres : layout.pgpool;
  }
  std::filesystem::path pid_file(Server server) const {
    return folder(server) / (server == Server::postgres ? "postmaster.pid" : "pgpool.pid");
  }

  Result<void> end_leftovers(Server server, pid_t leader, Monotonic::duration patience) const;
  Result<void> clean_up(Server server, pid_t died) const;
  Result<void> configure() const;
  Result<void> start(Server server, Deadline deadline, const std::stop_token& stop) {
    return supervisor->start(static_cast<std::size_t>(server), deadline, stop);
  }
  Supervisor::Program postgres_program();
  Supervisor::Program pgpool_program();
};

Result<void> LocalServers::Impl::end_leftovers(Server server, pid_t leader,
                                               Monotonic::duration patience) const {
  CITADEL_ASSIGN(auto pids, end_processes(folder(server), program_name(server), account, leader, SIGINT,
                                          Deadline::after(patience)));
  if (!pids.empty()) {
    log::warning("local", "processes were left over and have been ended",
                 {{"server", to_string(server)}, {"count", pids.size()}});
  }
  pids.push_back(leader);
  if (const auto removed = remove_ipc(pids, account, Deadline::after(exit_patience)); removed > 0) {
    log::info("local", "removed shared memory that was left over",
              {{"server", to_string(server)}, {"objects", removed}});
  }
  return {};
}

// Nobody but us uses this folder (the lock) and nothing of its last server runs: what is left is only in the
// way.
Result<void> LocalServers::Impl::clean_up(Server server, pid_t died) const {
  const auto leader = died > 0 ? died : read_pid_file(pid_file(server));
  CITADEL_TRY(end_leftovers(server, leader, died > 0 ? kill_patience : leftover_patience));
  remove_sockets(layout.run, server == Server::postgres ? options.postgres_port : options.pgpool_port);
  std::error_code ignored;
  std::filesystem::remove(pid_file(server), ignored);
  return {};
}

Result<void> LocalServers::Impl::configure() const {
  struct statvfs shared{};
  const bool known = ::statvfs("/dev/shm", &shared) == 0;
  const ConfigInput input{.pgpool_folder = layout.pgpool,
                          .socket_folder = layout.run,
                          .extra_settings = layout.extra_settings,
                          .host = options.host,
                          .postgres_port = options.postgres_port,
                          .pgpool_port = options.pgpool_port,
                          .pgpool_children = options.pgpool_children,
                          .memory_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                                          static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)),
                          .shared_memory_bytes = known ? shared.f_bavail * shared.f_frsize : 0,
                          .durability = options.durability,
                          .settings = options.postgres_settings};
  return write_configuration(layout, account, input, passwords);
}

Supervisor::Program LocalServers::Impl::postgres_program() {
  return {.name = std::string(to_string(Server::postgres)),
          .command = {.arguments = {programs.postgres.string(), "-D", layout.postgres.string()},
                      .folder = layout.postgres,
                      .death_signal = SIGINT},
          .log = layout.log_of("postgres"),
          .stop_signal = SIGINT,
          .abort_signal = SIGQUIT,
          .clean_up = [this](pid_t died) { return clean_up(Server::postgres, died); },
          .ready = [this](pid_t pid) { return postgres_is_ready(layout.postgres, pid); }};
}

Supervisor::Program LocalServers::Impl::pgpool_program() {
  const auto in_folder = [this](std::string_view name) { return (layout.pgpool / name).string(); };
  return {
      .name = std::string(to_string(Server::pgpool)),
      .command = {.arguments = {programs.pgpool.string(), "-n", "-D", "-f", in_folder("pgpool.conf"), "-a",
                                in_folder("pool_hba.conf"), "-F", in_folder("pcp.conf"), "-k", "none"},
                  .folder = layout.pgpool,
                  .death_signal = SIGINT},
      .log = layout.log_of("pgpool"),
      .stop_signal = SIGINT,
      .abort_signal = SIGQUIT,
      .clean_up = [this](pid_t died) { return clean_up(Server::pgpool, died); },
      .ready = [this](pid_t) { return answers(options.host, options.pgpool_port); },
      // Told to stop, it sometimes waits for ever for a child, with the others gone.
      .broken =
          [this](pid_t) {
            return find_processes(layout.pgpool, "pgpool", account).size() <= options.pgpool_children / 2;
          }};
}

LocalServers::LocalServers(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

LocalServers::~LocalServers() = default;

Result<std::unique_ptr<LocalServers>> LocalServers::start(LocalOptions options, Deadline deadline,
                                                          Progress progress, const std::stop_token& stop) {
  if (!progress) progress = [](std::string_view) {};
  CITADEL_TRY(check_options(options));
  // Where nothing was ever started nothing of ours can hold a port, so a refusal need leave nothing behind.
  const auto known = data_major(options.data / "postgres");
  const bool is_new = known && !known->has_value();
  if (is_new) CITADEL_TRY(check_ports(options));
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  CITADEL_ASSIGN(impl->account, choose_account(impl->options.user));
  CITADEL_ASSIGN(impl->layout, prepare_layout(impl->options.data, impl->account));
  CITADEL_ASSIGN(const auto major, data_major(impl->layout.postgres));
  CITADEL_ASSIGN(impl->programs,
                 find_programs(impl->options.postgres_folder, impl->options.pgpool_program, major));
  for (const auto server : {Server::pgpool, Server::postgres}) {
    const auto leader = read_pid_file(impl->pid_file(server));
    if (!find_processes(impl->folder(server), program_name(server), impl->account).empty()) {
      progress(fmt::format("stopping the {} that an earlier start left over", to_string(server)));
    }
    CITADEL_TRY(impl->end_leftovers(server, leader, leftover_patience));
  }
  if (!is_new) CITADEL_TRY(check_ports(impl->options));
  CITADEL_ASSIGN(impl->passwords, load_passwords(impl->layout, !major.has_value()));
  if (!major) {
    CITADEL_TRY(initialise(impl->layout, impl->account, impl->programs, impl->passwords,
                           impl->options.durability, deadline, progress, stop));
  }
  CITADEL_TRY(impl->configure());

  std::vector<Supervisor::Program> programs;
  programs.push_back(impl->postgres_program());
  programs.push_back(impl->pgpool_program());
  impl->supervisor = std::make_unique<Supervisor>(impl->account, std::move(programs));
  auto servers = std::unique_ptr<LocalServers>(new LocalServers(std::move(impl)));
  const auto& made = *servers->impl_;
  progress(fmt::format("starting PostgreSQL {} on port {}", made.programs.postgres_major,
                       made.options.postgres_port));
  CITADEL_TRY(servers->impl_->start(Server::postgres, deadline, stop));
  progress(fmt::format("starting Pgpool-II on port {}", made.options.pgpool_port));
  CITADEL_TRY(servers->impl_->start(Server::pgpool, deadline, stop));
  return servers;
}

Endpoint LocalServers::direct() const {
  // Who listens on all addresses is reached on loopback.
  const auto& host = impl_->options.host;
  return {host == "0.0.0.0" ? "127.0.0.1" : host, impl_->options.postgres_port, std::string(database_name)};
}

Endpoint LocalServers::pooled() const {
  auto endpoint = direct();
  endpoint.port = impl_->options.pgpool_port;
  return endpoint;
}

const Secret& LocalServers::owner_password() const {
  return impl_->passwords.owner;
}
const Secret& LocalServers::app_password() const {
  return impl_->passwords.app;
}
const Secret& LocalServers::superuser_password() const {
  return impl_->passwords.superuser;
}

std::filesystem::path LocalServers::password_file(std::string_view role) const {
  return password_path(impl_->layout, role);
}

std::filesystem::path LocalServers::log_file(Server server) const {
  return impl_->layout.log_of(program_name(server));
}

const std::filesystem::path& LocalServers::socket_folder() const {
  return impl_->layout.run;
}

int LocalServers::postgres_major() const {
  return impl_->programs.postgres_major;
}

ServerStatus LocalServers::status(Server server) const {
  return impl_->supervisor->status(static_cast<std::size_t>(server));
}

Result<void> LocalServers::stop(Deadline deadline) {
  // Pgpool-II's end takes milliseconds; what it leaves of the time is PostgreSQL's.
  auto pgpool = stop(Server::pgpool, Deadline::after(deadline.remaining() / 2));
  auto postgres = stop(Server::postgres, deadline);
  CITADEL_TRY(std::move(pgpool));
  return postgres;
}

Result<void> LocalServers::stop(Server server, Deadline deadline) {
  const auto pid = status(server).pid;
  CITADEL_TRY(impl_->supervisor->stop(static_cast<std::size_t>(server), deadline));
  // A parent that had to be killed has left its children and its memory.
  return impl_->end_leftovers(server, pid, kill_patience);
}

Result<void> LocalServers::start(Server server, Deadline deadline) {
  return impl_->start(server, deadline, {});
}

Result<void> LocalServers::kill(Server server, int signal) {
  return impl_->supervisor->kill(static_cast<std::size_t>(server), signal);
}

Result<void> LocalServers::kill_all(Server server, int signal) {
  const auto pids = processes(server);
  if (pids.empty()) return fail(Code::not_found, fmt::format("{} does not run", to_string(server)));
  for (const auto pid : pids) ::kill(pid, signal);
  return {};
}

std::vector<pid_t> LocalServers::processes(Server server) const {
  return find_processes(impl_->folder(server), program_name(server), impl_->account);
}

}  // namespace citadel::local
