#include "cli/daemon.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <iostream>

#include "base/log.hpp"

namespace citadel::cli {
namespace {

sigset_t daemon_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
  return set;
}

}  // namespace

DaemonSignals::DaemonSignals() {
  const auto set = daemon_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  // Less than any core file, so none is written; and the one value at which the kernel pipes none either
  // (coredump.c; with 0 a core_pattern that is a pipe still gets it).
  const rlimit none{1, 1};
  ::setrlimit(RLIMIT_CORE, &none);
  thread_ = std::thread([this] { loop(); });
}

DaemonSignals::~DaemonSignals() {
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGHUP);
  thread_.join();
}

void DaemonSignals::loop() {
  ::prctl(PR_SET_NAME, "citadel-signals");
  const auto set = daemon_signals();
  for (;;) {
    int number = 0;
    if (sigwait(&set, &number) != 0) continue;
    if (number != SIGHUP) stop_.request_stop();
    const std::lock_guard lock(mutex_);
    if (quit_) return;
    reload_due_ = reload_due_ || number == SIGHUP;
    changed_.notify_all();
  }
}

void DaemonSignals::wait_for_end(const std::function<void()>& reload) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return reload_due_ || stop_.stop_requested(); });
    if (stop_.stop_requested()) return;
    reload_due_ = false;
    lock.unlock();
    reload();
    lock.lock();
  }
}

int report_start(const Context& context, const Error& error, const DaemonSignals& signals) {
  if (!signals.stop().stop_requested()) return context.report(error);
  *context.err << "stopped before it was ready\n";
  return exit_good;
}

int stop_service(const Context& context, app::Service& service, Monotonic::duration timeout) {
  const auto stopped = service.stop(Deadline::after(timeout));
  if (stopped) return exit_good;
  *context.err << "citadel: stopped with something left: " << stopped.error().message << '\n';
  return exit_check_failed;
}

void reload_service(app::Service& service, app::Config& config, const app::ConfigSources& sources,
                    const std::function<app::Config(app::Config)>& effective) {
  auto reloaded = app::reload_config(config, sources);
  if (!reloaded) {
    log::error("app", "the configuration was not reloaded; the old one stays",
               {{"error", reloaded.error().message}});
    return;
  }
  config = std::move(reloaded->config);
  service.reload(effective(config));
  log::info("app", "the configuration was reloaded",
            {{"changed", fmt::format("{}", fmt::join(reloaded->changed, " "))}});
  if (!reloaded->not_taken.empty()) {
    log::warning("app", "these changes take effect at the next start",
                 {{"keys", fmt::format("{}", fmt::join(reloaded->not_taken, " "))}});
  }
}

}  // namespace citadel::cli
