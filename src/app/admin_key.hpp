// The admin key: the one that is let in without the database. Made at the first start, kept in a
// file that only its owner may read.
#pragma once
#include <filesystem>

#include "base/error.hpp"
#include "base/secret.hpp"

namespace citadel::app {

struct AdminKey {
  Secret key;         // "citadel_admin_" and 43 characters of base64url: 256 bits of randomness
  bool made = false;  // now, because the file was not there
};

// Reads the file, or makes it (0600, durably). Refuses a file that others may read, and one shorter than 32
// characters.
Result<AdminKey> load_or_make_admin_key(const std::filesystem::path& file);

}  // namespace citadel::app
