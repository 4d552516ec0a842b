// The audit log's witnesses as the configuration names them, and the way to them: HTTP or HTTPS, one kept
// connection each. On the data plane.
#pragma once
#include <memory>
#include <optional>

#include "aio/task.hpp"
#include "app/config.hpp"
#include "audit/witnesses.hpp"
#include "crypto/tls_client.hpp"

namespace citadel::app {

struct WitnessesConfigured {
  tlog::WitnessPolicy policy;
  std::optional<crypto::TlsTrust> trust;  // where one of them is asked by https
};

// The policy in audit.witness_policy_file; nothing where the file is not configured. Blocking file I/O.
// invalid_argument names the key, the file and the line, and what to do: a file that cannot be read, a fault
// of its form, a witness whose URL is missing or is none that we can ask, a file without witnesses, or an
// audit.witness_ca_file without certificates.
Result<std::optional<WitnessesConfigured>> load_witnesses(const AuditConfig& config);

// Each is asked by POST <url>/add-checkpoint. A certificate that is not good is `unavailable`, and says what
// is wrong with it, where, and what to do. `clock` outlives it.
std::shared_ptr<audit::Witnesses> make_witnesses(WitnessesConfigured configured, const AuditConfig& config,
                                                 const Executor& executor, const Clock& clock);

// Whether the witness at this place of the policy answers HTTP, by TLS where its URL says so; it is asked to
// cosign nothing.
Task<Result<void>> reach_witness(const WitnessesConfigured& configured, std::size_t place,
                                 const AuditConfig& config, Deadline deadline);

}  // namespace citadel::app
