// Checkpoint: the signed head of a log (C2SP tlog-checkpoint): origin, tree size, root hash. Pure.
//
//   const Checkpoint head{.origin = "example.com/log", .size = range.size(), .root = range.root()};
//   CITADEL_ASSIGN(const Note note, sign_note(head.encode(), signer));
//
//   CITADEL_ASSIGN(const VerifiedCheckpoint head, open_checkpoint(file, policy));
//
// Errors: corrupt for a text or a signature that is not right; unauthenticated where no key of the log
// signed, permission_denied where too few witnesses did or the origin is another log's. Functions may be
// called from any thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "tlog/merkle.hpp"
#include "tlog/note.hpp"

namespace citadel::tlog {

struct Checkpoint {
  std::string origin;  // not empty, one line
  std::uint64_t size = 0;
  Hash root = empty_root();
  std::vector<std::string> extensions;  // lines, not empty; the specification advises against them

  // The text of a note. CHECK: the lines are lines, and the size is within tree_size_max.
  std::string encode() const;
  // Accepts what encode() writes, byte for byte.
  static Result<Checkpoint> parse(std::string_view text);
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

// Whom a reader trusts about one log.
struct LogPolicy {
  std::string origin;
  std::vector<NoteVerifier> log_keys;   // one of them must have signed
  std::vector<NoteVerifier> witnesses;  // keys of cosignatures
  std::size_t witnesses_min = 0;        // that many different ones of them must have signed
};

struct WitnessedAt {
  std::string name;
  std::chrono::sys_seconds time;
  friend bool operator==(const WitnessedAt&, const WitnessedAt&) = default;
};

struct VerifiedCheckpoint {
  Checkpoint checkpoint;
  Note note;
  std::vector<WitnessedAt>
      witnesses;  // those whose cosignature verified; the times are for the caller's policy
};

// The checkpoint in a note's file, where the policy is met.
Result<VerifiedCheckpoint> open_checkpoint(std::string_view file, const LogPolicy& policy);

}  // namespace citadel::tlog
