#include "local/supervisor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <ranges>

#include "base/log.hpp"

namespace citadel::local {
namespace {

using namespace std::chrono_literals;

constexpr auto ready_poll = 5ms;  // while a server starts; there is no event to wait for
constexpr auto idle_poll = 5s;    // otherwise: only to look at the logs' sizes
constexpr auto pause_first = 200ms;
constexpr auto pause_max = 10s;
constexpr std::size_t tail_bytes_max = 2000;

// Only the supervisor's thread changes what these calls look at; who asks for a status must not wait for
// them.
template <class Function>
auto unlocked(std::unique_lock<std::mutex>& lock, Function&& function) {
  lock.unlock();
  auto result = function();
  lock.lock();
  return result;
}

}  // namespace

struct Supervisor::Server {
  Program program;
  bool wanted = false;
  bool one_try = false;  // the caller of start() waits: a death is his to know and is not mended
  State state = State::stopped;
  Child child;
  pid_t last_pid = -1;
  unsigned deaths_in_row = 0;
  std::uint64_t restarts = 0;
  std::string last_failure;
  MonotonicTime running_since{}, restart_at{}, look_at{};
  unsigned broken_looks = 0;  // in a row
  Deadline stop_by = Deadline::at({});
  int stop_stage = 0;  // 0 not asked, 1 asked, 2 told to abort, 3 killed
  MonotonicTime stop_asked{};
};

std::chrono::milliseconds restart_pause(unsigned deaths_in_row) {
  if (deaths_in_row <= 1) return 0ms;
  const auto doublings = std::min(deaths_in_row - 2, 10u);
  return std::min<std::chrono::milliseconds>(pause_first * (1 << doublings), pause_max);
}

std::string log_tail(const std::filesystem::path& log) {
  std::ifstream file(log, std::ios::binary | std::ios::ate);
  if (!file) return {};
  const auto size = static_cast<std::size_t>(file.tellg());
  const auto from = size > tail_bytes_max ? size - tail_bytes_max : 0;
  file.seekg(static_cast<std::streamoff>(from));
  std::string text(size - from, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  if (from > 0) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  return text;
}

Supervisor::Supervisor(Account account, std::vector<Program> programs)
    : account_(std::move(account)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  for (auto& program : programs) {
    servers_.push_back(std::make_unique<Server>());
    servers_.back()->program = std::move(program);
  }
  thread_ = std::thread([this] { loop(); });
}

Supervisor::~Supervisor() {
  const auto deadline = Deadline::after(10s);
  for (std::size_t i = servers_.size(); i-- > 0;) {
    if (auto stopped = stop(i, deadline); !stopped)
      log::error("local", "not stopped", {{"error", stopped.error()}});
  }
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  wake();
  thread_.join();
}

void Supervisor::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(wake_.get(), &one, sizeof one);
}

Result<void> Supervisor::start(std::size_t index, Deadline deadline, const std::stop_token& stop) {
  // Made before the lock is taken and gone after it is given back: it takes the lock itself.
  const std::stop_callback on_stop(stop, [this] {
    const std::lock_guard guard(mutex_);
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  auto& server = *servers_[index];
  if (server.state == State::running) return {};
  server.wanted = true;
  server.one_try = true;
  server.deaths_in_row = 0;
  server.restart_at = {};
  wake();
  const bool done = changed_.wait_until(lock, deadline.when(), [&] {
    return server.state == State::running || !server.wanted || stop.stop_requested();
  });
  server.one_try = false;
  if (server.state == State::running) return {};
  if (server.wanted && stop.stop_requested()) {
    return fail(Code::cancelled, fmt::format("a stop was asked for while {} started", server.program.name));
  }
  if (done) return fail(Code::unavailable, server.last_failure);
  // Left wanted: whoever gave up waiting decides whether to stop it.
  return fail(Code::deadline_exceeded,
              fmt::format("{} did not become ready in time; the end of {}:\n{}", server.program.name,
                          server.program.log.string(), log_tail(server.program.log)));
}

Result<void> Supervisor::stop(std::size_t index, Deadline deadline) {
  std::unique_lock lock(mutex_);
  auto& server = *servers_[index];
  server.wanted = false;
  server.stop_by = deadline;
  wake();
  // One more second: at the deadline it is killed, which takes a moment.
  if (changed_.wait_until(lock, deadline.when() + 1s, [&] { return server.state == State::stopped; }))
    return {};
  return fail(Code::deadline_exceeded,
              fmt::format("{} (process {}) does not end", server.program.name, server.child.pid));
}

ServerStatus Supervisor::status(std::size_t index) const {
  const std::lock_guard lock(mutex_);
  const auto& server = *servers_[index];
  return {.state = server.state,
          .pid = server.child.pid,
          .restarts = server.restarts,
          .last_failure = server.last_failure};
}

Result<void> Supervisor::kill(std::size_t index, int signal) {
  const std::lock_guard lock(mutex_);
  const auto& server = *servers_[index];
  if (!server.child.watch) return fail(Code::not_found, fmt::format("{} does not run", server.program.name));
  if (::syscall(SYS_pidfd_send_signal, server.child.watch.get(), signal, nullptr, 0) != 0) {
    return fail_errno(errno, fmt::format("signal {}", server.program.name));
  }
  return {};
}

Monotonic::duration Supervisor::patience() const {
  Monotonic::duration out = idle_poll;
  const auto now = Monotonic::now();
  for (const auto& server : servers_) {
    if (server->state == State::running && server->program.broken)
      out = std::clamp<Monotonic::duration>(server->look_at - now, 0ms, out);
    if (server->state == State::starting) out = std::min<Monotonic::duration>(out, ready_poll);
    if (server->child.pid > 0 && !server->wanted) out = std::min<Monotonic::duration>(out, 50ms);
    if (server->child.pid < 0 && server->wanted) {
      out = std::clamp<Monotonic::duration>(server->restart_at - now, 0ms, out);
    }
  }
  return out;
}

void Supervisor::loop() {
  ::prctl(PR_SET_NAME, "citadel-local");
  sigset_t all;
  ::sigfillset(&all);
  // Save what a fault of this thread raises: blocked, it would kill without a word.
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) ::sigdelset(&all, fault);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  std::unique_lock lock(mutex_);
  while (!quit_) {
    for (auto& server : servers_) step(*server, lock);
    std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}};
    for (const auto& server : servers_) {
      if (server->child.watch) fds.push_back({server->child.watch.get(), POLLIN, 0});
    }
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(patience());
    lock.unlock();
    ::poll(fds.data(), fds.size(), static_cast<int>(wait.count()));
    std::uint64_t ignored = 0;
    [[maybe_unused]] const auto got = ::read(wake_.get(), &ignored, sizeof ignored);
    lock.lock();
  }
}

void Supervisor::step(Server& server, std::unique_lock<std::mutex>& lock) {
  if (server.child.pid > 0) {
    if (const auto how = ended(server.child)) died(server, *how);
  }
  if (server.child.pid < 0) {
    if (!server.wanted && server.state != State::stopped) {
      server.state = State::stopped;
      changed_.notify_all();
    }
    if (server.wanted && Monotonic::now() >= server.restart_at) launch(server, lock);
    return;
  }
  if (!server.wanted) return press_stop(server);
  if (server.state == State::starting &&
      unlocked(lock, [&] { return server.program.ready(server.child.pid); })) {
    server.state = State::running;
    server.running_since = Monotonic::now();
    server.look_at = server.running_since + server.program.look_every;
    server.broken_looks = 0;
    log::info("local", "server is ready", {{"server", server.program.name}, {"pid", server.child.pid}});
    changed_.notify_all();
  }
  if (server.state == State::running && server.program.broken && Monotonic::now() >= server.look_at)
    look(server, lock);
  rotate_log(server);
}

void Supervisor::look(Server& server, std::unique_lock<std::mutex>& lock) {
  const bool broken = unlocked(lock, [&] { return server.program.broken(server.child.pid); });
  server.look_at = Monotonic::now() + server.program.look_every;
  server.broken_looks = broken ? server.broken_looks + 1 : 0;
  if (server.broken_looks < looks_max) return;
  log::error("local", "server neither serves nor ends; it is killed and started again",
             {{"server", server.program.name}, {"pid", server.child.pid}});
  server.broken_looks = 0;
  ::syscall(SYS_pidfd_send_signal, server.child.watch.get(), SIGKILL, nullptr, 0);
}

void Supervisor::launch(Server& server, std::unique_lock<std::mutex>& lock) {
  const UniqueFd output(::open(server.program.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!output) return died(server, fail_errno(errno, "open its log").error().to_string());
  // A stop that is asked for meanwhile has to wait for what this makes.
  server.state = State::starting;
  auto child = unlocked(lock, [&]() -> Result<Child> {
    CITADEL_TRY(server.program.clean_up(server.last_pid));
    return spawn(server.program.command, account_, -1, output.get());
  });
  if (!child) return died(server, child.error().to_string());
  server.child = std::move(*child);
  server.last_pid = server.child.pid;
  server.stop_stage = 0;
  changed_.notify_all();
}

void Supervisor::died(Server& server, const std::string& how) {
  const bool stable =
      server.state == State::running && Monotonic::now() - server.running_since >= stable_after;
  server.child = {};
  if (!server.wanted) {
    server.state = State::stopped;
    if (server.stop_stage == 1) server.last_pid = -1;  // it had the time to clean up after itself
    changed_.notify_all();
    return;
  }
  server.deaths_in_row = stable ? 1 : server.deaths_in_row + 1;
  server.last_failure = fmt::format("{} ended with {}; the end of {}:\n{}", server.program.name, how,
                                    server.program.log.string(), log_tail(server.program.log));
  if (server.one_try) {
    server.wanted = false;
    server.state = State::stopped;
  } else {
    ++server.restarts;
    server.restart_at = Monotonic::now() + restart_pause(server.deaths_in_row);
    server.state = server.deaths_in_row >= crash_loop_deaths ? State::crash_loop : State::waiting;
    log::error("local", "server died; it is started again",
               {{"server", server.program.name},
                {"how", how},
                {"deaths_in_row", server.deaths_in_row},
                {"pause_ms", restart_pause(server.deaths_in_row).count()},
                {"log", server.program.log.string()}});
  }
  changed_.notify_all();
}

void Supervisor::press_stop(Server& server) {
  const auto send = [&](int signal) {
    ::syscall(SYS_pidfd_send_signal, server.child.watch.get(), signal, nullptr, 0);
    ::syscall(SYS_pidfd_send_signal, server.child.watch.get(), SIGCONT, nullptr, 0);
  };
  const auto now = Monotonic::now();
  if (server.stop_stage == 0) {
    server.stop_stage = 1;
    server.stop_asked = now;
    send(server.program.stop_signal);
  }
  const auto half = server.stop_asked + (server.stop_by.when() - server.stop_asked) / 2;
  if (server.stop_stage == 1 && now >= half) {
    server.stop_stage = 2;
    send(server.program.abort_signal);
  }
  if (server.stop_stage == 2 && server.stop_by.expired(now)) {
    server.stop_stage = 3;
    send(SIGKILL);
  }
}

void Supervisor::rotate_log(const Server& server) const {
  std::error_code error;
  const auto& log = server.program.log;
  if (std::filesystem::file_size(log, error) < log_bytes_max || error) return;
  // Copied and emptied rather than renamed: the server holds it open, in append mode. A few lines may be
  // lost.
  auto old = log;
  old += ".1";
  std::filesystem::copy_file(log, old, std::filesystem::copy_options::overwrite_existing, error);
  std::filesystem::resize_file(log, 0, error);
}

}  // namespace citadel::local
