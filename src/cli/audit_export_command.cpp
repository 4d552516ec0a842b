// citadel audit export: the log into a file, in the form that verifies offline or one for other tools.
//
// While it runs, FILE.part grows, and FILE.part.state says how far it is: an export that is broken off goes
// on where it ended, to the same checkpoint. At the end FILE.part becomes FILE. With --to it goes to a syslog
// receiver instead: cli/syslog_export.hpp.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <sstream>

#include "base/file.hpp"
#include "cli/audit_commands.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "cli/entry_proofs.hpp"
#include "cli/export_lines.hpp"
#include "cli/log_beginning.hpp"
#include "cli/syslog_export.hpp"
#include "cli/table.hpp"

namespace citadel::cli {
namespace {

constexpr std::size_t state_bytes_max = 1 << 20;
constexpr auto patience = std::chrono::seconds(60);
constexpr std::uint64_t progress_entries = 10'000;

struct ExportOptions {
  std::string file = "-", format = "jsonl";
  bool sealed = false;  // groups are left encrypted, and so left out
  bool proofs = false;  // each entry with its own
  std::uint64_t cursor = 0;
  SyslogExportOptions syslog;
};

// Where an export stands: the bytes that are whole, and the checkpoint that it goes to.
struct Progress {
  std::uint64_t next = 0, bytes = 0;
  std::string checkpoint;
};

class Export {
 public:
  Export(const Context& context, ApiClient client, const ExportOptions& options, ExportForm form)
      : context_(context), client_(std::move(client)), options_(options), form_(form) {}

  Result<void> run();
  std::uint64_t size() const { return size_; }
  // Whether a state is kept from which the same command goes on.
  bool can_go_on() const {
    std::error_code ignored;
    return to_file() && std::filesystem::exists(state(), ignored);
  }

 private:
  bool to_file() const { return options_.file != "-"; }
  std::filesystem::path part() const { return options_.file + ".part"; }
  std::filesystem::path state() const { return options_.file + ".part.state"; }
  std::string form_line() const {
    return fmt::format("{}{}{}", options_.format, options_.sealed ? " sealed" : "",
                       options_.proofs ? " proofs" : "");
  }

  Result<void> begin();
  Result<bool> resume();
  Result<void> write(std::string_view text);
  Result<void> keep_state(std::uint64_t next);
  Result<void> stream(const std::string& origin);
  Result<void> end();

  const Context& context_;
  ApiClient client_;
  const ExportOptions& options_;
  ExportForm form_;
  UniqueFd fd_;
  Progress progress_;
  std::unique_ptr<EntryProofs> proofs_;
  tlog::CompactRange before_;  // the tree of what was pruned
  std::uint64_t size_ = 0, told_ = 0;
};

Result<bool> Export::resume() {
  const auto text = read_file(state(), state_bytes_max);
  if (!text) return false;
  std::istringstream in(*text);
  std::string form, numbers;
  if (!std::getline(in, form) || form != form_line() || !std::getline(in, numbers)) return false;
  std::istringstream fields(numbers);
  if (!(fields >> progress_.next >> progress_.bytes)) return false;
  progress_.checkpoint.assign(std::istreambuf_iterator<char>(in), {});
  fd_ = UniqueFd(::open(part().c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd_) return false;
  // What was written behind the state is written again.
  if (::ftruncate(fd_.get(), static_cast<off_t>(progress_.bytes)) != 0 ||
      ::lseek(fd_.get(), 0, SEEK_END) < 0) {
    return fail_errno(errno, part().string());
  }
  context_.progress(fmt::format("going on at entry {}\n", progress_.next));
  return true;
}

Result<void> Export::begin() {
  CITADEL_ASSIGN(auto checkpoint, client_.fetch("/tlog/checkpoint", Deadline::after(patience)));
  CITADEL_ASSIGN(const auto first, fetch_first_index(client_));
  // Nobody prunes within a tile: what is missing there is for whoever verifies the export to name.
  const auto pruned = first % tlog::tile_width_max == 0 ? first : 0;
  CITADEL_ASSIGN(const auto beginning, read_beginning(pruned, [this](const tlog::TilePath& path) {
                   return client_.fetch("/tlog/" + path.encode(), Deadline::after(patience));
                 }));
  before_ = beginning.tree.range();
  progress_ = {std::max(options_.cursor, first), 0, std::move(checkpoint)};
  if (progress_.next > options_.cursor)
    context_.progress(fmt::format("the first entry that the log has is {}: it begins there\n", first));
  if (!to_file()) return {};
  fd_ = UniqueFd(::open(part().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd_) return fail_errno(errno, part().string());
  return {};
}

Result<void> Export::write(std::string_view text) {
  progress_.bytes += text.size();
  if (to_file()) return write_all(fd_.get(), text, part());
  *context_.out << text;
  if (!*context_.out) return fail(Code::io_error, "standard output cannot be written");
  return {};
}

Result<void> Export::keep_state(std::uint64_t next) {
  progress_.next = next;
  if (next - told_ < progress_entries && next != size_) return {};
  told_ = next;
  context_.update(fmt::format("{} of {} entries", format_count(static_cast<std::int64_t>(next)),
                              format_count(static_cast<std::int64_t>(size_))));
  if (!to_file()) return {};
  if (::fdatasync(fd_.get()) != 0) return fail_errno(errno, part().string());
  return write_file_durably(
      state(), fmt::format("{}\n{} {}\n{}", form_line(), next, progress_.bytes, progress_.checkpoint), 0600);
}

Result<void> Export::stream(const std::string& origin) {
  ExportLines::Prove prove;
  if (proofs_)
    prove = [this](std::uint64_t index, std::string_view leaf) { return proofs_->prove(index, leaf); };
  ExportLines lines(
      form_, origin, progress_.next, size_, [this](std::string_view text) { return write(text); },
      std::move(prove));
  if (progress_.bytes == 0) {
    if (form_ == ExportForm::jsonl && options_.cursor == 0) {
      std::string header;
      audit::append_export_header(header, {.origin = origin, .size = size_, .before = before_});
      CITADEL_TRY(write(header));
    }
    CITADEL_TRY(write(lines.heading()));
  }
  if (progress_.next == size_) return {};
  const auto target = fmt::format("/v1/audit/export?cursor={}&limit={}{}", progress_.next,
                                  size_ - progress_.next, options_.sealed ? "" : "&open=groups");
  CITADEL_TRY(client_.stream(target, Deadline::after(patience), patience,
                             [&](std::string_view piece) -> Result<void> {
                               CITADEL_TRY(lines.feed(piece));
                               return keep_state(lines.next());
                             }));
  if (lines.next() == size_) return {};
  return fail(Code::corrupt,
              fmt::format("the daemon's log ends at entry {}, and its checkpoint says {} entries",
                          lines.next(), size_));
}

Result<void> Export::end() {
  if (form_ == ExportForm::jsonl && options_.cursor == 0) {
    std::string last;
    audit::append_export_checkpoint(last, progress_.checkpoint);
    CITADEL_TRY(write(last));
  }
  context_.end_update();
  if (!to_file()) return {};
  if (::fdatasync(fd_.get()) != 0) return fail_errno(errno, part().string());
  std::error_code error;
  std::filesystem::rename(part(), options_.file, error);
  if (error) return fail_errno(error.value(), options_.file);
  std::filesystem::remove(state(), error);
  return {};
}

Result<void> Export::run() {
  bool resumed = false;
  if (to_file()) {
    CITADEL_ASSIGN(resumed, resume());
  }
  if (!resumed) CITADEL_TRY(begin());
  CITADEL_ASSIGN(const auto note, tlog::parse_note(progress_.checkpoint));
  CITADEL_ASSIGN(const auto checkpoint, tlog::Checkpoint::parse(note.text));
  size_ = checkpoint.size;
  if (progress_.next > size_) {
    return fail(
        Code::invalid_argument,
        fmt::format("--cursor: {} is beyond the end: the signed log has {} entries", progress_.next, size_));
  }
  told_ = progress_.next;
  if (options_.proofs) {
    CITADEL_ASSIGN(proofs_, EntryProofs::open(context_, progress_.checkpoint));
  }
  CITADEL_TRY(stream(checkpoint.origin));
  return end();
}

int run_export(const Context& context, const ExportOptions& options) {
  const auto form = parse_export_form(options.format);
  if (!form) return context.report(form.error());
  if (!options.syslog.to.empty()) {
    if (*form != ExportForm::syslog)
      return context.report(Error(Code::invalid_argument, "--to is for --format syslog"));
    if (options.proofs) {
      return context.report(
          Error(Code::invalid_argument,
                "--proofs: not with --to: a message with its proof may be longer than the 2048 bytes that a "
                "receiver must take (RFC 5425 §4.3.1), and what is longer it may cut; export to a file"));
    }
    auto syslog = options.syslog;
    syslog.cursor = options.cursor;
    return run_syslog_export(context, syslog);
  }
  if (const auto writable = check_out_file(options.file); !writable) return context.report(writable.error());
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  Export work(context, *std::move(client), options, *form);
  const auto done = work.run();
  if (!done) {
    if (work.can_go_on() && passes(done.error())) *context.err << "\nthe same command goes on from here\n";
    return context.report(done.error());
  }
  *context.err << fmt::format("{} entries\n", format_count(static_cast<std::int64_t>(work.size())));
  return exit_good;
}

}  // namespace

void add_audit_export(Command audit, Context& context) {
  const auto command =
      audit.add_subcommand("export", "Write the log to a file; broken off, it goes on where it ended");
  const auto options = std::make_shared<ExportOptions>();
  command.add_option("--out,-o", options->file, "The file; - is standard output").show_default();
  command.add_option("--format", options->format, "jsonl (verifies offline), csv, ocsf, cef or syslog")
      .show_default();
  command.add_flag("--sealed", options->sealed, "Leave out prompt, response, tool and details");
  command.add_flag("--proofs", options->proofs,
                   "Each entry with its proof, which `check-proof` checks; all under one checkpoint");
  command.add_option("--cursor", options->cursor,
                     "Begin at this index; lines alone then, which verify no more");
  command
      .add_option("--to", options->syslog.to,
                  "With --format syslog: send to tcp://HOST:PORT or tls://HOST:PORT")
      .excludes("--out");
  command.add_option("--ca", options->syslog.ca, "With tls: the issuers to trust (PEM); else the system's")
      .needs("--to");
  command.add_option("--state", options->syslog.state, "Where it stands how far the receiver has read")
      .needs("--to");
  command
      .add_option("--repeat", options->syslog.repeat,
                  "Entries to send again, before those that were read, after a broken export")
      .show_default()
      .needs("--to");
  command.callback([&context, options] { context.exit_code = run_export(context, *options); });
}

}  // namespace citadel::cli
