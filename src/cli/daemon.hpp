// What `up` and `serve` share: signals, and the wait for them.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

#include "app/service.hpp"
#include "cli/context.hpp"

namespace citadel::cli {

// The signals of a daemon, from its first moment on: made before any other thread starts. A closed pipe is an
// error and not a death; no core dump is written, because it would hold secrets.
class DaemonSignals {
 public:
  DaemonSignals();
  ~DaemonSignals();
  DaemonSignals(const DaemonSignals&) = delete;
  DaemonSignals& operator=(const DaemonSignals&) = delete;

  // Asked for by SIGINT and SIGTERM, during the start too.
  std::stop_token stop() const { return stop_.get_token(); }

  // Until SIGINT or SIGTERM has come. Each SIGHUP, one that came before included, calls `reload`, here.
  void wait_for_end(const std::function<void()>& reload);

 private:
  void loop();

  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reload_due_ = false;
  bool quit_ = false;
  std::thread thread_;
};

// Why the daemon has not become ready. An end that was asked for is no failure. The exit code.
int report_start(const Context& context, const Error& error, const DaemonSignals& signals);

// Stops the service within `timeout`, and says what was left. The exit code.
int stop_service(const Context& context, app::Service& service, Monotonic::duration timeout);

// Reads the configuration again into `config` and hands over what `effective` makes of it; a bad one changes
// nothing and is logged.
void reload_service(app::Service& service, app::Config& config, const app::ConfigSources& sources,
                    const std::function<app::Config(app::Config)>& effective);

}  // namespace citadel::cli
