// ExportVerifier: verifies an export from its bytes and the public keys alone, in constant memory. What
// `citadel audit verify` does without a database. Where entries carry proofs, each must hold, and under the
// checkpoint of the export's end: corrupt names the entry whose proof does not.
//
//   ExportVerifier verifier({.policy = policy});
//   while (read(piece)) CITADEL_TRY(verifier.feed(piece));
//   CITADEL_ASSIGN(const auto checkpoint, verifier.finish());
//
// Errors are those of ExportReader and of Verifier. Not thread-safe.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "audit/export_format.hpp"
#include "audit/verifier.hpp"

namespace citadel::audit {

class ExportVerifier {
 public:
  // options.before is taken from the export's header. An export that begins behind `first_index_max` is
  // refused: that a prefix was pruned is for the operator to know, not for the export to say.
  explicit ExportVerifier(VerifierOptions options, std::uint64_t first_index_max = 0);
  ExportVerifier(const ExportVerifier&) = delete;  // its reader calls back into it

  Result<void> feed(std::string_view piece);
  Result<tlog::VerifiedCheckpoint> finish();

  // Empty before the header was read.
  const std::optional<Verifier>& verifier() const { return verifier_; }

 private:
  Result<void> begin(const ExportHeader& header);
  Result<void> take(const ExportedEntry& entry);
  Result<void> check_proof(const ExportedEntry& entry);

  VerifierOptions options_;
  std::uint64_t first_index_max_;
  std::optional<Verifier> verifier_;
  // The checkpoint that the proofs name, until the end says which it must be.
  std::string proved_note_;
  tlog::Checkpoint proved_;
  ExportReader reader_;
};

}  // namespace citadel::audit
