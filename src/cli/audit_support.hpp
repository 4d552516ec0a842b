// What the audit commands share: the log's keys, what this user verified before, and JSON of the daemon.
#pragma once
#include <boost/json/value.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/api_client.hpp"
#include "tlog/checkpoint.hpp"

namespace citadel::cli {

// Whom to trust about a log. --key is a verifier key, or a file whose lines are some.
Result<tlog::LogPolicy> policy_of_key(const std::string& key_or_file);

// Demands cosignatures of `quorum` of these witnesses; 0: of all. Each is a verifier key, or a file of them.
Result<void> demand_witnesses(tlog::LogPolicy& policy, const std::vector<std::string>& keys_or_files,
                              std::size_t quorum);

// What was verified of the log at this URL: the keys that were seen first, and the checkpoint of the last
// verification that passed. Later ones are held against both.
struct TrustedLog {
  std::string key;         // verifier keys, one a line
  std::string checkpoint;  // a note; "" where none was verified yet
};
Result<std::optional<TrustedLog>> load_trusted(const std::string& url);
Result<void> store_trusted(const std::string& url, const TrustedLog& trusted);

// The keys that the daemon gives, one a line, the one that signs first.
Result<std::string> fetch_keys(ApiClient& client);
// The keys given, else those trusted, else the daemon's own: and then they are as true as the daemon.
Result<tlog::LogPolicy> choose_policy(const Context& context, ApiClient* client, const std::string& given);

// The checkpoint that the daemon gives, where the policy is met. Where no key of it has signed and the log
// has another name than the keys, permission_denied names both.
Result<tlog::VerifiedCheckpoint> open_daemon_checkpoint(const std::string& note,
                                                        const tlog::LogPolicy& policy);

// Whether an error ends by itself, so that the same command may go on later.
bool passes(const Error& error);

// Whether an error of a verification says that the log is at fault, and not the way to it.
bool is_log_fault(const Error& error);

// A file that the command line names: one that is not there is invalid_argument, with the option's name.
Result<std::string> read_named_file(std::string_view option, const std::filesystem::path& file,
                                    std::size_t size_bytes_max);

// Before what takes long or cannot be undone: whether `file`, of --out, can be written at its end. "" and
// "-", which are standard output, can. invalid_argument for a folder, and where its folder is not there.
Result<void> check_out_file(const std::filesystem::path& file);
// The same of the folder in which store_trusted() keeps what was verified; makes it where it is not there.
Result<void> check_state_folder();

// A member of an object as text: "" where it is not there.
std::string text_at(const boost::json::value& object, std::string_view pointer);

}  // namespace citadel::cli
