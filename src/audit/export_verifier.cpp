#include "audit/export_verifier.hpp"

#include <fmt/format.h>

#include "tlog/proof.hpp"

namespace citadel::audit {

ExportVerifier::ExportVerifier(VerifierOptions options, std::uint64_t first_index_max)
    : options_(std::move(options)),
      first_index_max_(first_index_max),
      reader_({.on_header = [this](const ExportHeader& header) { return begin(header); },
               .on_entry = [this](const ExportedEntry& entry) { return take(entry); }}) {}

Result<void> ExportVerifier::begin(const ExportHeader& header) {
  if (header.origin != options_.policy.origin) {
    return fail(Code::permission_denied,
                fmt::format("the export is of the log {}, not of {}", header.origin, options_.policy.origin));
  }
  if (header.before.size() > first_index_max_) {
    return fail(Code::corrupt,
                fmt::format("the export begins with entry {}; the entries before it are missing, or were "
                            "pruned, and it was not said that this is right",
                            header.before.size()));
  }
  VerifierOptions options = std::move(options_);
  options.before = header.before;
  CITADEL_ASSIGN(verifier_, Verifier::make(std::move(options)));
  return {};
}

Result<void> ExportVerifier::take(const ExportedEntry& entry) {
  CITADEL_TRY(verifier_->feed(entry));
  if (entry.proof.empty()) return {};
  auto good = check_proof(entry);
  if (good) return {};
  return fail(Code::corrupt, fmt::format("entry {}: its proof: {}", entry.index, good.error().message));
}

Result<void> ExportVerifier::check_proof(const ExportedEntry& entry) {
  CITADEL_ASSIGN(const auto proof, tlog::LogProof::parse(entry.proof));
  if (proof.index != entry.index || proof.extra != entry.leaf)
    return fail(Code::corrupt, "is of another entry");
  if (proved_note_.empty()) {
    CITADEL_ASSIGN(const auto note, tlog::parse_note(proof.checkpoint));
    CITADEL_ASSIGN(proved_, tlog::Checkpoint::parse(note.text));
    proved_note_ = proof.checkpoint;
  }
  if (proof.checkpoint != proved_note_)
    return fail(Code::corrupt, "names another checkpoint than the proofs before it");
  return tlog::verify_inclusion(tlog::leaf_hash(as_bytes(entry.leaf)), proof.index, proved_.size,
                                proof.inclusion, proved_.root);
}

Result<void> ExportVerifier::feed(std::string_view piece) {
  return reader_.feed(piece);
}

Result<tlog::VerifiedCheckpoint> ExportVerifier::finish() {
  CITADEL_ASSIGN(const auto checkpoint, reader_.finish());
  if (!proved_note_.empty() && proved_note_ != checkpoint)
    return fail(Code::corrupt, "the entries' proofs name another checkpoint than the export ends with");
  return verifier_->finish(checkpoint);
}

}  // namespace citadel::audit
