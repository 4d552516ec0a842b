// Snapshot: what the daemon knows of itself at one moment: the source of /readyz, /v1/status and /metrics.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "access/keyring.hpp"
#include "app/audit_status.hpp"
#include "base/clock.hpp"
#include "drain/drain.hpp"
#include "http/server.hpp"
#include "journal/journal.hpp"
#include "store/database.hpp"
#include "store/point_reader.hpp"
#include "telemetry/metrics.hpp"

namespace citadel::app {

// Whether the database's schema is what this binary needs; found out once the database answers, and kept.
struct SchemaState {
  bool known = false;
  bool current = false;
  std::string reason;  // why not
};

struct Snapshot {
  WallTime at;
  Monotonic::duration uptime{};
  store::Status database;
  store::PointReaderStatus point_reads;  // of single records
  journal::Status journal;
  std::uint64_t journal_bytes_max = 0;  // as configured
  drain::Status drain;
  SchemaState schema;
  std::optional<AuditStatus> audit;  // none: there is no audit trail
  std::optional<access::KeyringStatus> keys;
  bool stopping = false;
};

// The journal is required: with it, records are taken whatever else is away. The database and its schema are
// not.
std::vector<Dependency> dependencies(const Snapshot& snapshot);

// {"status":"ready"|"degraded"|"not_ready","dependencies":[…]}
std::string readiness_json(const std::vector<Dependency>& all);
bool takes_requests(const std::vector<Dependency>& all);

// The whole of it, for /v1/status and `citadel status`.
std::string status_json(const Snapshot& snapshot, std::string_view version);

// The part `database.pool` of it.
std::string pool_json(const pg::PoolStatus& pool);

// The daemon's own metrics. Handles are registered once; update() sets them from a snapshot. Thread-safe.
class ServiceMetrics {
 public:
  explicit ServiceMetrics(telemetry::Metrics& metrics);
  ~ServiceMetrics();
  void update(const Snapshot& snapshot, const http::ServerStats& server);
  void on_request(const http::RequestSummary& summary);
  void on_acquired(double seconds);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

}  // namespace citadel::app
