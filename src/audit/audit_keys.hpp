// AuditKeys: what master keys are needed for, and subjects' keys by name.
//
// SubjectKeys makes a key for each (tenant, subject) at first use, wrapped by the master key in
// audit.subject_key, and remembers at most `remembered_max` of them, unwrapped. Whether one was destroyed
// meanwhile is asked for in the transaction that uses it, under the log's lock, which an erasure takes too:
// see all_alive(). On the database's executor; not thread-safe.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "audit/record_codec.hpp"
#include "store/database.hpp"

namespace citadel::audit {

// Newest first: the first one wraps what is new, all of them open what is there.
struct AuditKeys {
  std::vector<crypto::AesGcmKey> journal;  // wrap data keys in the journal
  std::vector<crypto::AesGcmKey> subject;  // wrap subjects' keys
  std::string newest_id;                   // 8 bytes that name the newest master key and say nothing of it

  // Newest first; at least one (CHECK).
  static std::shared_ptr<const AuditKeys> derive(std::span<const crypto::AesGcmKey> masters);
};

struct SubjectKey {
  std::int64_t id = 0;
  std::shared_ptr<const crypto::AesGcmKey> key;
};

// A subject's key as the table has it. corrupt where no master key that is known wrapped it.
Result<crypto::AesGcmKey> unwrap_subject_key(const AuditKeys& keys, std::string_view tenant,
                                             std::string_view subject, Bytes wrapped);

// By the newest master key.
std::string wrap_subject_key(const AuditKeys& keys, std::string_view tenant, std::string_view subject,
                             const crypto::AesGcmKey& key);

class SubjectKeys {
 public:
  using Name = std::pair<std::string, std::string>;  // tenant, subject

  explicit SubjectKeys(std::shared_ptr<const AuditKeys> keys, std::size_t remembered_max = 10'000)
      : keys_(std::move(keys)), remembered_max_(remembered_max) {}

  // Makes what is not there, in a transaction of its own. corrupt where a key was wrapped by another master
  // key.
  Task<Result<void>> ensure(store::Database& database, std::vector<Name> names, Deadline deadline);
  // Nothing where ensure() was not called, or the key was forgotten since.
  std::optional<SubjectKey> find(const Name& name) const;
  // Whether all these still are; what is not is forgotten.
  Task<Result<bool>> all_alive(pg::Transaction& transaction, std::vector<std::int64_t> ids,
                               Deadline deadline);
  void forget() { known_.clear(); }

 private:
  std::shared_ptr<const AuditKeys> keys_;
  std::size_t remembered_max_;
  std::map<Name, SubjectKey> known_;
};

}  // namespace citadel::audit
