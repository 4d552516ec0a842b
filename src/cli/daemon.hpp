// What `up` and `serve` share: signals, and the wait for them.
#pragma once
#include <functional>

#include "app/service.hpp"
#include "cli/context.hpp"

namespace citadel::cli {

// Before any thread starts: the signals of a daemon are blocked, so that only wait_for_end sees them; a
// closed pipe is an error and not a death; no core dump is written, because it would hold secrets.
void prepare_daemon();

// Until SIGINT or SIGTERM. SIGHUP calls `reload`.
void wait_for_end(const std::function<void()>& reload);

// Stops the service within `timeout`, and says what was left. The exit code.
int stop_service(const Context& context, app::Service& service, Monotonic::duration timeout);

// Reads the configuration again into `config` and hands over what `effective` makes of it; a bad one changes nothing
// and is logged.
void reload_service(app::Service& service, app::Config& config, const app::ConfigSources& sources,
                    const std::function<app::Config(app::Config)>& effective);

}  // namespace citadel::cli
