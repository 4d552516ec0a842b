#include "app/admin_key.hpp"

#include <fmt/format.h>

#include "base/file.hpp"
#include "base/random.hpp"

namespace citadel::app {
namespace {

constexpr std::size_t key_chars_min = 32;

std::string make_key() {
  static constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  // 43 characters of six bits hold 258 bits; each byte gives six of its eight, evenly.
  unsigned char raw[43];
  fill_secret_random(raw);
  std::string key = "citadel_admin_";
  for (const unsigned char byte : raw) key += alphabet[byte & 63];
  return key;
}

}  // namespace

Result<AdminKey> load_or_make_admin_key(const std::filesystem::path& file) {
  auto found = read_secret_file(file);
  if (found) {
    if (found->size() < key_chars_min) {
      return fail(Code::invalid_argument,
                  fmt::format("the admin key in {} has {} characters, at least {} are needed; "
                              "remove the file and a good one is made at the next start",
                              file.string(), found->size(), key_chars_min));
    }
    return AdminKey{Secret(*std::move(found)), false};
  }
  if (found.error().code != Code::not_found) return std::unexpected(std::move(found).error());
  std::error_code ignored;  // a folder that cannot be made shows in the write below, with its name
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), ignored);
  auto key = make_key();
  CITADEL_TRY(write_file_durably(file, key + "\n", 0600));
  return AdminKey{Secret(std::move(key)), true};
}

}  // namespace citadel::app
