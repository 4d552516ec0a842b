// citadel audit report: what the log shows of a time, for an auditor. The whole log is read once, verified
// while it is read, and only counts, samples and the entries that are named are kept.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>
#include <iostream>
#include <memory>

#include "audit/record_codec.hpp"
#include "audit/report.hpp"
#include "base/file.hpp"
#include "base/random.hpp"
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
constexpr std::uint64_t progress_entries = 10'000;

struct ReportCommand {
  std::string profile, from, to, file = "-", key, seed;
  std::vector<std::string> witnesses;
  std::size_t quorum = 0, sample = 25;
  std::uint64_t pruned = 0;
};

Result<WallTime> read_time(std::string_view option, const std::string& text) {
  const auto time = parse_day_or_time(text);
  if (time) return *time;
  return fail(Code::invalid_argument,
              fmt::format("{}: '{}' is neither a day like 2026-11-01 nor a time like 2026-11-01T12:00:00Z",
                          option, text));
}

Result<audit::ReportOptions> read_options(const ReportCommand& command) {
  audit::ReportOptions out;
  CITADEL_ASSIGN(out.profile, audit::find_profile(command.profile));
  CITADEL_ASSIGN(out.from, read_time("--from", command.from));
  out.to = std::chrono::floor<std::chrono::microseconds>(system_clock().wall());
  if (!command.to.empty()) {
    CITADEL_ASSIGN(out.to, read_time("--to", command.to));
  }
  if (out.to <= out.from) {
    return fail(Code::invalid_argument, command.to.empty()
                                            ? "--from: it must be before now, where no --to is given"
                                            : "--to: it must be after --from");
  }
  out.sample = command.sample;
  out.seed = random_seed();
  if (!command.seed.empty()) {
    const auto [end, error] =
        std::from_chars(command.seed.data(), command.seed.data() + command.seed.size(), out.seed);
    if (error != std::errc() || end != command.seed.data() + command.seed.size())
      return fail(Code::invalid_argument, fmt::format("--seed: '{}' is no number", command.seed));
  }
  return out;
}

class ReportRun {
 public:
  ReportRun(const Context& context, ApiClient client, const ReportCommand& command,
            audit::ReportOptions options)
      : context_(context),
        client_(std::move(client)),
        command_(command),
        options_(options),
        builder_(std::move(options)) {}

  Result<audit::Report> run();

 private:
  Result<std::string> get(const std::string& path);
  Result<void> walk(const std::string& note);
  Result<void> stream(std::uint64_t size);
  Result<void> take(const audit::ExportedEntry& entry);
  Result<void> tell(const audit::Report& report);

  const Context& context_;
  ApiClient client_;
  const ReportCommand& command_;
  audit::ReportOptions options_;
  audit::ReportBuilder builder_;
  std::unique_ptr<LogWalk> walk_;
  audit::ReportVerification found_;
  std::string origin_;
  std::uint64_t size_ = 0;
};

Result<std::string> ReportRun::get(const std::string& path) {
  return client_.fetch(path, Deadline::after(patience));
}

Result<void> ReportRun::take(const audit::ExportedEntry& entry) {
  CITADEL_ASSIGN(const auto leaf, audit::decode_leaf(as_bytes(entry.leaf)));
  std::optional<audit::Event> event;
  if (entry.envelope) {
    CITADEL_ASSIGN(event, audit::decode_envelope(as_bytes(entry.envelope->bytes)));
  }
  builder_.add(entry.index, leaf, event ? &*event : nullptr);
  if (entry.index % progress_entries == 0)
    context_.update(fmt::format("{} of {} entries", format_count(static_cast<std::int64_t>(entry.index)),
                                format_count(static_cast<std::int64_t>(size_))));
  return {};
}

// A daemon that meets a damaged row in the middle can only break off; asked from there on, it says why.
Result<void> ReportRun::stream(std::uint64_t size) {
  Result<void> done;
  for (int i = 0; i < 2; ++i) {
    const auto next = walk_->verifier().next_index();
    if (next == size) return {};
    done = client_.stream(fmt::format("/v1/audit/export?cursor={}&limit={}", next, size - next),
                          Deadline::after(patience), patience,
                          [&](std::string_view piece) { return walk_->feed(piece); });
    if (done || done.error().code != Code::connection_lost) break;
  }
  return done;
}

Result<void> ReportRun::walk(const std::string& note) {
  CITADEL_ASSIGN(auto trusted, load_trusted(context_.url));
  CITADEL_ASSIGN(const auto keys, fetch_keys(client_));
  CITADEL_ASSIGN(auto policy, choose_policy(context_, &client_, command_.key));
  CITADEL_TRY(demand_witnesses(policy, command_.witnesses, command_.quorum));
  found_.key = policy.log_keys.front().encode();
  found_.key_given = !command_.key.empty();
  audit::VerifierOptions verifying{.policy = std::move(policy)};
  if (trusted && !trusted->checkpoint.empty()) verifying.older_checkpoint = trusted->checkpoint;
  found_.held_against_older = verifying.older_checkpoint.has_value();
  // Its signature comes first: nothing else of a checkpoint means anything.
  CITADEL_ASSIGN(const auto opened, open_daemon_checkpoint(note, verifying.policy));
  origin_ = opened.checkpoint.origin;
  size_ = opened.checkpoint.size;
  for (const auto& witness : opened.witnesses)
    found_.cosigned_by.push_back(fmt::format("{} at {}", witness.name, format_time(witness.time)));
  CITADEL_ASSIGN(const auto first, fetch_first_index(client_));
  const auto fetch = [this](const tlog::TilePath& path) { return get("/tlog/" + path.encode()); };
  CITADEL_ASSIGN(walk_, LogWalk::begin(std::move(verifying), size_, fetch, {first, command_.pruned}));
  walk_->on_entry([this](const audit::ExportedEntry& entry) { return take(entry); });
  CITADEL_TRY(stream(size_));
  CITADEL_ASSIGN(const auto checkpoint, walk_->finish(note));
  if (!trusted) trusted = TrustedLog{keys, ""};
  trusted->checkpoint = note;
  return store_trusted(context_.url, *trusted);
}

// A log at fault has a report too, which says that first; what only stands in the way has none.
Result<audit::Report> ReportRun::run() {
  CITADEL_ASSIGN(found_.checkpoint, get("/tlog/checkpoint"));
  const auto walked = walk(found_.checkpoint);
  if (!walked && !is_log_fault(walked.error())) return std::unexpected(walked.error());
  found_.passed = walked.has_value();
  if (!walked) found_.finding = walked.error().message;
  if (walk_) {
    const auto counts = walk_->verifier().counts();
    found_.entries = counts.entries;
    found_.envelopes = counts.envelopes;
    found_.envelopes_missing = counts.envelopes_missing;
    found_.contents = counts.contents;
    found_.sequences_excused = counts.sequences_excused;
    found_.tiles = walk_->tiles_checked();
    found_.first = walk_->first();
    found_.pruning_entry = walk_->pruning_entry();
    if (const auto& finding = walk_->verifier().finding())
      found_.finding = fmt::format("entry {}: {}", finding->first, finding->what);
  }
  auto report = builder_.finish(std::move(found_), origin_, system_clock().wall());
  CITADEL_TRY(tell(report));
  context_.progress(fmt::format("{}{} entries, {} of this time\n", context_.err_is_terminal ? "\r" : "",
                                format_count(static_cast<std::int64_t>(report.examined)),
                                format_count(static_cast<std::int64_t>(report.in_span))));
  return report;
}

Result<void> ReportRun::tell(const audit::Report& report) {
  const json::object body{{"profile", options_.profile.name},
                          {"from", format_time(options_.from)},
                          {"to", format_time(options_.to)},
                          {"entries", report.in_span},
                          {"passed", report.verification.passed}};
  CITADEL_TRY(client_.post("/v1/audit/reports", citadel::json::serialize(body), Deadline::after(patience)));
  return {};
}

int run_report(const Context& context, const ReportCommand& command) {
  auto options = read_options(command);
  if (!options) return context.report(options.error());
  if (const auto writable = check_out_file(command.file); !writable) return context.report(writable.error());
  if (const auto writable = check_state_folder(); !writable) return context.report(writable.error());
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  ReportRun work(context, *std::move(client), command, *std::move(options));
  const auto report = work.run();
  if (!report) return context.report(report.error());
  const auto text = context.json ? audit::report_json(*report) : audit::report_html(*report);
  if (command.file == "-") {
    *context.out << text;
  } else if (auto written = write_file_durably(command.file, text, 0600); !written) {
    return context.report(written.error());
  }
  if (report->verification.passed) return exit_good;
  const auto fault = fmt::format("the log did not verify: {}", report->verification.finding);
  if (context.json) return context.report(Error(Code::corrupt, fault));
  *context.err << "FAULT: " << fault << '\n';
  return exit_check_failed;
}

}  // namespace

void add_audit_report(Command audit, Context& context) {
  const auto report = audit.add_subcommand(
      "report", "What the log shows of a time, for an auditor: HTML, or with --json JSON");
  const auto command = std::make_shared<ReportCommand>();
  report.add_option("--profile", command->profile, "soc2, eu-ai-act, hipaa, pci or gdpr").required();
  report.add_option("--from", command->from, "The first moment: a day (its midnight UTC) or an RFC 3339 time")
      .required();
  report.add_option("--to", command->to,
                    "The first moment that is outside: a day or an RFC 3339 time; default: now");
  report.add_option("--out,-o", command->file, "The file; - is standard output").show_default();
  report.add_option("--sample", command->sample, "Entries drawn by chance").show_default().range(0, 1'000);
  report.add_option("--seed", command->seed, "Of the sample, to draw the same again");
  report.add_option("--key", command->key, "The log's verifier key, or a file of them");
  report.add_option("--witness", command->witnesses, "A witness's verifier key, or a file; again for each");
  report.add_option("--quorum", command->quorum, "How many witnesses must have cosigned; 0: all")
      .needs("--witness");
  report.add_option("--pruned", command->pruned,
                    "The log may begin at an index up to this, also where no entry says that it was pruned");
  report.callback([&context, command] { context.exit_code = run_report(context, *command); });
}

}  // namespace citadel::cli
