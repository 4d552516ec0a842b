#include "cli/export_lines.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>

#include "app/service.hpp"
#include "audit/export_views.hpp"
#include "audit/record_codec.hpp"

namespace citadel::cli {
namespace {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? std::string(name) : std::string("localhost");
}

const audit::ViewSource& source() {
  static const audit::ViewSource here{host_name(), std::string(app::version())};
  return here;
}

// A tree of that many entries, as far as a reader needs one that does not verify.
tlog::CompactRange any_tree(std::uint64_t size) {
  std::vector<tlog::Hash> hashes(static_cast<std::size_t>(std::popcount(size)), tlog::empty_root());
  return tlog::CompactRange::from(size, std::move(hashes)).value_or(tlog::CompactRange());
}

}  // namespace

Result<ExportForm> parse_export_form(std::string_view text) {
  constexpr std::array<std::string_view, 5> names{"jsonl", "csv", "ocsf", "cef", "syslog"};
  const auto at = std::ranges::find(names, text);
  if (at == names.end()) {
    return fail(Code::invalid_argument,
                fmt::format("--format: '{}' is not one of {}", text, fmt::join(names, ", ")));
  }
  return static_cast<ExportForm>(at - names.begin());
}

ExportLines::ExportLines(ExportForm form, const std::string& origin, std::uint64_t first, std::uint64_t end,
                         Write write, Prove prove)
    : form_(form), write_(std::move(write)), prove_(std::move(prove)), next_(first) {
  reader_ = std::make_unique<audit::ExportReader>(audit::ExportReader::Handler{
      .on_header = [](const audit::ExportHeader&) { return Result<void>(); },
      .on_entry = [this](const audit::ExportedEntry& entry) { return show(entry); }});
  std::string header;
  audit::append_export_header(header, {.origin = origin, .size = end, .before = any_tree(first)});
  (void)reader_->feed(header);
}

std::string ExportLines::heading() const {
  std::string out;
  if (form_ == ExportForm::csv) audit::append_csv_header(out, prove_ != nullptr);
  return out;
}

Result<void> ExportLines::show(const audit::ExportedEntry& entry) {
  next_ = entry.index + 1;
  std::string proof;
  if (prove_) {
    CITADEL_ASSIGN(proof, prove_(entry.index, entry.leaf));
  }
  if (form_ == ExportForm::jsonl) {
    auto proved = entry;
    proved.proof = proof;
    return audit::append_export_entry(lines_, proved);
  }
  CITADEL_ASSIGN(const auto leaf, audit::decode_leaf(as_bytes(entry.leaf)));
  std::optional<audit::Event> event;
  if (entry.envelope) {
    CITADEL_ASSIGN(event, audit::decode_envelope(as_bytes(entry.envelope->bytes)));
    for (const auto& group : entry.groups) event->group(group.group) = group.content.bytes;
  }
  const audit::ViewedEntry view{
      .index = entry.index, .leaf = leaf, .event = event ? &*event : nullptr, .proof = proof};
  switch (form_) {
    case ExportForm::jsonl:
      break;
    case ExportForm::csv:
      audit::append_csv(lines_, view);
      break;
    case ExportForm::ocsf:
      audit::append_ocsf(lines_, view, source());
      break;
    case ExportForm::cef:
      audit::append_cef(lines_, view, source());
      break;
    case ExportForm::syslog:
      audit::append_syslog(lines_, view, source());
      lines_ += '\n';
      break;
    case ExportForm::syslog_framed: {
      std::string message;
      audit::append_syslog(message, view, source());
      lines_ += audit::frame_syslog(message);
      break;
    }
  }
  return {};
}

Result<void> ExportLines::feed(std::string_view piece) {
  lines_.clear();
  CITADEL_TRY(reader_->feed(piece));
  return lines_.empty() ? Result<void>() : write_(lines_);
}

}  // namespace citadel::cli
