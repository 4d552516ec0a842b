// The export that can be verified without us: JSON Lines, "citadel-audit-export/1".
//
//   {"format":"citadel-audit-export/1","origin":"example.com/audit","first":0,"size":2}
//   {"index":0,"leaf":"iQFQ…","salt":"…","envelope":"…","event":{"id":"018f…","time":…}}
//   {"index":1,"leaf":"iQFQ…"}
//   {"checkpoint":"example.com/audit\n2\n…\n\n— example.com/audit …\n"}
//
// Header, one line an entry without a gap from `first` to `size` − 1, and the signed checkpoint of `size`.
// Binary fields are base64. An entry's members are, in this order:
//
//   index     decimal
//   leaf      the bytes that the tree is made of (leaf.hpp)
//   hash      what the tree itself holds for it; optional
//   proof     text: a C2SP tlog-proof of the entry (tlog/proof.hpp) under the checkpoint at the end, with the
//             leaf as its extra data; optional
//   salt, envelope   absent where the content was erased or pruned
//   groups    [{"group":"prompt","salt":…,"bytes":…}, …], those that were opened; absent where there are none
//   event     the envelope and the groups for people to read, exactly as write_event() writes it; there where
//             the envelope is
//
// `event` is not signed: the verifier makes it again from the envelope and the groups, which are, and refuses
// another. Where a prefix of the log was pruned, `first` is not 0 and the header's `before` is the tree
// before it (tlog::CompactRange::encode). Memory is that of one line. A line has at most
// export_line_bytes_max bytes.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "audit/verifier.hpp"

namespace citadel::audit {

inline constexpr std::string_view export_format_name = "citadel-audit-export/1";
inline constexpr std::size_t export_line_bytes_max = 1 << 20;

struct ExportHeader {
  std::string origin;
  std::uint64_t size = 0;       // of the checkpoint at the end
  tlog::CompactRange before{};  // its size is the first index
};

// Each appends one line. corrupt where an entry's envelope or groups cannot be shown.
void append_export_header(std::string& out, const ExportHeader& header);
Result<void> append_export_entry(std::string& out, const ExportedEntry& entry);
void append_export_checkpoint(std::string& out, std::string_view checkpoint_note);

// Reads an export from pieces of any size. What it gives is what the lines say; whether that is true is the
// Verifier's to know. Errors are corrupt and name the line; on_entry's pass through. After one nothing is
// taken any more. Not thread-safe.
class ExportReader {
 public:
  struct Handler {
    std::function<Result<void>(const ExportHeader&)> on_header;
    std::function<Result<void>(const ExportedEntry&)> on_entry;  // views that live during the call
  };
  explicit ExportReader(Handler handler) : handler_(std::move(handler)) {}

  Result<void> feed(std::string_view piece);
  // The checkpoint note. corrupt where the export ended before it.
  Result<std::string> finish();

  std::uint64_t next_index() const { return next_index_; }

 private:
  enum class Expected : std::uint8_t { header, entry, checkpoint, end };

  Result<void> take(std::string_view piece);
  Result<void> read_line(std::string_view line);
  Result<void> read_header(std::string_view line);
  Result<void> read_entry(std::string_view line);
  Result<void> read_checkpoint(std::string_view line);

  Handler handler_;
  Expected expected_ = Expected::header;
  std::string partial_;  // a line whose end has not come yet
  std::uint64_t line_ = 0, next_index_ = 0, size_ = 0;
  std::string checkpoint_;
  std::optional<Error> error_;
  // Reused from line to line: the bytes that an entry's views point to.
  std::string leaf_, salt_, envelope_, proof_;
  std::vector<std::string> group_bytes_;
  std::vector<ExportedGroup> groups_;
};

}  // namespace citadel::audit
