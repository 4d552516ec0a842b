// The certificate of an erasure: what was destroyed, when and for what reason, with the entry of the log that
// says so and the proof that it is in the signed log. Anybody with the log's public key can check it, without
// Citadel's help: docs/audit.md, Erase. Pure.
//
//   {"certificate":"citadel/erasure/v1","origin","erasure","at","tenant","subject_sha256","reason","erased_by",
//    "destroyed":{"keys","events","groups","conflicts"},
//    "entry":{"index","salt","envelope","details_salt","details"},   bytes in base64
//    "proof":"c2sp.org/tlog-proof@v1\n…"}                            its extra data is the entry's leaf
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "audit/lifecycle.hpp"
#include "audit/queries.hpp"
#include "tlog/checkpoint.hpp"

namespace citadel::app {

struct ProvedEntry {
  audit::EntryView entry;  // opened
  audit::InclusionProof proof;
  std::string checkpoint;
};

// Without `proved`, `note` says why.
std::string erasure_certificate(const std::string& origin, const audit::Erasure& erasure,
                                const std::optional<ProvedEntry>& proved, std::string_view note);

struct CheckedCertificate {
  std::uint64_t index = 0, size = 0;
  std::string origin, erasure, at, tenant, subject_sha256, reason;
  std::int64_t keys = 0, events = 0, groups = 0, conflicts = 0;
  std::int64_t dead_letters = 0;  // 0 where it was made before these were erased
};
// corrupt where what it says is not what the signed entry says, or `subject` is another; the errors of
// tlog::verify_proof(); invalid_argument where it is no certificate, or has no proof yet.
Result<CheckedCertificate> check_erasure_certificate(std::string_view text, const tlog::LogPolicy& policy,
                                                     const std::optional<std::string>& subject);

}  // namespace citadel::app
