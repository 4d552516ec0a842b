#include "audit/export_verifier.hpp"

#include <fmt/format.h>

namespace citadel::audit {

ExportVerifier::ExportVerifier(VerifierOptions options, std::uint64_t first_index_max)
    : options_(std::move(options)),
      first_index_max_(first_index_max),
      reader_({.on_header = [this](const ExportHeader& header) { return begin(header); },
               .on_entry = [this](const ExportedEntry& entry) { return verifier_->feed(entry); }}) {}

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

Result<void> ExportVerifier::feed(std::string_view piece) {
  return reader_.feed(piece);
}

Result<tlog::VerifiedCheckpoint> ExportVerifier::finish() {
  CITADEL_ASSIGN(const auto checkpoint, reader_.finish());
  return verifier_->finish(checkpoint);
}

}  // namespace citadel::audit
