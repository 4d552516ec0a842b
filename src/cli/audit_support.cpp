#include "cli/audit_support.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <sstream>

#include "base/file.hpp"
#include "cli/state_folder.hpp"
#include "crypto/sha256.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

constexpr std::size_t state_bytes_max = 1 << 20;
constexpr std::string_view separator = "\n--\n";

Result<std::filesystem::path> trusted_file(const std::string& url) {
  CITADEL_ASSIGN(const auto folder, state_folder());
  return folder / fmt::format("audit-{}", to_hex(crypto::sha256(as_bytes(url))).substr(0, 16));
}

Result<std::vector<tlog::NoteVerifier>> keys_of_lines(const std::string& lines, std::string_view given) {
  std::vector<tlog::NoteVerifier> keys;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.front() == '#' || line.starts_with("PRIVATE+")) continue;
    auto key = tlog::NoteVerifier::parse(line);
    if (!key) return std::unexpected(std::move(key).error().in(given));
    keys.push_back(*std::move(key));
  }
  if (keys.empty())
    return fail(Code::invalid_argument, fmt::format("{}: no verifier key (NAME+HEX+BASE64) is in it", given));
  return keys;
}

// A verifier key, or the lines of a file of them.
Result<std::string> lines_of_key(const std::string& key_or_file, std::string_view option) {
  if (tlog::NoteVerifier::parse(key_or_file)) return key_or_file;
  std::error_code ignored;
  if (!std::filesystem::exists(key_or_file, ignored)) {
    return fail(Code::invalid_argument,
                fmt::format("{}: '{}' is neither a verifier key nor a file of them", option, key_or_file));
  }
  return read_file(key_or_file, state_bytes_max);
}

// `given` is where they came from, for the error's text.
Result<tlog::LogPolicy> policy_of_lines(const std::string& lines, std::string_view given) {
  tlog::LogPolicy policy;
  CITADEL_ASSIGN(policy.log_keys, keys_of_lines(lines, given));
  policy.origin = policy.log_keys.front().name();
  return policy;
}

}  // namespace

Result<tlog::LogPolicy> policy_of_key(const std::string& key_or_file) {
  CITADEL_ASSIGN(const auto lines, lines_of_key(key_or_file, "--key"));
  return policy_of_lines(lines, "--key " + key_or_file);
}

Result<void> demand_witnesses(tlog::LogPolicy& policy, const std::vector<std::string>& keys_or_files,
                              std::size_t quorum) {
  for (const auto& given : keys_or_files) {
    CITADEL_ASSIGN(const auto lines, lines_of_key(given, "--witness"));
    CITADEL_ASSIGN(auto keys, keys_of_lines(lines, "--witness " + given));
    for (auto& key : keys) {
      if (key.type() != tlog::KeyType::cosignature_v1) {
        return fail(Code::invalid_argument,
                    fmt::format("--witness: the key of {} is not for cosignatures", key.name()));
      }
      policy.witnesses.push_back(std::move(key));
    }
  }
  if (quorum > policy.witnesses.size()) {
    return fail(Code::invalid_argument,
                fmt::format("--quorum: {} of {} witnesses cannot cosign", quorum, policy.witnesses.size()));
  }
  policy.witnesses_min = quorum == 0 ? policy.witnesses.size() : quorum;
  return {};
}

Result<std::optional<TrustedLog>> load_trusted(const std::string& url) {
  CITADEL_ASSIGN(const auto file, trusted_file(url));
  const auto text = read_file(file, state_bytes_max);
  if (!text && text.error().code == Code::not_found) return std::optional<TrustedLog>();
  if (!text) return std::unexpected(text.error());
  const auto at = text->find(separator);
  if (at == std::string::npos) return fail(Code::corrupt, fmt::format("{} is not ours", file.string()));
  return std::optional(TrustedLog{text->substr(0, at), text->substr(at + separator.size())});
}

Result<void> store_trusted(const std::string& url, const TrustedLog& trusted) {
  CITADEL_ASSIGN(const auto file, trusted_file(url));
  std::error_code ignored;  // shows in the write, with the name
  std::filesystem::create_directories(file.parent_path(), ignored);
  return write_file_durably(file, fmt::format("{}{}{}", trusted.key, separator, trusted.checkpoint), 0600);
}

Result<std::string> fetch_keys(ApiClient& client) {
  CITADEL_ASSIGN(const auto answer, client.get("/v1/audit/key", Deadline::after(std::chrono::seconds(10))));
  std::string keys = text_at(answer, "/key");
  boost::system::error_code missing;
  if (const auto* older = answer.find_pointer("/older_keys", missing);
      older != nullptr && older->is_array()) {
    for (const auto& key : older->get_array()) {
      if (key.is_string()) keys.append("\n").append(key.get_string());
    }
  }
  return keys;
}

Result<tlog::LogPolicy> choose_policy(const Context& context, ApiClient* client, const std::string& given) {
  if (!given.empty()) return policy_of_key(given);
  CITADEL_ASSIGN(const auto trusted, load_trusted(context.url));
  if (trusted) return policy_of_lines(trusted->key, "what was verified before");
  if (client == nullptr) {
    return fail(Code::invalid_argument,
                "--key: give the log's verifier key, as `citadel audit key` prints it");
  }
  CITADEL_ASSIGN(const auto keys, fetch_keys(*client));
  return policy_of_lines(keys, "the daemon's answer");
}

Result<tlog::VerifiedCheckpoint> open_daemon_checkpoint(const std::string& note,
                                                        const tlog::LogPolicy& policy) {
  auto opened = tlog::open_checkpoint(note, policy);
  if (opened || opened.error().code != Code::unauthenticated) return opened;
  // Its name is not proved, and good enough to say why no key fits.
  const auto unproved = tlog::parse_note(note);
  if (!unproved) return opened;
  const auto head = tlog::Checkpoint::parse(unproved->text);
  if (!head || head->origin == policy.origin) return opened;
  return fail(Code::permission_denied,
              fmt::format("the daemon's log is {}, and the key is of {}", head->origin, policy.origin));
}

Result<std::string> read_named_file(std::string_view option, const std::filesystem::path& file,
                                    std::size_t size_bytes_max) {
  auto text = read_file(file, size_bytes_max);
  if (!text && text.error().code == Code::not_found)
    return fail(Code::invalid_argument, fmt::format("{}: there is no file {}", option, file.string()));
  return text;
}

Result<void> check_out_file(const std::filesystem::path& file) {
  if (file.empty() || file == "-") return {};
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored) || !file.has_filename()) {
    return fail(Code::invalid_argument,
                fmt::format("--out: {} is a folder; give the name of a file", file.string()));
  }
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (!std::filesystem::is_directory(folder, ignored)) {
    return fail(Code::invalid_argument, fmt::format("--out: {} cannot be written: there is no folder {}",
                                                    file.string(), folder.string()));
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    return fail_errno(errno, fmt::format("--out: write into the folder {}", folder.string()));
  return {};
}

Result<void> check_state_folder() {
  CITADEL_ASSIGN(const auto folder, state_folder());
  std::error_code ignored;  // shows in the check, with the name
  std::filesystem::create_directories(folder, ignored);
  if (::access(folder.c_str(), W_OK | X_OK) == 0) return {};
  return fail_errno(errno,
                    fmt::format("what is verified is kept in {}, where XDG_STATE_HOME or HOME puts it, "
                                "and it must be a folder that you can write",
                                folder.string()));
}

bool passes(const Error& error) {
  return error.code == Code::unavailable || error.code == Code::connection_lost ||
         error.code == Code::deadline_exceeded || error.code == Code::overloaded ||
         error.code == Code::storage_full;
}

bool is_log_fault(const Error& error) {
  return error.code == Code::corrupt || error.code == Code::conflict || error.code == Code::unauthenticated ||
         error.code == Code::permission_denied;
}

std::string text_at(const boost::json::value& object, std::string_view pointer) {
  boost::system::error_code missing;
  const auto* const found = object.find_pointer(pointer, missing);
  if (found == nullptr || found->is_null()) return {};
  return found->is_string() ? std::string(found->get_string()) : citadel::json::serialize(*found);
}

}  // namespace citadel::cli
