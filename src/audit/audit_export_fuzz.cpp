// An export from a stranger: however it is cut into pieces, the answer is the same; nothing is verified,
// since nobody has the key.
#include <cstdint>

#include "audit/export_verifier.hpp"
#include "base/check.hpp"

namespace {

using namespace citadel;
using namespace citadel::audit;

std::string answer(const tlog::NoteVerifier& key, std::string_view text, std::size_t piece_bytes) {
  ExportVerifier verifier({.policy = {.origin = "example.com/audit", .log_keys = {key}, .witnesses = {}}},
                          1 << 20);
  for (std::size_t at = 0; at < text.size(); at += piece_bytes) {
    if (const auto done = verifier.feed(text.substr(at, piece_bytes)); !done) return done.error().message;
  }
  const auto finished = verifier.finish();
  CITADEL_CHECK(!finished, "a checkpoint that nobody signed is taken");
  return finished.error().message;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto key = tlog::NoteSigner::generate("example.com/audit").value().verifier();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CITADEL_CHECK(answer(key, text, 1 << 20) == answer(key, text, 7), "the answer depends on the pieces");
  return 0;
}
