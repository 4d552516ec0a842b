// Process metrics under the names that Prometheus libraries use everywhere (process_resident_memory_bytes and
// so on), so that ready-made dashboards and alerts work. Read from /proc at each scrape.
#pragma once
#include "telemetry/metrics.hpp"

namespace citadel::telemetry {

struct ProcessStatus {
  double cpu_seconds = 0;         // user and system, of all threads
  double start_time_seconds = 0;  // since the epoch
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double open_fds = 0;
  double max_fds = 0;
  double threads = 0;
};

// This process now. What cannot be read is 0.
ProcessStatus process_status();

// Registers the metrics; they are collected until the registration goes.
[[nodiscard]] Registration register_process_metrics(Metrics& metrics);

}  // namespace citadel::telemetry
