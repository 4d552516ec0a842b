// The audit log's witnesses as the configuration names them, and the way to them: HTTP, one kept connection
// each. On the data plane.
#pragma once
#include <memory>

#include "aio/task.hpp"
#include "app/config.hpp"
#include "audit/witnesses.hpp"

namespace citadel::app {

// The policy in audit.witness_policy_file; nothing where the file is not configured. Blocking file I/O.
// invalid_argument names the file and the line, and what to do: a file that cannot be read, a fault of its
// form, a witness whose URL is missing or is none that we can ask, or a file without witnesses.
Result<std::optional<tlog::WitnessPolicy>> load_witness_policy(const AuditConfig& config);

// Each is asked by POST <url>/add-checkpoint. `clock` outlives it.
std::shared_ptr<audit::Witnesses> make_witnesses(tlog::WitnessPolicy policy, const AuditConfig& config,
                                                 const Executor& executor, const Clock& clock);

}  // namespace citadel::app
