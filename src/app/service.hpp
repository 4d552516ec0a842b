// Service: the daemon's parts, started in order and stopped in reverse.
//
// Start: journal recovery, pool warm-up, drain, listener. A database that is away does not hold the start up:
// records are taken into the journal, and what needs the database says 503 until it is there. Stop: not
// ready, listener closed, requests finished, drained for as long as time allows, journal flushed, pool
// closed.
//
// start(), stop() and reload() block and are called from one thread, which is not an I/O thread.
#pragma once
#include <memory>
#include <stop_token>
#include <string>

#include "app/config.hpp"
#include "app/verify.hpp"
#include "base/deadline.hpp"
#include "base/error.hpp"

namespace citadel::app {

class Service {
 public:
  // `admin_key` is what clients must show; `outage` lets `citadel verify` stop PostgreSQL, where it is ours
  // to stop. The error says which part could not start; `cancelled` where a stop was asked for before it was
  // ready.
  static Result<std::unique_ptr<Service>> start(Config config, Secret admin_key, std::optional<Outage> outage,
                                                Deadline deadline, std::stop_token stop = {});
  ~Service();  // stops where stop() was not called, within 5 s
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // deadline_exceeded where something was left: requests under way, or records in the journal for the next
  // start. A verification that has stopped PostgreSQL is waited for until it runs again, past the deadline
  // too.
  Result<void> stop(Deadline deadline);

  // Takes what can be changed while it runs from a new configuration.
  void reload(const Config& config);

  // "http://127.0.0.1:8480"
  std::string url() const;

 private:
  struct Impl;
  explicit Service(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "0.1.0"
std::string_view version();

}  // namespace citadel::app
