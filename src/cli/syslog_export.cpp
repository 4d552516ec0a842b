#include "cli/syslog_export.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <sstream>

#include "base/file.hpp"
#include "cli/audit_support.hpp"
#include "cli/export_lines.hpp"
#include "cli/log_beginning.hpp"
#include "cli/state_folder.hpp"
#include "cli/syslog_sender.hpp"
#include "cli/table.hpp"
#include "crypto/sha256.hpp"

namespace citadel::cli {
namespace {

constexpr auto patience = std::chrono::seconds(60);
constexpr std::string_view magic = "citadel-syslog-export/1";
constexpr std::size_t state_bytes_max = 64 << 10;

// What a receiver has read.
struct State {
  std::uint64_t next = 0;
  bool ended = true;  // in peace: nothing needs to be repeated
};

class SyslogExport {
 public:
  SyslogExport(const Context& context, ApiClient client, const SyslogExportOptions& options,
               SyslogTarget target)
      : context_(context),
        client_(std::move(client)),
        options_(options),
        sender_(std::move(target), options.ca) {}

  Result<void> run();
  std::uint64_t sent() const { return sent_; }
  const std::filesystem::path& state_file() const { return options_.state; }

 private:
  Result<State> load() const;
  Result<void> keep(State state);
  Result<void> stream(std::uint64_t first);
  Result<void> confirm(std::uint64_t next, bool last);

  const Context& context_;
  ApiClient client_;
  SyslogExportOptions options_;
  SyslogSender sender_;
  std::string origin_;
  std::uint64_t size_ = 0, sent_ = 0;
  std::uint64_t confirmed_ = 0;  // by this export or one before it
};

Result<State> SyslogExport::load() const {
  const auto text = read_file(options_.state, state_bytes_max);
  if (!text && text.error().code == Code::not_found) return State{.next = options_.cursor};
  if (!text) return std::unexpected(text.error());
  std::istringstream in(*text);
  std::string first, target, origin, how;
  State state;
  std::getline(in, first);
  std::getline(in, target);
  std::getline(in, origin);
  if (first != magic || !(in >> state.next >> how) || (how != "ended" && how != "broken")) {
    return fail(
        Code::invalid_argument,
        fmt::format("{} is no state of an export to syslog; give another --state", options_.state.string()));
  }
  if (target != options_.to || origin != origin_) {
    return fail(Code::invalid_argument,
                fmt::format("{} is of an export of {} to {}, not of {} to {}; give another --state",
                            options_.state.string(), origin, target, origin_, options_.to));
  }
  state.ended = how == "ended";
  return state;
}

Result<void> SyslogExport::keep(State state) {
  std::error_code ignored;  // shows in the write, with the name
  if (options_.state.has_parent_path())
    std::filesystem::create_directories(options_.state.parent_path(), ignored);
  return write_file_durably(options_.state,
                            fmt::format("{}\n{}\n{}\n{} {}\n", magic, options_.to, origin_, state.next,
                                        state.ended ? "ended" : "broken"),
                            0600);
}

Result<void> SyslogExport::confirm(std::uint64_t next, bool last) {
  CITADEL_TRY(sender_.finish(Deadline::after(patience)));
  context_.update(fmt::format("{} of {} entries", format_count(static_cast<std::int64_t>(next)),
                              format_count(static_cast<std::int64_t>(size_))));
  // What is repeated was confirmed before, and stays so.
  confirmed_ = std::max(confirmed_, next);
  return keep({.next = confirmed_, .ended = last});
}

Result<void> SyslogExport::stream(std::uint64_t first) {
  ExportLines lines(ExportForm::syslog_framed, origin_, first, size_, [this](std::string_view frames) {
    return sender_.send(frames, Deadline::after(patience));
  });
  std::uint64_t confirmed = first;
  const auto target = fmt::format("/v1/audit/export?cursor={}&limit={}", first, size_ - first);
  CITADEL_TRY(client_.stream(target, Deadline::after(patience), patience,
                             [&](std::string_view piece) -> Result<void> {
                               CITADEL_TRY(lines.feed(piece));
                               sent_ = lines.next() - first;
                               if (lines.next() - confirmed < SyslogExportOptions::window) return {};
                               confirmed = lines.next();
                               CITADEL_TRY(confirm(confirmed, false));
                               return sender_.connect(Deadline::after(patience));
                             }));
  if (lines.next() == size_) return {};
  return fail(Code::corrupt, fmt::format("the daemon's log ends at entry {}, and its checkpoint says {}",
                                         lines.next(), size_));
}

Result<void> SyslogExport::run() {
  if (options_.state.empty()) {
    CITADEL_ASSIGN(const auto folder, state_folder());
    const auto name = to_hex(crypto::sha256(as_bytes(context_.url + " " + options_.to))).substr(0, 16);
    options_.state = folder / fmt::format("syslog-{}", name);
  }
  CITADEL_ASSIGN(const auto text, client_.fetch("/tlog/checkpoint", Deadline::after(patience)));
  CITADEL_ASSIGN(const auto note, tlog::parse_note(text));
  CITADEL_ASSIGN(const auto checkpoint, tlog::Checkpoint::parse(note.text));
  origin_ = checkpoint.origin;
  size_ = checkpoint.size;
  CITADEL_ASSIGN(const State state, load());
  if (state.next > size_) {
    return fail(
        Code::conflict,
        fmt::format("{} entries were sent before, and the log has {}: it lost its tail", state.next, size_));
  }
  confirmed_ = state.next;
  CITADEL_ASSIGN(const auto begins, fetch_first_index(client_));
  const auto again = state.ended ? state.next : state.next - std::min(state.next, options_.repeat);
  const auto first = std::min(std::max(again, begins), size_);  // what was pruned is stepped over
  if (first > again)
    context_.progress(fmt::format("the first entry that the log has is {}: it begins there\n", first));
  else if (first > 0)
    context_.progress(fmt::format("going on at entry {}\n", first));
  if (first == size_) return {};
  CITADEL_TRY(sender_.connect(Deadline::after(patience)));
  CITADEL_TRY(keep({.next = state.next, .ended = false}));
  CITADEL_TRY(stream(first));
  CITADEL_TRY(confirm(size_, true));
  context_.end_update();
  return {};
}

}  // namespace

int run_syslog_export(const Context& context, const SyslogExportOptions& options) {
  auto target = parse_syslog_target(options.to);
  if (!target) return context.report(target.error());
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  SyslogExport work(context, *std::move(client), options, *std::move(target));
  const auto done = work.run();
  if (!done) {
    std::error_code ignored;
    if (passes(done.error()) && std::filesystem::exists(work.state_file(), ignored))
      *context.err << fmt::format("\nthe same command goes on; how far the receiver has read stands in {}\n",
                                  work.state_file().string());
    return context.report(done.error());
  }
  *context.err << fmt::format("{} entries sent\n", format_count(static_cast<std::int64_t>(work.sent())));
  return exit_good;
}

}  // namespace citadel::cli
