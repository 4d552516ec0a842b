#include "tlog/cosignature.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.hpp"
#include "base/check.hpp"

namespace citadel::tlog {

std::string cosigned_message(std::string_view checkpoint_text, std::chrono::sys_seconds time) {
  const std::int64_t seconds = time.time_since_epoch().count();
  CITADEL_CHECK(seconds >= 0, "a cosignature from before 1970");
  return fmt::format("cosignature/v1\ntime {}\n{}", seconds, checkpoint_text);
}

NoteSignature cosign(const NoteSigner& witness, const Checkpoint& checkpoint, std::chrono::sys_seconds time) {
  CITADEL_CHECK(witness.type() == KeyType::cosignature_v1, "a key that is not for cosignatures");
  NoteSignature signature{witness.name(), witness.verifier().id(), {}};
  append_be(signature.bytes, static_cast<std::uint64_t>(time.time_since_epoch().count()));
  const std::string message = cosigned_message(checkpoint.encode(), time);
  signature.bytes += as_text(witness.sign_message(as_bytes(message)).bytes);
  return signature;
}

Result<std::chrono::sys_seconds> verify_cosignature(const crypto::PublicKey& key,
                                                    std::string_view checkpoint_text,
                                                    std::string_view bytes) {
  if (bytes.size() != cosignature_bytes) return fail(Code::corrupt, "a cosignature of another length");
  const auto seconds = load_be<std::int64_t>(bytes.data());
  if (seconds < 0) return fail(Code::corrupt, "a cosignature with a time above 2^63 - 1");
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  crypto::Signature signature;
  std::ranges::copy(as_bytes(bytes.substr(sizeof seconds)), signature.bytes.begin());
  if (!crypto::verify(key, as_bytes(cosigned_message(checkpoint_text, time)), signature)) {
    return fail(Code::corrupt, "a cosignature does not verify");
  }
  return time;
}

}  // namespace citadel::tlog
