#include "local/spawn.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <optional>

#include "base/socket.hpp"

namespace citadel::local {
namespace {

constexpr std::size_t output_bytes_max =
    65536;  // of a program that run() waits for; more is dropped from its start

// What the child needs, made before fork: between fork and exec nothing may allocate or lock.
struct Prepared {
  std::vector<char*> arguments;
  std::vector<char*> environment;
  std::vector<std::string> texts;
};

Prepared prepare(const Command& command, const Account& account) {
  Prepared out;
  const char* path = ::getenv("PATH");
  const char* zone = ::getenv("TZ");
  out.texts = {fmt::format("PATH={}", path != nullptr ? path : "/usr/bin:/bin"), "LC_ALL=C.UTF-8",
               fmt::format("HOME={}", command.folder.string()), fmt::format("USER={}", account.name)};
  if (zone != nullptr) out.texts.push_back(fmt::format("TZ={}", zone));
  for (auto& text : out.texts) out.environment.push_back(text.data());
  for (const auto& text : command.arguments) out.arguments.push_back(const_cast<char*>(text.c_str()));
  out.environment.push_back(nullptr);
  out.arguments.push_back(nullptr);
  return out;
}

[[noreturn]] void exec_in_child(const Command& command, const Account& account, const Prepared& prepared,
                                pid_t parent, int input, int output, int report) {
  ::setsid();
  struct sigaction standard{};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < 65; ++number) ::sigaction(number, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(0077);
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  // The signal is asked for after the change of user, which clears it.
  const bool ready = become(account) && ::prctl(PR_SET_PDEATHSIG, command.death_signal) == 0 &&
                     ::getppid() == parent && ::dup2(input, 0) >= 0 && ::dup2(output, 1) >= 0 &&
                     ::dup2(output, 2) >= 0 && ::chdir(command.folder.c_str()) == 0;
  if (ready) ::execve(prepared.arguments[0], prepared.arguments.data(), prepared.environment.data());
  const int error_number = errno;
  [[maybe_unused]] const auto ignored = ::write(report, &error_number, sizeof error_number);
  ::_exit(127);
}

// A socket pair and not a pipe: writing to a program that has gone must not raise SIGPIPE.
Result<std::array<UniqueFd, 2>> make_pipe() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return fail_errno(errno, "make a pipe");
  return std::array{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

Result<Child> spawn(const Command& command, const Account& account, int input, int output) {
  const auto prepared = prepare(command, account);
  CITADEL_ASSIGN(auto report, make_pipe());
  const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, fmt::format("start {}", command.arguments[0]));
  if (pid == 0) {
    exec_in_child(command, account, prepared, parent, input < 0 ? nothing.get() : input,
                  output < 0 ? nothing.get() : output, report[1].get());
  }
  report[1].reset();
  int error_number = 0;
  ssize_t got = 0;
  do {
    got = ::read(report[0].get(), &error_number, sizeof error_number);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof error_number) {
    ::waitpid(pid, nullptr, 0);
    return fail_errno(error_number, fmt::format("start {} as user {}", command.arguments[0], account.name));
  }
  Child child{.pid = pid, .watch = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
  if (!child.watch) {
    const int why = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail_errno(why, "pidfd_open (Linux 5.3 or later is needed)");
  }
  return child;
}

std::optional<std::string> ended(const Child& child) {
  int status = 0;
  const auto got = ::waitpid(child.pid, &status, WNOHANG);
  if (got == 0) return std::nullopt;
  // Whoever ignores SIGCHLD leaves nothing to reap.
  if (got < 0) return errno == EINTR ? std::nullopt : std::optional<std::string>("an unknown end");
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

Result<std::string> run(const Command& command, const Account& account, std::string_view input,
                        Deadline deadline, const std::stop_token& stop) {
  CITADEL_ASSIGN(auto in, make_pipe());
  CITADEL_ASSIGN(auto out, make_pipe());
  CITADEL_ASSIGN(auto child, spawn(command, account, in[0].get(), out[1].get()));
  in[0].reset();
  out[1].reset();
  const auto program = std::filesystem::path(command.arguments[0]).filename().string();
  std::string text;
  // The whole group: initdb has programs of its own under way. Nobody has reaped it, so its number is still
  // its own; and the output ends only when the last of them has.
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  on_stop.emplace(stop, [pid = child.pid] { ::kill(-pid, SIGKILL); });
  for (;;) {
    if (input.empty()) in[1].reset();
    pollfd fds[] = {{out[0].get(), POLLIN, 0}, {in[1].get(), POLLOUT, 0}};
    ::poll(fds, 2, poll_milliseconds(deadline));
    if (deadline.expired()) {
      on_stop.reset();
      ::kill(-child.pid, SIGKILL);
      ::waitpid(child.pid, nullptr, 0);
      return fail(Code::deadline_exceeded, fmt::format("{} did not end in time", program));
    }
    if (fds[1].revents != 0) {
      const auto written = ::send(in[1].get(), input.data(), input.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (written > 0) input.remove_prefix(static_cast<std::size_t>(written));
      if (written < 0 && errno != EAGAIN && errno != EINTR) input = {};
    }
    if (fds[0].revents == 0) continue;
    char buffer[4096];
    const auto got = ::read(out[0].get(), buffer, sizeof buffer);
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > output_bytes_max) text.erase(0, text.size() - output_bytes_max);
  }
  on_stop.reset();
  int status = 0;
  while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  if (stop.stop_requested())
    return fail(Code::cancelled, fmt::format("{} was ended: a stop was asked for", program));
  if (text.contains("No space left on device")) {
    return fail(Code::storage_full, fmt::format("{}: no space left on the data folder's disk", program));
  }
  return fail(Code::internal, fmt::format("{} failed:\n{}", program, text));
}

}  // namespace citadel::local
