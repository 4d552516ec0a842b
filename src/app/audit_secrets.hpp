// The audit trail's keys, in files of the operator's: the key that signs checkpoints, whose name is the log's
// origin, and the master keys under which everything sensitive is encrypted.
//
//   signing key file   PRIVATE+KEY+NAME+…, then verifier keys of older ones (NAME+…), a line each
//   master key file    32 bytes in base64, a line each, the newest first; or what master_key_command prints
//
// Daemons of one database share both. Nothing of a private key is ever in an error. Blocking file I/O.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "app/config.hpp"
#include "audit/audit_keys.hpp"
#include "tlog/note.hpp"

namespace citadel::app {

struct AuditSecrets {
  tlog::NoteSigner signer;
  std::vector<tlog::NoteVerifier> older_keys;
  std::shared_ptr<const audit::AuditKeys> keys;

  const std::string& origin() const { return signer.name(); }
};

// not_found says how to make what is missing; invalid_argument names the file whose content is wrong, or the
// origin that the configuration and the key do not agree on.
Result<AuditSecrets> load_audit_secrets(const AuditConfig& config);

// Makes the files that are not there (0600, durably), and names them. `origin` is for the signing key; empty:
// one that no other log has.
Result<std::vector<std::filesystem::path>> make_audit_secrets(const AuditConfig& config, std::string origin);

}  // namespace citadel::app
