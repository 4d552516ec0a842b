// Key rotation: every subject's key, and the data keys in audit.conflict and citadel.dead_letter, wrapped by
// the newest master key, so that the older ones can go. What these keys seal is not touched. On the
// database's executor.
#pragma once
#include <string>

#include "audit/audit_keys.hpp"
#include "audit/leftovers.hpp"

namespace citadel::audit {

struct KeyRotation {
  std::string master;       // the newest, as its keys are marked, in hexadecimal
  std::uint64_t keys = 0;   // wrapped anew by this call
  std::uint64_t alive = 0;  // all that are under it now
  LeftoverRotation leftovers = {};
};

// In batches of at most `batch_max` (1 to 1,000), a transaction each, which is an entry `audit.key_rotated`.
// What a call that broke off has done is not done again. corrupt where no master key that is known opens a
// key; conflict where keys of an older one are still being made: by a daemon that does not have the newest.
Task<Result<KeyRotation>> rotate_subject_keys(store::Database& database,
                                              std::shared_ptr<const AuditKeys> keys, Caller caller,
                                              Deadline deadline, std::size_t batch_max = 1'000);

}  // namespace citadel::audit
