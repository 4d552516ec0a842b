// A proof file: that an entry stands at an index of a log whose checkpoint is inside, to be verified without
// the log (C2SP tlog-proof, file extension .tlog-proof). Pure.
//
//   CITADEL_ASSIGN(const LogProof proof, LogProof::parse(file));
//   CITADEL_ASSIGN(const auto checkpoint, verify_proof(proof, leaf_hash(entry), policy));
//
// Errors: corrupt for a file of another form and a proof that does not hold; those of open_checkpoint().
// Functions may be called from any thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "tlog/checkpoint.hpp"
#include "tlog/merkle.hpp"

namespace citadel::tlog {

inline constexpr std::size_t proof_hashes_max = 63;
inline constexpr std::size_t proof_extra_bytes_max = 65'536;

struct LogProof {
  std::string extra;  // raw bytes, not authenticated: never trust them; empty is none
  std::uint64_t index = 0;
  std::vector<Hash> inclusion;  // from the leaf's sibling up
  std::string checkpoint;       // the file of the signed note, as it is

  // CHECK: within the limits above.
  std::string encode() const;
  // Accepts what encode() writes; the checkpoint is not looked at.
  static Result<LogProof> parse(std::string_view file);
  friend bool operator==(const LogProof&, const LogProof&) = default;
};

// The leaf's hash is bound to its index in the tree of the checkpoint, and the checkpoint meets the policy.
Result<VerifiedCheckpoint> verify_proof(const LogProof& proof, const Hash& leaf, const LogPolicy& policy);

}  // namespace citadel::tlog
