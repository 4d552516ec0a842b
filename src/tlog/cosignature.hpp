// cosignature/v1: a witness's statement that, at a time, a checkpoint was the largest it had seen of a log
// and consistent with all before (C2SP tlog-cosignature, the Ed25519 form; type 0x04). Pure.
//
// The bytes of a signature are the time, a big-endian u64 of seconds since 1970, and an Ed25519 signature of
//   cosignature/v1 \n time SECONDS \n the checkpoint's text.
// The witness's name is not part of what is signed, so a key belongs to one witness. Verifier keys and key
// ids are those of tlog/note.hpp with KeyType::cosignature_v1, and NoteVerifier::verify() checks them.
// Functions may be called from any thread.
#pragma once
#include <chrono>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "tlog/checkpoint.hpp"
#include "tlog/note.hpp"

namespace citadel::tlog {

inline constexpr std::size_t cosignature_bytes = 8 + crypto::Signature::size_bytes;

// The message that is signed. CHECK: the time is not before 1970.
std::string cosigned_message(std::string_view checkpoint_text, std::chrono::sys_seconds time);

// CHECK: the signer's type is cosignature_v1. Whether the checkpoint may be signed is the caller's to know:
// see Witness in tlog/witness.hpp.
NoteSignature cosign(const NoteSigner& witness, const Checkpoint& checkpoint, std::chrono::sys_seconds time);

// The time of the cosignature in `bytes` (cosignature_bytes of them); corrupt where it does not verify.
Result<std::chrono::sys_seconds> verify_cosignature(const crypto::PublicKey& key,
                                                    std::string_view checkpoint_text, std::string_view bytes);

}  // namespace citadel::tlog
