#include "support/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/check.hpp"
#include "base/file.hpp"

namespace citadel::support {
namespace {

struct Pipe {
  UniqueFd read, write;
  Pipe() {
    int ends[2];
    CITADEL_CHECK(::pipe2(ends, O_CLOEXEC) == 0, "no pipe");
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
  }
};

std::vector<std::string> make_environment(const ProcessOptions& options) {
  std::vector<std::string> all;
  for (const auto& [name, value] : options.environment) all.push_back(name + "=" + value);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto name = text.substr(0, text.find('='));
    bool replaced = false;
    for (const auto& [other, value] : options.environment) replaced |= other == name;
    if (!replaced) all.emplace_back(text);
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

struct Process::State {
  pid_t pid = -1;
  UniqueFd input;
  UniqueFd stop_read, stop_write;  // closing the latter ends the reader
  std::thread reader;

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::string out, err;
  std::size_t line_start = 0;
  bool ended = false;  // the process has been reaped
  bool output_ended = false;
  int status = 0;

  void read_all(UniqueFd out_fd, UniqueFd err_fd);
  void take(UniqueFd& fd, std::string& into);
  bool reap(bool wait_for_it);
};

void Process::State::take(UniqueFd& fd, std::string& into) {
  char buffer[16384];
  const auto got = ::read(fd.get(), buffer, sizeof buffer);
  const std::lock_guard lock(mutex);
  if (got > 0) {
    into.append(buffer, static_cast<std::size_t>(got));
  } else if (got == 0 || errno != EINTR) {
    fd.reset();
  }
  changed.notify_all();
}

void Process::State::read_all(UniqueFd out_fd, UniqueFd err_fd) {
  while (out_fd || err_fd) {
    pollfd fds[] = {{out_fd.get(), POLLIN, 0}, {err_fd.get(), POLLIN, 0}, {stop_read.get(), POLLIN, 0}};
    ::poll(fds, 3, -1);
    if (fds[2].revents != 0) break;
    if (fds[0].revents != 0) take(out_fd, out);
    if (fds[1].revents != 0) take(err_fd, err);
  }
  const std::lock_guard lock(mutex);
  output_ended = true;
  changed.notify_all();
}

bool Process::State::reap(bool wait_for_it) {
  if (ended) return true;
  int raw = 0;
  if (::waitpid(pid, &raw, wait_for_it ? 0 : WNOHANG) != pid) return false;
  const std::lock_guard lock(mutex);
  ended = true;
  status = WIFEXITED(raw) ? WEXITSTATUS(raw) : -WTERMSIG(raw);
  return true;
}

Process::Process(std::vector<std::string> arguments, ProcessOptions options)
    : state_(std::make_unique<State>()) {
  Pipe in, out, err, stop;
  auto environment = make_environment(options);
  auto environment_pointers = pointers(environment);
  auto argument_pointers = pointers(arguments);
  const pid_t parent = ::getpid();
  // vfork: a sanitizer has mapped so much that copying its page tables takes longer than psql does.
  state_->pid = ::vfork();
  CITADEL_CHECK(state_->pid >= 0, "no process can be made");
  if (state_->pid == 0) {
    // Between vfork and exec only system calls: another thread may hold a lock, and the memory is the
    // parent's.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::dup2(in.read.get(), 0);
    ::dup2(out.write.get(), 1);
    ::dup2(err.write.get(), 2);
    if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(127);
    ::execvpe(argument_pointers[0], argument_pointers.data(), environment_pointers.data());
    ::_exit(127);
  }
  ::signal(SIGPIPE, SIG_IGN);
  state_->input = std::move(in.write);
  state_->stop_read = std::move(stop.read);
  state_->stop_write = std::move(stop.write);
  out.write.reset();
  err.write.reset();
  state_->reader = std::thread(
      [state = state_.get(), out_fd = std::move(out.read), err_fd = std::move(err.read)]() mutable {
        state->read_all(std::move(out_fd), std::move(err_fd));
      });
}

Process::~Process() {
  signal(SIGKILL);
  state_->reap(true);
  state_->stop_write.reset();
  state_->reader.join();
}

pid_t Process::pid() const {
  return state_->pid;
}

void Process::signal(int number) {
  if (!state_->reap(false)) ::kill(state_->pid, number);
}

void Process::write(std::string_view text) {
  while (!text.empty() && state_->input) {
    const auto written = ::write(state_->input.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void Process::close_input() {
  state_->input.reset();
}

std::optional<std::string> Process::read_line(Deadline deadline) {
  std::unique_lock lock(state_->mutex);
  for (;;) {
    const auto end = state_->out.find('\n', state_->line_start);
    if (end != std::string::npos) {
      auto line = state_->out.substr(state_->line_start, end - state_->line_start);
      state_->line_start = end + 1;
      return line;
    }
    if (state_->output_ended) return std::nullopt;
    if (state_->changed.wait_until(lock, deadline.when()) == std::cv_status::timeout) return std::nullopt;
  }
}

std::optional<int> Process::wait(Deadline deadline) {
  // A pidfd becomes readable when the process ends, which waitpid with a deadline cannot tell.
  const UniqueFd watch(static_cast<int>(::syscall(SYS_pidfd_open, state_->pid, 0)));
  while (!state_->reap(false)) {
    if (deadline.expired()) return std::nullopt;
    pollfd fd{watch.get(), POLLIN, 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.remaining());
    ::poll(&fd, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 3'600'000)));
  }
  // A grandchild may hold the pipes open; then what came until the deadline is what there is.
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_until(lock, deadline.within(std::chrono::seconds(1)).when(),
                             [&] { return state_->output_ended; });
  return state_->status;
}

std::string Process::out() const {
  const std::lock_guard lock(state_->mutex);
  return state_->out;
}

std::string Process::err() const {
  const std::lock_guard lock(state_->mutex);
  return state_->err;
}

Ended run_process(std::vector<std::string> arguments, std::string_view input, Deadline deadline,
                  ProcessOptions options) {
  Process process(std::move(arguments), std::move(options));
  process.write(input);
  process.close_input();
  const auto status = process.wait(deadline);
  return {status, process.out(), process.err()};
}

}  // namespace citadel::support
