// ExportLines: entries as the daemon streams them (audit/export_format.hpp, without header and checkpoint)
// into lines of another form. In constant memory; not thread-safe.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "audit/export_format.hpp"

namespace citadel::cli {

// syslog_framed is for a connection: each message with its length before it, and no line ends.
enum class ExportForm : std::uint8_t { jsonl, csv, ocsf, cef, syslog, syslog_framed };
Result<ExportForm> parse_export_form(std::string_view text);

class ExportLines {
 public:
  using Write = std::function<Result<void>(std::string_view lines)>;
  // The proof of an entry (audit::ExportedEntry::proof), from its index and its leaf.
  using Prove = std::function<Result<std::string>(std::uint64_t index, std::string_view leaf)>;

  // Entries [first, end) of a log. `write` gets whole lines; with `prove`, each with its proof.
  ExportLines(ExportForm form, const std::string& origin, std::uint64_t first, std::uint64_t end, Write write,
              Prove prove = {});

  // Of the form, where it has one: before the first entry.
  std::string heading() const;
  Result<void> feed(std::string_view piece);
  // The first entry that has not been written.
  std::uint64_t next() const { return next_; }

 private:
  Result<void> show(const audit::ExportedEntry& entry);

  ExportForm form_;
  Write write_;
  Prove prove_;
  std::unique_ptr<audit::ExportReader> reader_;
  std::uint64_t next_;
  std::string lines_;
};

}  // namespace citadel::cli
