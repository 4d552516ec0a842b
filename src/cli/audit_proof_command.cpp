// citadel audit prove, check-proof: a file that shows an entry to be in the log, and its check without the
// daemon. The file is a C2SP tlog-proof whose extra data is the leaf, so that it can be checked by itself.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "audit/leaf.hpp"
#include "audit/record_codec.hpp"
#include "base/base64.hpp"
#include "base/file.hpp"
#include "base/time_text.hpp"
#include "base/uuid.hpp"
#include "cli/audit_commands.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "json/parse.hpp"
#include "json/serialize.hpp"
#include "tlog/proof.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t file_bytes_max = 1 << 20;
constexpr mode_t file_mode = 0644;

Result<tlog::LogProof> fetch_proof(ApiClient& client, const std::string& which) {
  const bool is_index = which.find_first_not_of("0123456789") == std::string::npos;
  if (!is_index && !parse_uuid(which)) {
    return fail(Code::invalid_argument,
                fmt::format("'{}' is neither an entry's index nor an event's id, which is a UUID", which));
  }
  CITADEL_ASSIGN(const auto answer, client.get(fmt::format("/v1/audit/proof?{}={}", is_index ? "index" : "id",
                                                           percent_encode(which)),
                                               Deadline::after(std::chrono::seconds(30))));
  tlog::LogProof proof;
  const auto leaf = from_base64(text_at(answer, "/leaf"));
  if (!leaf) return fail(Code::corrupt, "the daemon's proof has no leaf");
  proof.extra = *leaf;
  proof.index = answer.as_object().at("index").to_number<std::uint64_t>();
  for (const auto& hash : answer.as_object().at("inclusion").as_array()) {
    CITADEL_ASSIGN(proof.inclusion.emplace_back(),
                   tlog::hash_from_base64(std::string_view(hash.as_string())));
  }
  proof.checkpoint = text_at(answer, "/checkpoint");
  return proof;
}

int run_prove(const Context& context, const std::string& which, std::string file, const std::string& key) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto proof = fetch_proof(*client, which);
  if (!proof) return context.report(proof.error());
  const auto policy = choose_policy(context, &*client, key);
  if (!policy) return context.report(policy.error());
  // What is handed out has been checked here.
  const auto checked = tlog::verify_proof(*proof, tlog::leaf_hash(as_bytes(proof->extra)), *policy);
  if (!checked) return context.report(checked.error());
  if (file.empty()) file = fmt::format("entry-{}.tlog-proof", proof->index);
  if (file == "-") {
    *context.out << proof->encode();
    return exit_good;
  }
  const auto written = write_file_durably(file, proof->encode(), file_mode);
  if (!written) return context.report(written.error());
  if (context.json) {
    *context.out << citadel::json::serialize(json::object{
                        {"file", file}, {"index", proof->index}, {"size", checked->checkpoint.size}})
                 << '\n';
  } else {
    *context.out << fmt::format("{}: entry {} in the log of {} entries\n", file, proof->index,
                                checked->checkpoint.size);
  }
  return exit_good;
}

// That the content that `audit get --json` has shown is what the leaf commits to.
Result<audit::Event> check_content(const audit::Leaf& leaf, const std::string& file) {
  CITADEL_ASSIGN(const auto text, read_named_file("--entry", file, file_bytes_max));
  CITADEL_ASSIGN(const auto entry,
                 citadel::json::parse(text, {.depth_max = 64, .size_bytes_max = file_bytes_max}));
  const auto salt_bytes = from_base64(text_at(entry, "/salt"));
  const auto envelope = from_base64(text_at(entry, "/envelope"));
  if (!salt_bytes || !envelope || salt_bytes->size() != audit::salt_bytes) {
    return fail(Code::invalid_argument, fmt::format("{}: has no salt and envelope of an entry", file));
  }
  audit::Salt salt;
  std::ranges::copy(as_bytes(*salt_bytes), salt.begin());
  if (audit::commit(audit::Group::envelope, salt, as_bytes(*envelope)) != leaf.commitments.front().digest) {
    return fail(Code::corrupt, fmt::format("{}: the content is not what the entry commits to", file));
  }
  return audit::decode_envelope(as_bytes(*envelope));
}

struct CheckOptions {
  std::string file, key, entry;
};

void print_checked(const Context& context, const tlog::LogProof& proof,
                   const tlog::VerifiedCheckpoint& checked, const audit::Leaf& leaf,
                   const std::optional<audit::Event>& event) {
  if (context.json) {
    json::object out{{"passed", true},
                     {"origin", checked.checkpoint.origin},
                     {"index", proof.index},
                     {"size", checked.checkpoint.size},
                     {"id", leaf.id.to_string()},
                     {"time", format_time(leaf.time)}};
    if (event) out["action"] = event->action;
    *context.out << citadel::json::serialize(out) << '\n';
    return;
  }
  *context.out << fmt::format(
      "good: entry {} of {}, in the signed log of {} entries\n  id {}\n  time {}\n  class {}\n", proof.index,
      checked.checkpoint.origin, checked.checkpoint.size, leaf.id.to_string(), format_time(leaf.time),
      to_string(leaf.action_class));
  if (event) {
    *context.out << fmt::format("  and it says: {}:{} {} {}:{}, {}\n", event->actor.type, event->actor.id,
                                event->action, event->object.type, event->object.id,
                                to_string(event->outcome));
  }
}

int run_check(const Context& context, const CheckOptions& options) {
  const auto policy = choose_policy(context, nullptr, options.key);
  if (!policy) return context.report(policy.error());
  const auto text = read_named_file("FILE", options.file, file_bytes_max);
  if (!text) return context.report(text.error());
  const auto proof = tlog::LogProof::parse(*text);
  if (!proof) return context.report(Error(proof.error()).in(options.file));
  const auto leaf = audit::decode_leaf(as_bytes(proof->extra));
  if (!leaf) return context.report(Error(Code::corrupt, "the proof has no leaf, or it was changed"));
  const auto checked = tlog::verify_proof(*proof, tlog::leaf_hash(as_bytes(proof->extra)), *policy);
  if (!checked) return context.report(checked.error());
  std::optional<audit::Event> event;
  if (!options.entry.empty()) {
    auto content = check_content(*leaf, options.entry);
    if (!content) return context.report(content.error());
    event = *std::move(content);
  }
  print_checked(context, *proof, *checked, *leaf, event);
  return exit_good;
}

}  // namespace

void add_audit_proof(Command audit, Context& context) {
  struct ProveOptions {
    std::string which, file, key;
  };
  const auto prove = audit.add_subcommand("prove", "Write a proof that an entry is in the signed log");
  const auto wanted = std::make_shared<ProveOptions>();
  prove.add_option("ID", wanted->which, "The event's id, or the entry's index").required();
  prove.add_option("--out,-o", wanted->file,
                   "The file; default: entry-INDEX.tlog-proof; - is standard output");
  prove.add_option("--key", wanted->key, "The log's verifier key, or a file of them");
  prove.callback([&context, wanted] {
    context.exit_code = run_prove(context, wanted->which, wanted->file, wanted->key);
  });

  const auto check = audit.add_subcommand("check-proof", "Check a proof, without the daemon");
  const auto options = std::make_shared<CheckOptions>();
  check.add_option("FILE", options->file, "What `audit prove` wrote").required();
  check.add_option("--key", options->key, "The log's verifier key, or a file of them");
  check.add_option("--entry", options->entry,
                   "What `audit get --json` printed: that it says this is checked too");
  check.callback([&context, options] { context.exit_code = run_check(context, *options); });
}

}  // namespace citadel::cli
