// Verifier: goes through a log from its first entry to a signed checkpoint and says the first thing that is
// wrong. The same for an export and for the database: it needs the entries in order, the public keys, and
// nothing else. Pure; memory does not grow with the log.
//
//   CITADEL_ASSIGN(auto verifier, Verifier::make({.policy = {.origin = …, .log_keys = …}}));
//   for (entry : log) CITADEL_TRY(verifier.feed(entry));
//   CITADEL_ASSIGN(const auto met, verifier.finish(checkpoint_note));
//
// What is checked, entry by entry:
//   - indexes follow each other; the leaf is canonical
//   - each producer's epochs only grow; in an epoch the sequence starts at 1, without a gap or a repeat.
//     A hole is excused by a later audit.gap entry that names it (journal_range.hpp); one that is not, or
//     whose audit.gap entry cannot be read, is an error at the end. An audit.started entry that names a later
//     last position than was seen opens a hole too, so that a tail that was cut off shows
//   - where the tree's own hash of the entry is given, the leaf has it: this names the entry that was edited
//   - where envelope or groups are given, they are what the leaf commits to, and the envelope is of this leaf
//   - where the text that people read is given, it says what envelope and groups say
//   - where an envelope is not given, whether an erasure or a retention run of this log says so: counts()
//   tells
//     erased, dropped and missing apart. That is no fault, because the entry that says so may come after the
//     checkpoint; but where it stays so, somebody took it
//   - at the size of the older checkpoint, if one is trusted: its root
// and at the end size, root, signature and witnesses of the checkpoint.
//
// The first fault ends it: feed() and finish() then give the same error again, and finding() the place. A
// fault of a root has no place of its own: it lies in [first, end), and where a hole is open too, that is
// named instead.
//
// Errors: corrupt, and for the checkpoint those of tlog::open_checkpoint(). Not thread-safe.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "audit/content_account.hpp"
#include "audit/leaf.hpp"
#include "audit/sequences.hpp"
#include "tlog/checkpoint.hpp"
#include "tlog/merkle.hpp"

namespace citadel::audit {

struct ExportedContent {
  Salt salt{};
  std::string_view bytes;
};
struct ExportedGroup {
  Group group = Group::details;
  ExportedContent content;
};
// Views; they need to live during feed() only.
struct ExportedEntry {
  std::uint64_t index = 0;
  std::string_view leaf;
  std::optional<tlog::Hash> tree_hash;  // what the log's own tile says of this leaf
  std::optional<ExportedContent> envelope;
  std::span<const ExportedGroup> groups;
  // Envelope and groups as people read them, which nobody signed: checked against write_event().
  std::optional<std::string_view> shown{};
  // A C2SP tlog-proof of the entry, with the leaf as its extra data; empty where there is none.
  // ExportVerifier checks it.
  std::string_view proof{};
};

// What `shown` must be. corrupt where envelope or groups cannot be shown. CHECK: the envelope is there.
Result<std::string> show(const ExportedEntry& entry);

struct VerifierOptions {
  tlog::LogPolicy policy{};  // of the checkpoint at the end
  // A note that is trusted: kept from an earlier verification. Its signature is checked, its witnesses are
  // not.
  std::optional<std::string> older_checkpoint{};
  // Where a prefix was pruned: the tree before the first entry. Its producers' sequences then begin anywhere.
  tlog::CompactRange before{};
  Sequences::Limits limits{};
};

// Where the first fault lies: [first, end); equal where no entry is at fault, but the checkpoint.
struct Finding {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  std::string what;  // a sentence without the place
};

struct VerifierCounts {
  std::uint64_t entries = 0;
  std::uint64_t envelopes = 0;          // checked
  std::uint64_t envelopes_missing = 0;  // for any reason
  ContentAccount::Sums contents = {};   // why
  std::uint64_t groups = 0;             // checked
  std::uint64_t groups_missing = 0;
  std::uint64_t sequences_excused = 0;  // by audit.gap
  std::map<Uuid, std::uint64_t> by_producer;
  std::optional<WallTime> first_time, last_time;  // of the first and the last entry
};

class Verifier {
 public:
  // invalid_argument where the older checkpoint lies inside the pruned prefix; the errors of
  // tlog::open_checkpoint() where it is not this log's; corrupt where it contradicts the prefix.
  static Result<Verifier> make(VerifierOptions options);

  Result<void> feed(const ExportedEntry& entry);
  // The checkpoint that was met; its witnesses and their times are for the report.
  Result<tlog::VerifiedCheckpoint> finish(std::string_view checkpoint_note);

  VerifierCounts counts() const;
  const std::optional<Finding>& finding() const { return finding_; }
  std::uint64_t next_index() const { return tree_.size(); }

 private:
  explicit Verifier(VerifierOptions options);

  Result<void> check_entry(const ExportedEntry& entry);
  Result<void> check_place(const Leaf& leaf);
  Result<void> check_envelope(const ExportedEntry& entry, const Leaf& leaf);
  Result<void> check_groups(const ExportedEntry& entry, const Leaf& leaf);
  Result<void> check_shown(const ExportedEntry& entry, Event& event);
  Result<void> check_journal(const Event& event, const Leaf& leaf);
  Result<void> check_lifecycle(const ExportedEntry& entry, const Event& event);
  Result<void> check_older();
  Result<void> check_end(const tlog::Checkpoint& checkpoint);

  std::unexpected<Error> fault(Code code, std::uint64_t first, std::uint64_t end, std::string what);
  std::unexpected<Error> entry_fault(std::string what);
  std::unexpected<Error> sequence_fault(const Sequences::Fault& found);
  std::unexpected<Error> root_fault(std::uint64_t end, std::string what);

  VerifierOptions options_;
  std::optional<tlog::Checkpoint> older_;
  std::uint64_t agreed_size_ = 0;  // up to here a trusted root has been met
  tlog::CompactRange tree_;
  Sequences sequences_;
  ContentAccount contents_;
  VerifierCounts counts_;
  std::optional<Finding> finding_;
  std::optional<Error> error_;
};

}  // namespace citadel::audit
