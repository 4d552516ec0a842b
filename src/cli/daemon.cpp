#include "cli/daemon.hpp"

#include <fmt/format.h>
#include <signal.h>
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

void prepare_daemon() {
  const auto set = daemon_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

void wait_for_end(const std::function<void()>& reload) {
  const auto set = daemon_signals();
  for (;;) {
    int number = 0;
    if (sigwait(&set, &number) != 0) continue;
    if (number != SIGHUP) return;
    reload();
  }
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
