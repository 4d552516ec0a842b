#include "app/audit_secrets.hpp"

#include <fmt/format.h>
#include <stdio.h>

#include <sstream>

#include "base/base64.hpp"
#include "base/file.hpp"
#include "base/random.hpp"
#include "base/time_text.hpp"

namespace citadel::app {
namespace {

constexpr std::size_t file_bytes_max = 64 << 10;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty() && line.front() != '#') lines.push_back(std::move(line));
  }
  return lines;
}

// The file's lines; refused where others may read it.
Result<std::vector<std::string>> read_lines(const std::filesystem::path& file, std::string_view key) {
  if (const auto checked = read_secret_file(file); !checked) {
    if (checked.error().code != Code::not_found) return std::unexpected(checked.error());
    return fail(
        Code::not_found,
        fmt::format(
            "{}: {} is not there; copy it from another daemon of this database, or, for a new log, make "
            "it by `citadel audit keygen`; `audit.enabled = false` does without an audit trail",
            key, file.string()));
  }
  CITADEL_ASSIGN(const auto text, read_file(file, file_bytes_max));
  return lines_of(text);
}

Result<std::vector<std::string>> run_command(const std::string& command) {
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return fail_errno(errno, "audit.master_key_command");
  std::string text;
  char piece[4096];
  for (std::size_t n = 0; text.size() < file_bytes_max && (n = ::fread(piece, 1, sizeof piece, pipe)) > 0;) {
    text.append(piece, n);
  }
  const int status = ::pclose(pipe);
  if (status != 0) {
    return fail(Code::invalid_argument, fmt::format("audit.master_key_command ended with status {}", status));
  }
  return lines_of(text);
}

Result<std::vector<crypto::AesGcmKey>> master_keys(const std::vector<std::string>& lines,
                                                   std::string_view source) {
  std::vector<crypto::AesGcmKey> keys;
  for (const auto& line : lines) {
    const auto raw = from_base64(line);
    if (!raw || raw->size() != crypto::AesGcmKey::size_bytes) {
      return fail(Code::invalid_argument, fmt::format("{}: line {} is not a master key: 32 bytes in base64",
                                                      source, keys.size() + 1));
    }
    keys.emplace_back(std::span<const std::byte, crypto::AesGcmKey::size_bytes>(as_bytes(*raw)));
  }
  if (keys.empty()) return fail(Code::invalid_argument, fmt::format("{}: holds no master key", source));
  return keys;
}

std::string new_origin() {
  unsigned char raw[8];
  fill_secret_random(raw);
  return "citadel.local/audit/" + to_hex(std::as_bytes(std::span(raw)));
}

Result<bool> make_file(const std::filesystem::path& file, const std::function<Result<Secret>()>& content) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) return false;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  CITADEL_ASSIGN(const Secret text, content());
  CITADEL_TRY(write_file_durably(file, text.reveal() + "\n", 0600));
  return true;
}

}  // namespace

Result<AuditSecrets> load_audit_secrets(const AuditConfig& config) {
  CITADEL_ASSIGN(const auto lines, read_lines(config.signing_key_file, "audit.signing_key_file"));
  const auto name = config.signing_key_file.string();
  if (lines.empty()) return fail(Code::invalid_argument, fmt::format("{}: holds no key", name));
  auto signer = tlog::NoteSigner::parse(Secret(lines.front()));
  if (!signer) {
    return fail(Code::invalid_argument,
                fmt::format("{}: the first line is not a signing key (PRIVATE+KEY+NAME+…)", name));
  }
  if (!config.origin.empty() && config.origin != signer->name()) {
    return fail(Code::invalid_argument, fmt::format("audit.origin is {}, but the key in {} signs for {}",
                                                    config.origin, name, signer->name()));
  }
  std::vector<tlog::NoteVerifier> older;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    auto key = tlog::NoteVerifier::parse(lines[i]);
    if (!key)
      return fail(Code::invalid_argument, fmt::format("{}: line {} is not a verifier key", name, i + 1));
    older.push_back(*std::move(key));
  }
  const bool by_command = !config.master_key_command.empty();
  CITADEL_ASSIGN(const auto master_lines, by_command
                                              ? run_command(config.master_key_command)
                                              : read_lines(config.master_key_file, "audit.master_key_file"));
  CITADEL_ASSIGN(const auto masters, master_keys(master_lines, by_command ? "audit.master_key_command"
                                                                          : config.master_key_file.string()));
  return AuditSecrets{*std::move(signer), std::move(older), audit::AuditKeys::derive(masters)};
}

Result<std::vector<std::filesystem::path>> make_audit_secrets(const AuditConfig& config, std::string origin) {
  std::vector<std::filesystem::path> made;
  if (origin.empty()) origin = config.origin.empty() ? new_origin() : config.origin;
  CITADEL_ASSIGN(const bool signing, make_file(config.signing_key_file, [&]() -> Result<Secret> {
                   CITADEL_ASSIGN(const auto signer, tlog::NoteSigner::generate(origin));
                   return signer.encode();
                 }));
  if (signing) made.push_back(config.signing_key_file);
  if (!config.master_key_command.empty()) return made;
  CITADEL_ASSIGN(const bool master, make_file(config.master_key_file, []() -> Result<Secret> {
                   return Secret(to_base64(crypto::AesGcmKey::generate().bytes()));
                 }));
  if (master) made.push_back(config.master_key_file);
  return made;
}

}  // namespace citadel::app
