#include "access/key.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/base64.hpp"
#include "base/file.hpp"
#include "base/random.hpp"
#include "crypto/hmac.hpp"

namespace citadel::access {
namespace {

constexpr std::string_view base62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view mark = "ck_";
constexpr std::size_t prefix_chars = 8, secret_chars = 32, pepper_chars_min = 32;
constexpr std::size_t key_chars = mark.size() + prefix_chars + 1 + secret_chars;

// Bytes from 248 on are left out: each of the 62 characters then stands for four of the rest.
void append_random(std::string& to, std::size_t count) {
  while (count > 0) {
    unsigned char raw[64];
    fill_secret_random(raw);
    for (const unsigned char byte : raw) {
      if (byte >= 4 * base62.size() || count == 0) continue;
      to += base62[byte % base62.size()];
      --count;
    }
  }
}

bool is_base62(std::string_view text) {
  return text.find_first_not_of(base62) == std::string_view::npos;
}

}  // namespace

NewKey make_key() {
  std::string prefix;
  append_random(prefix, prefix_chars);
  std::string text;
  text.reserve(key_chars);  // so that no shorter buffer is left behind
  text += mark;
  text += prefix;
  text += '_';
  append_random(text, secret_chars);
  return {std::move(prefix), Secret(std::move(text))};
}

std::optional<std::string_view> prefix_of(std::string_view key) {
  if (key.size() != key_chars || !key.starts_with(mark)) return std::nullopt;
  const auto prefix = key.substr(mark.size(), prefix_chars);
  const auto rest = key.substr(mark.size() + prefix_chars);
  if (!is_base62(prefix) || rest.front() != '_' || !is_base62(rest.substr(1))) return std::nullopt;
  return prefix;
}

crypto::Digest Pepper::hash(std::string_view key) const {
  return crypto::hmac_sha256(as_bytes(secret_.reveal()), as_bytes(key));
}

// No key begins like this.
crypto::Digest Pepper::fingerprint() const {
  return crypto::hmac_sha256(as_bytes(secret_.reveal()), as_bytes("citadel pepper fingerprint"));
}

Result<LoadedPepper> load_or_make_pepper(const std::filesystem::path& file) {
  auto found = read_secret_file(file);
  if (found) {
    if (found->size() < pepper_chars_min) {
      return fail(
          Code::invalid_argument,
          fmt::format("access.pepper_file: {} has {} characters, at least {} are needed; copy it from "
                      "another daemon of this database",
                      file.string(), found->size(), pepper_chars_min));
    }
    return LoadedPepper{Pepper(Secret(*std::move(found))), false};
  }
  if (found.error().code != Code::not_found) return std::unexpected(std::move(found).error());
  std::error_code ignored;  // a folder that cannot be made shows in the write below, with its name
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), ignored);
  unsigned char raw[32];
  fill_secret_random(raw);
  Secret text(to_base64(std::as_bytes(std::span(raw))));
  CITADEL_TRY(write_file_durably(file, text.reveal() + "\n", 0600));
  return LoadedPepper{Pepper(std::move(text)), true};
}

}  // namespace citadel::access
