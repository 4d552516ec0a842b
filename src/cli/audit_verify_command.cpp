// citadel audit verify: the whole log, entry by entry, against its signed checkpoint: online through the
// daemon, or offline from an export and the verifier key alone. A verification that passes is remembered: the
// next one must extend its checkpoint.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "audit/export_verifier.hpp"
#include "base/file.hpp"
#include "base/time_text.hpp"
#include "cli/audit_commands.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "cli/log_walk.hpp"
#include "cli/table.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr auto patience = std::chrono::seconds(60);
constexpr std::size_t note_file_bytes_max = 1 << 20;
constexpr std::size_t piece_bytes = 1 << 20;

struct VerifyOptions {
  std::string file, key, older;
  std::vector<std::string> witnesses;
  std::size_t quorum = 0;
  std::uint64_t pruned = 0;
  bool forget = false, silent = false, sealed = false;
};

struct Outcome {
  Result<tlog::VerifiedCheckpoint> checkpoint;
  audit::VerifierCounts counts = {};
  std::optional<audit::Finding> finding = {};
  std::uint64_t tiles = 0;
  std::uint64_t first = 0;  // of the entries that are there
  std::optional<std::uint64_t> pruning_entry = {};
  bool held_against_older = false;
  // The error lies before the log: a file that was named, the key of the API. It says nothing of the log.
  bool in_the_way = false;
};

bool is_fault(const Outcome& outcome) {
  return !outcome.checkpoint && !outcome.in_the_way && is_log_fault(outcome.checkpoint.error());
}

std::string finding_text(const Outcome& outcome) {
  if (!outcome.finding) return outcome.checkpoint.error().message;
  const auto& found = *outcome.finding;
  if (found.first == found.end) return found.what;
  if (found.end - found.first == 1) return fmt::format("entry {}: {}", found.first, found.what);
  return fmt::format("entries {} to {}: {}", found.first, found.end - 1, found.what);
}

// No fault by itself: an erasure after the checkpoint explains itself in the next one.
void print_missing(const Context& context, const audit::ContentAccount::Sums& contents) {
  if (contents.missing == 0) return;
  if (contents.erasures_unread > 0) {
    *context.out << fmt::format(
        "    {} erasures could not be read, so that what they took counts as missing\n",
        contents.erasures_unread);
    return;
  }
  *context.out << fmt::format(
      "    of {}, from entry {} to {}: nothing in this log says why. Verify again: where it stays so, "
      "somebody removed them\n",
      to_string(*contents.month), contents.first, contents.last);
}

void print_passed(const Context& context, const Outcome& outcome) {
  const auto& counts = outcome.counts;
  const auto count = [](std::uint64_t n) { return format_count(static_cast<std::int64_t>(n)); };
  *context.out << fmt::format("good: {} entries of {} are as they were written\n", count(counts.entries),
                              outcome.checkpoint->checkpoint.origin);
  *context.out << fmt::format("  contents checked   {}, {} erased, {} dropped when due, {} missing\n",
                              count(counts.envelopes), count(counts.contents.erased),
                              count(counts.contents.pruned), count(counts.contents.missing));
  print_missing(context, counts.contents);
  if (outcome.first > 0) {
    *context.out << fmt::format(
        "  begins at          entry {}: those before it were pruned, {}; their hashes are in the tree\n",
        outcome.first,
        outcome.pruning_entry ? fmt::format("as entry {} says", *outcome.pruning_entry) : "as you said");
  }
  *context.out << fmt::format("  groups checked     {}, {} not opened\n", count(counts.groups),
                              count(counts.groups_missing));
  *context.out << fmt::format("  producers          {}\n", counts.by_producer.size());
  if (outcome.tiles > 0) *context.out << fmt::format("  tiles compared     {}\n", count(outcome.tiles));
  if (counts.sequences_excused > 0) {
    *context.out << fmt::format("  lost, and recorded {}\n", count(counts.sequences_excused));
  }
  if (counts.first_time) {
    *context.out << fmt::format("  times              {} to {}\n", format_time(*counts.first_time),
                                format_time(*counts.last_time));
  }
  for (const auto& witness : outcome.checkpoint->witnesses)
    *context.out << fmt::format("  cosigned by        {} at {}\n", witness.name, format_time(witness.time));
  *context.out << (outcome.held_against_older ? "  extends the checkpoint that was verified before\n"
                                              : "  no earlier checkpoint was there to hold it against\n");
}

int report_outcome(const Context& context, const Outcome& outcome) {
  const bool passed = outcome.checkpoint.has_value();
  if (!passed && !is_fault(outcome)) return context.report(outcome.checkpoint.error());
  if (context.json) {
    json::object out{{"passed", passed},
                     {"entries", outcome.counts.entries},
                     {"envelopes", outcome.counts.envelopes},
                     {"envelopes_missing", outcome.counts.envelopes_missing},
                     {"contents_erased", outcome.counts.contents.erased},
                     {"contents_dropped", outcome.counts.contents.pruned},
                     {"contents_missing", outcome.counts.contents.missing},
                     {"groups", outcome.counts.groups},
                     {"groups_missing", outcome.counts.groups_missing},
                     {"producers", outcome.counts.by_producer.size()},
                     {"sequences_excused", outcome.counts.sequences_excused},
                     {"older", outcome.held_against_older},
                     {"first", outcome.first}};
    if (outcome.pruning_entry) out["pruned_by"] = *outcome.pruning_entry;
    if (passed) {
      out["origin"] = outcome.checkpoint->checkpoint.origin;
      out["size"] = outcome.checkpoint->checkpoint.size;
      json::array cosigned;
      for (const auto& witness : outcome.checkpoint->witnesses)
        cosigned.push_back(json::object{{"name", witness.name}, {"at", format_time(witness.time)}});
      out["witnesses"] = std::move(cosigned);
    } else {
      out["fault"] = finding_text(outcome);
      if (outcome.finding && outcome.finding->first != outcome.finding->end) {
        out["index"] = outcome.finding->first;
        out["index_end"] = outcome.finding->end;
      }
    }
    *context.out << citadel::json::serialize(out) << '\n';
  } else if (passed) {
    print_passed(context, outcome);
  } else {
    *context.out << fmt::format("FAULT after {} good entries\n  {}\n",
                                format_count(static_cast<std::int64_t>(outcome.counts.entries)),
                                finding_text(outcome));
  }
  return passed ? exit_good : exit_check_failed;
}

// A checkpoint of the log, for --older. Whether it is signed, the verification says.
Result<std::string> read_older(const std::string& file, const tlog::LogPolicy& policy) {
  CITADEL_ASSIGN(auto text, read_named_file("--older", file, note_file_bytes_max));
  const auto note = tlog::parse_note(text);
  const auto head = note ? tlog::Checkpoint::parse(note->text) : std::unexpected(note.error());
  if (!head) {
    return fail(Code::invalid_argument,
                fmt::format("--older: {} holds no checkpoint, as /tlog/checkpoint gives it: {}", file,
                            head.error().message));
  }
  if (head->origin != policy.origin) {
    return fail(Code::invalid_argument, fmt::format("--older: {} is a checkpoint of the log {}, not of {}",
                                                    file, head->origin, policy.origin));
  }
  return text;
}

// ---- offline

// What an export in jsonl of the whole log begins with.
constexpr std::string_view export_begin = "{\"format\":";

Outcome verify_file(const VerifyOptions& options, audit::VerifierOptions verifying) {
  const bool older = verifying.older_checkpoint.has_value();
  audit::ExportVerifier verifier(std::move(verifying), options.pruned);
  const UniqueFd file(::open(options.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) {
    return {.checkpoint =
                fail(Code::invalid_argument, fmt::format("--export: there is no file {}", options.file)),
            .in_the_way = true};
  }
  if (!file) return {.checkpoint = fail_errno(errno, "--export: open " + options.file), .in_the_way = true};
  std::string piece(piece_bytes, '\0');
  Result<void> fed;
  bool in_the_way = false;
  for (bool first = true; fed; first = false) {
    const auto n = ::read(file.get(), piece.data(), piece.size());
    in_the_way = n < 0;
    if (n < 0) fed = fail_errno(errno, "--export: read " + options.file);
    if (n <= 0) break;
    const auto begin =
        std::string_view(piece).substr(0, std::min(static_cast<std::size_t>(n), export_begin.size()));
    if (first && !export_begin.starts_with(begin)) {
      return {
          .checkpoint = fail(Code::invalid_argument,
                             fmt::format("--export: {} is no export that verifies: give what `citadel audit "
                                         "export -o FILE` writes, in jsonl and without --cursor",
                                         options.file)),
          .in_the_way = true};
    }
    fed = verifier.feed(std::string_view(piece).substr(0, static_cast<std::size_t>(n)));
  }
  Outcome out{.checkpoint =
                  fed ? verifier.finish() : Result<tlog::VerifiedCheckpoint>(std::unexpected(fed.error()))};
  out.held_against_older = older;
  out.in_the_way = in_the_way;
  if (verifier.verifier()) {
    out.counts = verifier.verifier()->counts();
    out.finding = verifier.verifier()->finding();
    out.first = verifier.verifier()->next_index() - out.counts.entries;
  }
  return out;
}

int run_offline(const Context& context, const VerifyOptions& options) {
  if (options.key.empty()) {
    return context.report(
        Error(Code::invalid_argument, "--key: give the log's verifier key, as it was when you got it"));
  }
  auto policy = policy_of_key(options.key);
  if (!policy) return context.report(policy.error());
  if (auto demanded = demand_witnesses(*policy, options.witnesses, options.quorum); !demanded)
    return context.report(demanded.error());
  audit::VerifierOptions verifying{.policy = *std::move(policy)};
  if (!options.older.empty()) {
    auto older = read_older(options.older, verifying.policy);
    if (!older) return context.report(older.error());
    verifying.older_checkpoint = *std::move(older);
  }
  return report_outcome(context, verify_file(options, std::move(verifying)));
}

// ---- online

// The daemon's, of the caller: what it streams is never found wrong with these codes.
bool is_refusal(const Error& error) {
  return error.code == Code::unauthenticated || error.code == Code::permission_denied;
}

class Online {
 public:
  Online(const Context& context, ApiClient client, const VerifyOptions& options)
      : context_(context), client_(std::move(client)), options_(options) {}

  Outcome run() {
    auto checkpoint = walk();
    Outcome out{.checkpoint = std::move(checkpoint)};
    out.held_against_older = held_against_older_;
    out.in_the_way = in_the_way_;
    if (walk_) {
      out.counts = walk_->verifier().counts();
      out.finding = walk_->verifier().finding();
      // The daemon could not read this one.
      const auto next = walk_->verifier().next_index();
      if (unreadable_) out.finding = audit::Finding{next, next + 1, out.checkpoint.error().message};
      out.tiles = walk_->tiles_checked();
      out.first = walk_->first();
      out.pruning_entry = walk_->pruning_entry();
    }
    return out;
  }
  // Tells the daemon, whose metrics and log then show it.
  void tell(const Outcome& outcome);

 private:
  Result<audit::VerifierOptions> prepare();
  Result<tlog::VerifiedCheckpoint> walk();
  Result<std::string> get(const std::string& path);
  Result<void> stream(std::uint64_t size);

  const Context& context_;
  ApiClient client_;
  const VerifyOptions& options_;
  std::unique_ptr<LogWalk> walk_;
  std::optional<TrustedLog> trusted_;
  std::string keys_;  // that the daemon gave
  bool held_against_older_ = false, unreadable_ = false, in_the_way_ = false;
};

Result<std::string> Online::get(const std::string& path) {
  auto body = client_.fetch(path, Deadline::after(patience));
  if (!body) in_the_way_ = is_refusal(body.error());
  return body;
}

// A daemon that meets a damaged row in the middle can only break off; asked from there on, it says why.
Result<void> Online::stream(std::uint64_t size) {
  Result<void> done;
  for (int i = 0; i < 2; ++i) {
    const auto next = walk_->verifier().next_index();
    if (next == size) return {};
    done = client_.stream(fmt::format("/v1/audit/export?check=columns&cursor={}&limit={}{}", next,
                                      size - next, options_.sealed ? "" : "&open=groups"),
                          Deadline::after(patience), patience,
                          [&](std::string_view piece) { return walk_->feed(piece); });
    if (done || done.error().code != Code::connection_lost) break;
  }
  in_the_way_ = !done && is_refusal(done.error());
  unreadable_ = !done && done.error().code == Code::corrupt && !walk_->verifier().finding();
  return done;
}

// All that can fail without the log.
Result<audit::VerifierOptions> Online::prepare() {
  CITADEL_TRY(check_state_folder());
  if (!options_.forget) {
    CITADEL_ASSIGN(trusted_, load_trusted(context_.url));
  }
  CITADEL_ASSIGN(keys_, fetch_keys(client_));
  CITADEL_ASSIGN(auto policy, choose_policy(context_, &client_, options_.key));
  CITADEL_TRY(demand_witnesses(policy, options_.witnesses, options_.quorum));
  audit::VerifierOptions verifying{.policy = std::move(policy)};
  if (trusted_ && !trusted_->checkpoint.empty()) verifying.older_checkpoint = trusted_->checkpoint;
  if (!options_.older.empty()) {
    CITADEL_ASSIGN(verifying.older_checkpoint, read_older(options_.older, verifying.policy));
  }
  return verifying;
}

Result<tlog::VerifiedCheckpoint> Online::walk() {
  auto prepared = prepare();
  if (!prepared) {
    in_the_way_ = true;
    return std::unexpected(prepared.error());
  }
  audit::VerifierOptions verifying = *std::move(prepared);
  held_against_older_ = verifying.older_checkpoint.has_value();
  CITADEL_ASSIGN(const auto note, get("/tlog/checkpoint"));
  // Its signature comes first: nothing else of a checkpoint means anything.
  CITADEL_ASSIGN(const auto opened, open_daemon_checkpoint(note, verifying.policy));
  const auto size = opened.checkpoint.size;
  auto first = fetch_first_index(client_);
  if (!first) {
    in_the_way_ = true;
    return std::unexpected(std::move(first).error());
  }
  const auto fetch = [this](const tlog::TilePath& path) { return get("/tlog/" + path.encode()); };
  CITADEL_ASSIGN(walk_, LogWalk::begin(std::move(verifying), size, fetch, {*first, options_.pruned}));
  CITADEL_TRY(stream(size));
  CITADEL_ASSIGN(auto checkpoint, walk_->finish(note));
  if (!trusted_) trusted_ = TrustedLog{keys_, ""};
  trusted_->checkpoint = note;
  if (auto kept = store_trusted(context_.url, *trusted_); !kept) {
    in_the_way_ = true;
    return std::unexpected(std::move(kept).error().in("keep the checkpoint of a log that is good"));
  }
  return checkpoint;
}

void Online::tell(const Outcome& outcome) {
  const bool passed = outcome.checkpoint.has_value();
  if (options_.silent || (!passed && !is_fault(outcome))) return;
  const json::object body{{"entries", outcome.counts.entries},
                          {"passed", passed},
                          {"finding", passed ? std::string() : finding_text(outcome).substr(0, 1'000)}};
  const auto told =
      client_.post("/v1/audit/verifications", citadel::json::serialize(body), Deadline::after(patience));
  if (!told) *context_.err << fmt::format("the daemon was not told: {}\n", told.error().message);
}

int run_verify_log(const Context& context, const VerifyOptions& options) {
  if (!options.file.empty()) return run_offline(context, options);
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  Online online(context, *std::move(client), options);
  const auto outcome = online.run();
  online.tell(outcome);
  return report_outcome(context, outcome);
}

}  // namespace

void add_audit_verify(Command audit, Context& context) {
  const auto verify =
      audit.add_subcommand("verify", "Verify the whole log, through the daemon or from an export");
  const auto options = std::make_shared<VerifyOptions>();
  verify.add_option("--export", options->file, "An export (jsonl) to verify offline, with --key");
  verify.add_option("--key", options->key, "The log's verifier key, or a file of them");
  verify.add_option("--older", options->older, "A checkpoint, kept from earlier, that the log must extend");
  verify.add_option("--witness", options->witnesses,
                    "A witness's verifier key, or a file of them; again for each");
  verify
      .add_option("--quorum", options->quorum,
                  "How many of the witnesses must have cosigned; 0, as without it: all")
      .needs("--witness");
  verify.add_option("--pruned", options->pruned,
                    "The log may begin at an index up to this, also where no entry says that it was pruned");
  verify.add_flag("--sealed", options->sealed,
                  "Do not have groups decrypted: their commitments are not checked then");
  verify.add_flag("--forget", options->forget, "Trust this log anew, whatever was verified before");
  verify.add_flag("--silent", options->silent, "Do not tell the daemon what was found");
  verify.callback([&context, options] { context.exit_code = run_verify_log(context, *options); });
}

}  // namespace citadel::cli
