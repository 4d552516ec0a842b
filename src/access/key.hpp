// API keys as text: ck_PREFIX_SECRET, eight and 32 characters of base62. The prefix tells keys apart and may
// be shown; the secret has 190 bits. Of a key only its HMAC-SHA-256 under a pepper is kept. The pepper is in
// a file of the daemon's and not in the database, so that neither has what makes a key.
//
// Thread-safe.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/secret.hpp"
#include "crypto/sha256.hpp"

namespace citadel::access {

struct NewKey {
  std::string prefix;
  Secret text;  // the whole key
};
NewKey make_key();

// nullopt: it has not the form of a key. Points into `key`.
std::optional<std::string_view> prefix_of(std::string_view key);

class Pepper {
 public:
  explicit Pepper(Secret secret) : secret_(std::move(secret)) {}
  // Of a whole key.
  crypto::Digest hash(std::string_view key) const;
  // Tells peppers apart without giving one away.
  crypto::Digest fingerprint() const;

 private:
  Secret secret_;
};

struct LoadedPepper {
  Pepper pepper;
  bool made = false;  // now, because the file was not there
};
// Reads the file, or makes it (0600, durably). Refuses a file that others may read, and one shorter than 32
// characters. Blocking file I/O.
Result<LoadedPepper> load_or_make_pepper(const std::filesystem::path& file);

}  // namespace citadel::access
